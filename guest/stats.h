/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics: tells the host how the guest is doing, about every second while
 * something changes, every 10 s otherwise, and at once when a target is met or
 * given up.
 */
#ifndef MEMLEASE_STATS_H
#define MEMLEASE_STATS_H

#include <linux/types.h>
#include <linux/workqueue.h>

struct ml_device;
struct ml_request;

#define ML_STATS_COUNT	9	/* enum memlease_stat_tag */

struct ml_stats {
	struct delayed_work work;
	struct ml_request *req;
	bool held;		/* device gone, broken or asleep */
	bool now;		/* send, changed or not */
	u64 sent[ML_STATS_COUNT];
	u32 quiet_s;		/* seconds since the last were sent */
	atomic64_t requests;
};

int ml_stats_init(struct ml_device *ml);
/* After ml_queue_stop(): the worker may be waiting for an answer. */
void ml_stats_exit(struct ml_device *ml);
void ml_stats_hold(struct ml_device *ml, bool held);

/* Any context. */
void ml_stats_send_now(struct ml_device *ml);

#endif /* MEMLEASE_STATS_H */
