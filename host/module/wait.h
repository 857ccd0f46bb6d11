/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tasks that wait for a block, and what wakes them. */
#ifndef MEMLEASE_POOL_WAIT_H
#define MEMLEASE_POOL_WAIT_H

#include "window.h"

/* The supply was changed: wait for tasks that are taking a block, then wake all that wait for one. */
void mlp_wait_supplied(void);
/* Wake the tasks that wait at these slots, which may have a block now, or are no longer COMMITTED. */
void mlp_wait_changed(const struct mlp_window *w, u32 first, u32 count);
/*
 * Wait for a block for a COMMITTED slot, without any lock, but with a reference to the
 * window. True: the fault is worth another try, for a block is there, the slot is another,
 * or a deadly signal came (other signals do not end the wait, for with them a VM could wait,
 * and leave a record, without end). False: the time limit is over that the module's
 * parameter wait_ms has set.
 */
bool mlp_wait_for_block(struct mlp_window *w, u32 slot);
/* For a task that cannot drop its mmap lock: sleep a moment. False: a deadly signal came. */
bool mlp_wait_pause(void);

#endif /* MEMLEASE_POOL_WAIT_H */
