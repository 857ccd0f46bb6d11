// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device and its parts; see device.h. Also what concerns all parts: a changed
 * config space, and a broken device.
 */
#include <linux/jiffies.h>
#include <linux/pci.h>

#include "../linux/compat.h"
#include "../work/anew.h"
#include "../work/defrag.h"
#include "../work/events.h"
#include "../work/grow.h"
#include "../work/oom.h"
#include "../work/query.h"
#include "../work/report.h"
#include "../work/shrink.h"
#include "../work/split.h"
#include "../work/stats.h"
#include "../work/trim.h"
#include "../work/watch.h"
#include "device.h"

#define ML_RESTART_FIRST_MS	1000
#define ML_RESTART_MAX_MS	60000
#define ML_NO_DRIVER		"memlease-in-use"	/* of that name there is none */
#define ML_LEAVE_MS		5000	/* for requests under way, if the device cannot be reset */

/* Let all parts work. */
static void ml_device_release(struct ml_device *ml)
{
	/* Growing not if the machine is about to sleep: when it is awake, power.c sees to it. */
	if (!READ_ONCE(ml->sleepy))
		ml_grow_start(ml->grow);
	ml_turn_hold(&ml->turn, false);
	ml_trim_start(ml->trim);
}

static void ml_device_broke(struct ml_device *ml, const struct ml_host *host)
{
	struct device *dev = ml_wire_dev(&ml->wire);
	u64 borrowed = ml_blocks_borrowed(&ml->blocks);

	WRITE_ONCE(ml->broken, true);
	ml_turn_hold(&ml->turn, true);
	dev_err(dev, "the host broke this device: %s\n", ml_broken_text(host->broken_reason));
	if (borrowed) {
		dev_err(dev, "%llu borrowed blocks stay in use; none can be borrowed or returned until the machine is restarted\n",
			borrowed);
		return;
	}
	ml->restart_pause_ms = ml_backoff_ms(ml->restart_pause_ms, ML_RESTART_FIRST_MS,
					     ML_RESTART_MAX_MS);
	if (READ_ONCE(ml->removing))
		return;
	dev_info(dev, "nothing is borrowed: resetting it in %u ms\n", ml->restart_pause_ms);
	/* Not while the machine goes to sleep, which does the same. */
	queue_delayed_work(system_freezable_wq, &ml->restart_work,
			   msecs_to_jiffies(ml->restart_pause_ms));
}

static void ml_device_look(struct ml_device *ml)
{
	struct ml_host host = ml_wire_read(&ml->wire);

	if (host.broken && !READ_ONCE(ml->broken)) {
		ml_device_broke(ml, &host);
		return;
	}
	ml_turn_wake(&ml->turn, ML_SHRINK);
	ml_turn_wake(&ml->turn, ML_GROW);
}

static void ml_device_look_work(struct work_struct *work)
{
	struct ml_wire *wire = container_of(work, struct ml_wire, look);
	struct ml_device *ml = container_of(wire, struct ml_device, wire);

	if (!READ_ONCE(ml->stopped))
		ml_device_look(ml);
}

static void ml_device_answered(struct virtqueue *vq)
{
	struct ml_device *ml = vq->vdev->priv;

	ml_queue_interrupt(&ml->wire.queue);
}

static void ml_device_event(struct virtqueue *vq)
{
	struct ml_device *ml = vq->vdev->priv;

	ml_events_interrupt(ml->events);
}

int ml_device_start(struct ml_device *ml)
{
	struct virtqueue_info info[MEMLEASE_VQ_COUNT] = {
		[MEMLEASE_VQ_REQUEST] = { "request", ml_device_answered },
		[MEMLEASE_VQ_EVENT] = { "event", ml_device_event },
	};
	struct virtio_device *vdev = ml->wire.vdev;
	struct virtqueue *vqs[MEMLEASE_VQ_COUNT];
	int rc;

	rc = ml_find_vqs(vdev, MEMLEASE_VQ_COUNT, vqs, info);
	if (rc) {
		dev_err(&vdev->dev, "setting up the queues failed (error %d)\n", rc);
		return rc;
	}
	virtio_device_ready(vdev);
	WRITE_ONCE(ml->broken, false);
	WRITE_ONCE(ml->stopped, false);
	ml_queue_start(&ml->wire.queue, vqs[MEMLEASE_VQ_REQUEST]);
	rc = ml_events_start(ml->events, vqs[MEMLEASE_VQ_EVENT]);
	if (rc)
		dev_warn(&vdev->dev, "the event queue takes no buffers (error %d)\n", rc);
	ml_device_look(ml);
	if (!READ_ONCE(ml->broken))
		ml_device_release(ml);
	return 0;
}

/* Stop all parts but those that wait in a thread of their own; no answer comes any more. */
static void ml_device_stop_parts(struct ml_device *ml)
{
	WRITE_ONCE(ml->stopped, true);
	ml_queue_stop(&ml->wire.queue);
	ml_events_stop(ml->events);
	ml_grow_stop(ml->grow);
	ml_report_stop(ml->report);
	ml_anew_stop(ml->anew);
	ml_stats_stop(ml->stats);
	ml_query_stop(ml->query);
	cancel_work_sync(&ml->wire.look);
}

void ml_device_stop(struct ml_device *ml)
{
	ml_turn_hold(&ml->turn, true);
	/* A BORROW that was answered just now must not be added to memory after the reset. */
	ml_turn_give_no_more(&ml->turn);
	virtio_reset_device(ml->wire.vdev);
	ml_device_stop_parts(ml);
	ml_queue_forget(&ml->wire.queue);
	ml_blocks_forget(&ml->blocks);
	ml->wire.vdev->config->del_vqs(ml->wire.vdev);
}

