/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of slots that the daemon asks for, and the loss of a slot by a memory error. */
#ifndef MEMLEASE_POOL_SLOTS_H
#define MEMLEASE_POOL_SLOTS_H

#include "window.h"

/* All of these may sleep, and take window.lock for writing. */

/* As the ioctls have them. -ENOENT: the window was destroyed meanwhile. */
int mlp_slots_commit(struct mlp_window *w, struct memlease_pool_slots_op *op);
int mlp_slots_unmap(struct mlp_window *w, struct memlease_pool_slots_op *op);
int mlp_slots_map(struct mlp_window *w, u32 slot, u32 block);
int mlp_slots_move(struct mlp_window *w, u32 slot, u32 *block);
/* The slot is LOST, if the block is behind it. True: it was, until now. */
bool mlp_slots_lose(struct mlp_window *w, u32 slot, u32 block);

#endif /* MEMLEASE_POOL_SLOTS_H */
