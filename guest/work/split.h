/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The split between memory that the kernel itself can use and movable memory: moves
 * the boundary between the two segments of the window. When kernel memory is short
 * and no vacant block is to be had, the movable block at the boundary goes over to
 * the kernel; when it has plenty, blocks that hold nothing unmovable come back. A
 * thread of its own, because taking memory offline takes as long as it takes.
 * Growing, which borrows vacant blocks for the kernel, says when to look: it asks
 * (ml_turn_ask_split) or wakes ML_SPLIT.
 */
#ifndef MEMLEASE_SPLIT_H
#define MEMLEASE_SPLIT_H

#include <linux/types.h>

struct ml_split;
struct ml_turn;

/*
 * 0 or -errno. Exit comes after ml_queue_stop(), because the thread may be waiting for
 * an answer, and with all held.
 */
int ml_split_init(struct ml_turn *t, struct ml_split **out);
void ml_split_exit(struct ml_split *s);

/* Memory blocks of the kernel's that went back to the host, so far. */
u64 ml_split_returned(const struct ml_split *s);

#endif /* MEMLEASE_SPLIT_H */