/*
 * The device goes though Linux uses memory of it. A reset would return that
 * memory, and the first touch stop the VM. But the rings are freed, and pages of
 * a REPORT that nobody answered are used again: so the device must not look at
 * them any more. Off the bus it does not, and keeps all else as it is. And no driver may
 * have it again, for each begins with a reset.
 */
static void ml_device_off_the_bus(struct ml_device *ml)
{
	struct device *dev = ml_wire_dev(&ml->wire), *bus = dev->parent;

	if (!dev_is_pci(bus))
		return;
	pci_clear_master(to_pci_dev(bus));
	if (ml_pci_only_driver(to_pci_dev(bus), ML_NO_DRIVER))
		dev_crit(dev, "do not bind a driver to %s: that stops this machine\n", dev_name(bus));
}

void ml_device_abandon(struct ml_device *ml)
{
	unsigned long end = jiffies + msecs_to_jiffies(ML_LEAVE_MS);

	ml_turn_hold(&ml->turn, true);
	while (ml_queue_in_use(&ml->wire.queue) && time_before(jiffies, end))
		schedule_timeout_idle(HZ / 10);
	ml_device_off_the_bus(ml);
	ml_device_stop_parts(ml);
	ml->wire.vdev->config->del_vqs(ml->wire.vdev);
	ml_defrag_exit(ml->defrag);
	ml_trim_exit(ml->trim);
	ml_anew_exit(ml->anew);
	ml_report_exit(ml->report);
	ml_watch_exit(ml->watch);
	ml_oom_exit(ml->oom);
	ml_grow_exit(ml->grow);
	ml_hotplug_exit(&ml->hotplug);
}

/* What stands below work/. */
static int ml_device_make_ground(struct ml_device *ml, struct virtio_device *vdev,
				 const struct ml_fixed *fixed)
{
	int rc;

	ml->stopped = true;
	ml->wq = alloc_workqueue("memlease", WQ_UNBOUND, 0);
	if (!ml->wq)
		return -ENOMEM;
	ml_wire_init(&ml->wire, vdev, fixed, ml->wq, ml_device_look_work);
	rc = ml_blocks_init(&ml->blocks, &ml->wire);
	if (rc)
		goto out_wq;
	rc = ml_hotplug_init(&ml->hotplug, &ml->blocks);
	if (rc)
		goto out_blocks;
	ml_board_init(&ml->board, &ml->blocks);
	ml_turn_init(&ml->turn, &ml->wire, &ml->hotplug, &ml->board);
	return 0;
out_blocks:
	ml_blocks_exit(&ml->blocks);
out_wq:
	destroy_workqueue(ml->wq);
	return rc;
}

static void ml_device_unmake_ground(struct ml_device *ml)
{
	ml_hotplug_exit(&ml->hotplug);
	ml_blocks_exit(&ml->blocks);
	destroy_workqueue(ml->wq);
}

/* The parts of work/, in this order: reporting tells those after it whether it works. */
static int ml_device_make_work(struct ml_device *ml)
{
	struct ml_turn *t = &ml->turn;
	int rc = ml_events_init(t, &ml->events);

	rc = rc ?: ml_stats_init(t, &ml->stats);
	rc = rc ?: ml_query_init(t, &ml->query);
	rc = rc ?: ml_shrink_init(t, &ml->shrink);
	rc = rc ?: ml_grow_init(t, &ml->grow);
	rc = rc ?: ml_oom_init(t, &ml->oom);
	rc = rc ?: ml_watch_init(t, &ml->watch);
	rc = rc ?: ml_split_init(t, &ml->split);
	rc = rc ?: ml_report_init(t, &ml->report);
	rc = rc ?: ml_anew_init(t, &ml->anew);
	rc = rc ?: ml_trim_init(t, &ml->trim);
	return rc ?: ml_defrag_init(t, &ml->defrag);
}

/* Also where only some were made. */
static void ml_device_unmake_work(struct ml_device *ml)
{
	if (ml->defrag)
		ml_defrag_exit(ml->defrag);
	if (ml->trim)
		ml_trim_exit(ml->trim);
	if (ml->anew)
		ml_anew_exit(ml->anew);
	if (ml->report)
		ml_report_exit(ml->report);
	if (ml->split)
		ml_split_exit(ml->split);
	if (ml->watch)
		ml_watch_exit(ml->watch);
	if (ml->oom)
		ml_oom_exit(ml->oom);
	if (ml->grow)
		ml_grow_exit(ml->grow);
	if (ml->shrink)
		ml_shrink_exit(ml->shrink);
	if (ml->query)
		ml_query_exit(ml->query);
	if (ml->stats)
		ml_stats_exit(ml->stats);
	if (ml->events)
		ml_events_exit(ml->events);
}

int ml_device_make(struct ml_device *ml, struct virtio_device *vdev,
		   const struct ml_fixed *fixed)
{
	int rc = ml_device_make_ground(ml, vdev, fixed);

	if (rc)
		return rc;
	rc = ml_device_make_work(ml);
	if (rc) {
		ml_device_unmake_work(ml);
		ml_device_unmake_ground(ml);
	}
	return rc;
}

void ml_device_unmake(struct ml_device *ml)
{
	ml_device_unmake_work(ml);
	ml_device_unmake_ground(ml);
}
