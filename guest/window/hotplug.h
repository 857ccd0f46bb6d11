/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory blocks go to Linux and come back: adds, onlines, empties, removes, and moves
 * them between movable and kernel memory. Called by who has blocks.hotplug (turn/turn.h),
 * and decides nothing.
 */
#ifndef MEMLEASE_HOTPLUG_H
#define MEMLEASE_HOTPLUG_H

#include <linux/notifier.h>
#include <linux/sched.h>

#include "blocks.h"
#include "reserve.h"

/* hotplug.c alone looks into it; the two counters are shown as they are. */
struct ml_hotplug {
	struct ml_blocks *blocks;
	struct ml_reserve reserve;	/* for page arrays; the growing worker's */
	struct notifier_block notifier;
	int nid;
	bool memmap_inside;		/* page arrays lie in the memory that they describe */
	u32 adding;			/* block that nobody else may online, or count */
	struct task_struct *onlining;	/* who may online it */
	struct task_struct *offlining;	/* who takes a block offline, only if nothing is in use */
	unsigned long taken;		/* pages in use that the last try of `offlining` found */
	spinlock_t lock;		/* stranger, against its end */
	struct task_struct *stranger;	/* who else takes a block offline now */
	u32 by_strangers;		/* blocks that others put on line or off line */
	u64 offline_failures;		/* under blocks.hotplug */
	u64 online_failures;		/* under blocks.hotplug */
};

/* 0 or -errno. Hears of memory that others put on line and off line until the exit. */
int ml_hotplug_init(struct ml_hotplug *h, struct ml_blocks *blocks);
void ml_hotplug_exit(struct ml_hotplug *h);

/* Counts what others than the driver put on line or off line. Any context. */
u32 ml_hotplug_by_strangers(const struct ml_hotplug *h);

/*
 * Give a COMMITTED block to Linux. Under blocks.hotplug, by the growing worker, with
 * access to memory reserves. Who takes memory offline by hand meanwhile, under a lock that
 * this needs, is interrupted. Leaves it ONLINE, or COMMITTED with -errno. One that
 * cannot be onlined is removed again; logged once, and counted.
 */
int ml_hotplug_add(struct ml_hotplug *h, u32 i);

/*
 * Take an ADDED or ONLINE block away from Linux. In an attempt (turn/turn.h); may take
 * long; ML_STOP_SIGNAL (linux/empty.h) to the caller ends it. Leaves it COMMITTED, or
 * as it was with -errno.
 */
int ml_hotplug_remove(struct ml_hotplug *h, u32 i);

/*
 * Make an ONLINE block kernel memory that is movable, or the other way round: takes
 * it offline and online again. Called and ended as ml_hotplug_remove(). Leaves it
 * ONLINE, as it was if it returns -errno; one that cannot be onlined at all stays
 * ADDED.
 */
int ml_hotplug_convert(struct ml_hotplug *h, u32 i, bool kernel);

/*
 * Bytes in use in an ONLINE block: what removing it would have to move. *pinned
 * says whether there seems to be a page that cannot be moved. Both are hints. Any
 * context.
 */
u64 ml_hotplug_used_bytes(struct ml_hotplug *h, u32 i, bool *pinned);

/*
 * Keep memory for the page array of the block that comes next, if that is easy and
 * needed, or keep none. By the growing worker, or when it does not run any more.
 */
void ml_hotplug_keep_reserve(struct ml_hotplug *h);
void ml_hotplug_drop_reserve(struct ml_hotplug *h);

#endif /* MEMLEASE_HOTPLUG_H */
