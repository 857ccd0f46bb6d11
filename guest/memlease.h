/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's state for one device, made of one part per file. Included by all
 * of them; a part's contract stands in its own header.
 */
#ifndef MEMLEASE_H
#define MEMLEASE_H

#include <linux/virtio.h>
#include <linux/workqueue.h>

#include "../proto/memlease_abi.h"
#include "pure.h"
#include "config.h"
#include "queue.h"
#include "blocks.h"
#include "meminfo.h"
#include "need.h"
#include "reserve.h"
#include "grow.h"
#include "split.h"
#include "watch.h"
#include "shrink.h"
#include "report.h"
#include "defrag.h"
#include "shutdown.h"
#include "cache.h"
#include "stats.h"
#include "query.h"
#include "events.h"

struct ml_device {
	struct virtio_device *vdev;
	struct ml_fixed fixed;
	struct ml_queue queue;
	struct virtqueue *event_vq;
	struct ml_blocks blocks;
	struct ml_reserve reserve;
	struct ml_grow grow;
	struct ml_watch watch;
	struct ml_split split;
	struct ml_shrink shrink;
	struct ml_report report;
	struct ml_defrag defrag;
	struct ml_cache cache;
	struct ml_stats stats;
	struct ml_query query;
	struct ml_events events;
	struct ml_shutdown shutdown;

	/* What the config space said last; host_lock guards it. */
	struct ml_host host;
	spinlock_t host_lock;
	struct work_struct config_work;
	struct delayed_work restart_work;
	u32 restart_pause_ms;

	struct workqueue_struct *wq;	/* all but growing; not for reclaim */
	struct notifier_block pm_notifier;
	u64 low_mark_bytes;		/* the user's, or 0 */
	bool pm_hold;			/* the machine is about to sleep: borrow nothing */
	bool broken;			/* the device is; reset mends it */
	bool stopped;			/* no queues: do not look at the device */
	bool removing;			/* the driver goes: do not restart the device */
	int last_error;			/* of the last request that failed, -errno */
};

/* A consistent copy of what the host said last. Any context that may spin. */
struct ml_host ml_host_now(struct ml_device *ml);

/* The marks that hold at present. Any context. */
struct ml_marks ml_marks_now(struct ml_device *ml);

/*
 * Available memory, with the free pages that are being reported or defragmented:
 * these come back within moments, and are no reason to grow.
 */
u64 ml_available(struct ml_device *ml);

/*
 * Something went wrong with a request, in the voice of `what`. Remembers it,
 * and if the device is broken says so, stops its use, and sees to a restart
 * where nothing is borrowed. May sleep.
 */
void ml_failed(struct ml_device *ml, const char *what, int rc);

#endif /* MEMLEASE_H */
