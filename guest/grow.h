/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growing: looks at available memory, borrows memory blocks and gives them to
 * Linux, before memory runs out. Called by itself: by a timer that runs faster
 * the faster memory goes, by reclaim when it starts, and as a last resort by
 * the out-of-memory notifier.
 */
#ifndef MEMLEASE_GROW_H
#define MEMLEASE_GROW_H

#include <linux/atomic.h>
#include <linux/notifier.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "need.h"
#include "pure.h"

#define ML_GROW_STEP	16	/* most memory blocks of one BORROW */

struct ml_device;
struct ml_request;
struct shrinker;

struct ml_grow {
	struct workqueue_struct *wq;	/* has a rescuer: runs when no memory is left */
	struct delayed_work work;
	struct ml_request *borrow;	/* the worker's */
	struct ml_request *give_back;	/* the worker's, for what a grant had too much */
	struct shrinker *shrinker;
	struct notifier_block oom;
	bool oom_registered;
	bool stopped;			/* device gone, broken or asleep */

	/* the worker's own view */
	u64 last_available;		/* bytes, to programs */
	u64 last_look_ns;
	u64 added_since_look;		/* bytes */
	u64 rate;			/* bytes per second */
	bool doubted;			/* the last look, which was none */
	u64 last_kernel;		/* bytes that kernel allocations could have */
	u64 kernel_rate;		/* bytes per second */
	struct ml_stock stock;
	u64 for_stock;			/* bytes that the last look added for it */
	unsigned long next_stock;	/* jiffies; until then it does not count */
	u32 stock_ms;			/* how long it did not, doubles */
	u64 last_again;			/* bytes of page cache read again */
	u64 cache_credit;		/* bytes */
	u64 last_waits;			/* for a large page */
	u64 last_io;			/* bytes of block devices */
	u64 last_cache;			/* bytes of page cache */
	u64 moved;			/* bytes of both, lately */
	unsigned long next_wait;	/* jiffies; until then waits do not count */
	u32 wait_ms;			/* how long they did not, doubles */
	u32 last_attempts;		/* to empty a block, which looks like programs taking memory */
	u32 pause_ms;			/* after a refusal, doubles */
	unsigned long not_before;	/* jiffies; no asking until then, unless urgent */
	unsigned long last_add;		/* jiffies */

	/* last resort */
	atomic_t urgent;		/* OOM notifications to be answered */
	atomic_t answered;		/* rounds of the worker that began with urgent set */
	wait_queue_head_t wait;
	unsigned long next_kick;	/* jiffies; how often reclaim may wake the worker */

	/* counters */
	atomic64_t added_bytes;
	atomic64_t added_for[ML_FOR_COUNT];	/* memory blocks */
	atomic64_t borrows;		/* requests answered */
	atomic64_t refusals;
	atomic64_t oom_rescues;
	u32 last_reason;		/* enum memlease_reason */
};

/*
 * Allocates, and registers with reclaim and the out-of-memory path; nothing is
 * done before ml_grow_start(). Exit comes after ml_grow_stop().
 */
int ml_grow_init(struct ml_device *ml);
void ml_grow_exit(struct ml_device *ml);

/*
 * From start to stop the worker runs. A worker that waits for the host ends with
 * ml_queue_stop(), which comes between _hold and _stop. All may be called again.
 */
void ml_grow_start(struct ml_device *ml);
void ml_grow_hold(struct ml_device *ml);
void ml_grow_stop(struct ml_device *ml);

/* Look at once: limit or target changed. Any context. */
void ml_grow_kick(struct ml_device *ml);

#endif /* MEMLEASE_GROW_H */
