/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Defragmenting: empties blocks of 2 MiB whose pages can all be moved into the
 * holes of others, so that they can be reported. A thread does it in the
 * background within a budget, and whoever needs memory back can ask for it.
 */
#ifndef MEMLEASE_DEFRAG_H
#define MEMLEASE_DEFRAG_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "choose.h"

#define ML_DEFRAG_RUNS	64	/* of one round */
#define ML_DEFRAG_VAIN	1024

struct ml_device;

/* A block that could not be emptied: when to try it again. */
struct ml_vain {
	u32 block;		/* physical address by 2 MiB; 0 if none */
	u32 failures;
	unsigned long until;	/* jiffies */
};

struct ml_defrag {
	struct task_struct *task;
	wait_queue_head_t wait;
	struct mutex busy;		/* one round, or one who removes memory; outermost */
	atomic_t keep_off;		/* so many want it */
	bool held;			/* device gone, broken or asleep: nothing could be reported */
	bool off;			/* the user's: not in the background */
	bool kick;
	u32 policy;			/* index of ml_choosers */

	/* a round's, under busy */
	struct ml_census *census;
	struct ml_run runs[ML_DEFRAG_RUNS];
	struct ml_vain *vain;

	/* the thread's */
	bool active;			/* between the high and the low mark */
	u32 pause_ms;			/* after rounds in vain */
	unsigned long not_before;	/* jiffies: after such a pause */
	u64 vain_bytes;			/* how much was strewn then */

	atomic64_t isolated_bytes;	/* free, but in a block that is being emptied */
	atomic64_t moved_pages;
	atomic64_t cleared_blocks;
	atomic64_t failures;		/* of the kernel to empty what was asked */
	atomic64_t rounds;
	atomic64_t work_us;		/* spent on all that */
};

int ml_defrag_init(struct ml_device *ml);
void ml_defrag_exit(struct ml_device *ml);

/* No work until released. Any context that may sleep. */
void ml_defrag_hold(struct ml_device *ml, bool held);

/* Look again, after a setting was changed. Any context. */
void ml_defrag_kick(struct ml_device *ml);

/*
 * Empty up to `blocks` blocks now, for at most max_ms, without pauses; dear ones
 * too, if `hard`. They are reported right after. Returns how many became free.
 * Sleeps; ends early on a signal, or when memory is to be removed. Not with
 * blocks.hotplug held.
 */
u32 ml_defrag_now(struct ml_device *ml, u32 blocks, u32 max_ms, bool hard);

/*
 * Around the removal of memory from Linux, and before blocks.hotplug: waits until
 * nothing is being emptied, and nobody looks at page arrays that may go away.
 */
void ml_defrag_keep_off(struct ml_device *ml);
void ml_defrag_go_on(struct ml_device *ml);

/* Bytes that are free in pieces of less than 2 MiB. */
u64 ml_defrag_strewn(struct ml_device *ml);

#endif /* MEMLEASE_DEFRAG_H */
