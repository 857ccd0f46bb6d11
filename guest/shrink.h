/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shrinking: comes down to the host's target by taking memory blocks away from
 * Linux and returning them, the emptiest first. A thread of its own, because
 * emptying a block takes as long as it takes, and only a signal ends it early.
 */
#ifndef MEMLEASE_SHRINK_H
#define MEMLEASE_SHRINK_H

#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../proto/memlease_abi.h"

struct ml_device;
struct ml_request;

struct ml_shrink {
	struct task_struct *task;
	struct ml_request *give_back;
	wait_queue_head_t wait;
	struct delayed_work alarm;	/* ends an attempt that takes too long */
	bool kick;			/* look at the target again */
	bool held;			/* device gone, broken or asleep */
	bool everything;		/* the driver goes: return all */
	bool attempt;			/* a block is being emptied */
	u64 attempt_end_ns;		/* by then it is given up */
	u64 attempt_ran_ns;		/* what the thread had run for when it began */
	u32 attempts;			/* begun so far */
	bool busy;			/* the last round ended because programs take memory */
	u64 *rank;			/* per memory block, in this round */

	/* the target that is being worked on */
	u32 seq;
	bool seq_known;
	bool idle;			/* nothing to do, or everything tried */
	u32 state;			/* enum memlease_target_state */
	u64 goal;			/* slots */
	u64 deadline_ns;
	u32 pause_ms;			/* between rounds, doubles */
};

int ml_shrink_init(struct ml_device *ml);
/* After ml_queue_stop(): the thread may be waiting for an answer. */
void ml_shrink_exit(struct ml_device *ml);

/* Look at the target now. Any context. */
void ml_shrink_kick(struct ml_device *ml);

/* Leave the memory block that is being emptied, if any, as it is. Any context. */
void ml_shrink_interrupt(struct ml_device *ml);

/* No more work until released. */
void ml_shrink_hold(struct ml_device *ml, bool held);

/* Try to return all, for at most timeout_ms. Returns the slots that are left. */
u64 ml_shrink_everything(struct ml_device *ml, u32 timeout_ms);

const char *ml_target_state_text(u32 state);

#endif /* MEMLEASE_SHRINK_H */
