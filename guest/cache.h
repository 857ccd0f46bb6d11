/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page cache that nobody uses: gives it up when shrinking needs the room, and, bit
 * by bit, when it has not been used for a while, because a tenant pays for it by
 * the second. Linux chooses what goes: what it would give up first in any case.
 */
#ifndef MEMLEASE_CACHE_H
#define MEMLEASE_CACHE_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "trim.h"

struct ml_device;

struct ml_cache {
	struct delayed_work work;
	struct ml_trim trim;	/* the worker's */
	struct mutex one;	/* one trims at a time */
	bool held;		/* device gone, broken or asleep */
	bool off;		/* the user's: not in the background */
	atomic64_t trimmed_bytes;
};

void ml_cache_init(struct ml_device *ml);
void ml_cache_exit(struct ml_device *ml);
void ml_cache_hold(struct ml_device *ml, bool held);

/* Bytes of page cache that Linux would give up first. Never sleeps. */
u64 ml_cache_unused_bytes(void);

/*
 * Have Linux give up this much clean page cache, without writing or swapping.
 * Takes up to max_ms, and ends early when there is no more of it or a signal
 * comes. Returns how many bytes the page cache fell. Sleeps.
 */
u64 ml_cache_give_up(struct ml_device *ml, u64 bytes, u32 max_ms);

#endif /* MEMLEASE_CACHE_H */
