/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One device and all parts of the driver that work for it: made, started, held,
 * stopped and unmade here, on behalf of the rest of door/, which says when.
 */
#ifndef MEMLEASE_DEVICE_H
#define MEMLEASE_DEVICE_H

#include <linux/notifier.h>
#include <linux/virtio_config.h>
#include <linux/workqueue.h>

#include "../turn/turn.h"
#include "../window/blocks.h"
#include "../window/hotplug.h"
#include "../wire/wire.h"

struct ml_device {
	struct ml_wire wire;
	struct ml_blocks blocks;
	struct ml_hotplug hotplug;
	struct ml_board board;
	struct ml_turn turn;

	struct ml_events *events;
	struct ml_stats *stats;
	struct ml_query *query;
	struct ml_shrink *shrink;
	struct ml_grow *grow;
	struct ml_oom *oom;
	struct ml_watch *watch;
	struct ml_split *split;
	struct ml_report *report;
	struct ml_anew *anew;
	struct ml_trim *trim;
	struct ml_defrag *defrag;

	struct workqueue_struct *wq;	/* of all but growing; not for reclaim */
	bool broken;			/* the device is; reset mends it */
	bool stopped;			/* no queues: do not look at the device */

	/* power.c's; the first three are read by device.c */
	struct delayed_work restart_work;	/* resets a broken device */
	bool sleepy;			/* the machine is about to sleep: borrow nothing */
	bool removing;			/* the driver goes: do not restart the device */
	u32 restart_pause_ms;
	struct notifier_block pm_notifier;

	/* shutdown.c's */
	struct notifier_block reboot_notifier;
	struct virtio_config_ops no_reset_ops;	/* the transport's, less its reset */
};

/* All parts, held; 0 or -errno. Unmaking comes after ml_device_stop(). */
int ml_device_make(struct ml_device *ml, struct virtio_device *vdev,
		   const struct ml_fixed *fixed);
void ml_device_unmake(struct ml_device *ml);

/*
 * Set up the queues and let all parts work; 0 or -errno. Or reset the device, so
 * that nothing is in flight, and take the queues down. Both may sleep, and be called
 * again.
 */
int ml_device_start(struct ml_device *ml);
void ml_device_stop(struct ml_device *ml);

/*
 * Stop while memory is borrowed, for good: the device is not reset, but is told
 * nothing any more. What Linux has of it stays in use, and so does `ml`.
 */
void ml_device_abandon(struct ml_device *ml);

#endif /* MEMLEASE_DEVICE_H */
