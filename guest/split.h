/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The split between memory that the kernel itself can use and movable memory: moves
 * the boundary between the two segments of the window. When kernel memory is short
 * and no vacant block is to be had, the movable block at the boundary goes over to
 * the kernel; when it has plenty, blocks that hold nothing unmovable come back. A
 * thread of its own, because taking memory offline takes as long as it takes.
 * Growing, which borrows vacant blocks for the kernel, tells it when to look.
 */
#ifndef MEMLEASE_SPLIT_H
#define MEMLEASE_SPLIT_H

#include <linux/atomic.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct ml_device;
struct ml_request;

struct ml_split {
	struct task_struct *task;
	struct ml_request *give_back;
	wait_queue_head_t wait;
	struct delayed_work alarm;	/* ends an attempt that takes too long */
	bool kick;			/* look now */
	bool held;			/* device gone, broken or asleep */
	bool attempt;			/* a block is being emptied */
	u32 attempts;			/* begun so far */
	atomic_t asked;			/* by growing, for a block to go over to the kernel */
	int answered;			/* asked, as of the last look */

	/* the thread's own view */
	unsigned long plenty_since;	/* jiffies */
	bool plenty;
	unsigned long not_before;	/* jiffies; no block comes back until then */
	unsigned long no_convert;	/* jiffies; none goes over until then */
	u32 back_ms;			/* pauses, double */
	u32 convert_ms;

	/* counters, memory blocks */
	atomic64_t to_kernel;
	atomic64_t to_movable;
	atomic64_t returned;
};

int ml_split_init(struct ml_device *ml);
/* After ml_queue_stop(): the thread may be waiting for an answer. */
void ml_split_exit(struct ml_device *ml);

/* No more work until released. */
void ml_split_hold(struct ml_device *ml, bool held);

/* The kernel is short and there is no vacant block: convert one. Any context. */
void ml_split_want(struct ml_device *ml);

/* There is a new kernel block, to be watched from now on. Any context. */
void ml_split_kick(struct ml_device *ml);

/* Leave the memory block that is being emptied, if any, as it is. Any context. */
void ml_split_interrupt(struct ml_device *ml);

#endif /* MEMLEASE_SPLIT_H */
