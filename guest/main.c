// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver: binds to the device, starts and stops its parts, and reacts to
 * what concerns all of them: a changed config space, a broken device, a machine
 * that goes to sleep, a kernel that was started to dump another.
 *
 * Lock order, outermost first:
 *   defrag.busy				(whoever removes memory, ml_defrag_keep_off)
 *   the kernel's out-of-memory lock		(ml_grow_oom is called with it)
 *     blocks.hotplug
 *       the kernel's hotplug locks		(the memory notifier is called with them)
 *         blocks.lock, host_lock		(not together)
 *           queue.lock, events.lock		(not together, nor inside the former)
 * Nothing that waits for the host holds blocks.hotplug. The growing worker takes
 * no lock that is held by anyone who waits for memory.
 *
 * Sleep: a device that slept is reset, and a reset returns every window slot.
 * So the machine sleeps only while nothing is borrowed.
 */
#include <linux/crash_dump.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "compat/compat.h"
#include "memlease.h"
#include "sysfs.h"

#define ML_UNLOAD_MS		10000	/* for giving all back when the device goes */
#define ML_SUSPEND_MS		5000	/* the same when the machine is suspended */
#define ML_RESTART_FIRST_MS	1000
#define ML_RESTART_MAX_MS	60000
#define ML_LEAVE_MS		5000	/* for requests under way, if the device cannot be reset */

struct ml_host ml_host_now(struct ml_device *ml)
{
	struct ml_host host;
	unsigned long flags;

	spin_lock_irqsave(&ml->host_lock, flags);
	host = ml->host;
	spin_unlock_irqrestore(&ml->host_lock, flags);
	return host;
}

struct ml_marks ml_marks_now(struct ml_device *ml)
{
	u64 total = ml_total_bytes(), low = READ_ONCE(ml->low_mark_bytes);
	struct ml_marks marks = ml_marks_of(total, low, ml->blocks.mb_bytes);

	return low ? marks : ml_marks_on(marks, total, num_online_cpus(), ml->blocks.mb_bytes);
}

u64 ml_available(struct ml_device *ml)
{
	return ml_available_bytes() + atomic64_read(&ml->report.isolated_bytes) +
	       atomic64_read(&ml->defrag.isolated_bytes);
}

void ml_failed(struct ml_device *ml, const char *what, int rc)
{
	if (rc == -ENODEV)	/* the queue was stopped, by us */
		return;
	WRITE_ONCE(ml->last_error, rc);
	if (rc == -EPROTO)
		dev_err_ratelimited(&ml->vdev->dev, "the host's answer to %s makes no sense\n",
				    what);
	queue_work(ml->wq, &ml->config_work);
}

/* Let all parts work, or none. */
static void ml_hold(struct ml_device *ml, bool held)
{
	if (held)
		ml_grow_hold(ml);
	else if (!READ_ONCE(ml->pm_hold))	/* or when the machine is awake: ml_pm_notify() */
		ml_grow_start(ml);
	ml_shrink_hold(ml, held);
	ml_split_hold(ml, held);
	ml_report_hold(ml, held);
	ml_defrag_hold(ml, held);
	ml_cache_hold(ml, held);
	ml_stats_hold(ml, held);
	ml_query_hold(ml, held);
}

static void ml_broke(struct ml_device *ml, const struct ml_host *host)
{
	u64 held = ml_blocks_held(ml);

	WRITE_ONCE(ml->broken, true);
	ml_hold(ml, true);
	dev_err(&ml->vdev->dev, "the host broke this device: %s\n",
		ml_broken_text(host->broken_reason));
	if (held) {
		dev_err(&ml->vdev->dev, "%llu borrowed blocks stay in use; none can be borrowed or returned until the machine is restarted\n",
			held);
		return;
	}
	ml->restart_pause_ms = ml_backoff_ms(ml->restart_pause_ms, ML_RESTART_FIRST_MS,
					     ML_RESTART_MAX_MS);
	if (READ_ONCE(ml->removing))
		return;
	dev_info(&ml->vdev->dev, "nothing is borrowed: resetting it in %u ms\n",
		 ml->restart_pause_ms);
	/* Not while the machine goes to sleep, which does the same. */
	queue_delayed_work(system_freezable_wq, &ml->restart_work,
			   msecs_to_jiffies(ml->restart_pause_ms));
}

static void ml_config_look(struct ml_device *ml)
{
	struct ml_host host;
	unsigned long flags;

	ml_config_read(ml->vdev, &host);
	spin_lock_irqsave(&ml->host_lock, flags);
	ml->host = host;
	spin_unlock_irqrestore(&ml->host_lock, flags);
	if (host.broken && !READ_ONCE(ml->broken)) {
		ml_broke(ml, &host);
		return;
	}
	ml_shrink_kick(ml);
	ml_grow_kick(ml);
}

static void ml_config_work(struct work_struct *work)
{
	struct ml_device *ml = container_of(work, struct ml_device, config_work);

	if (!READ_ONCE(ml->stopped))
		ml_config_look(ml);
}

static void ml_config_changed(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;

	if (ml)
		queue_work(ml->wq, &ml->config_work);
}

/* Set up the queues and let all parts work. */
static int ml_start(struct ml_device *ml)
{
	struct virtqueue_info info[MEMLEASE_VQ_COUNT] = {
		[MEMLEASE_VQ_REQUEST] = { "request", ml_queue_interrupt },
		[MEMLEASE_VQ_EVENT] = { "event", ml_events_interrupt },
	};
	struct virtqueue *vqs[MEMLEASE_VQ_COUNT];
	int rc;

	rc = ml_find_vqs(ml->vdev, MEMLEASE_VQ_COUNT, vqs, info);
	if (rc) {
		dev_err(&ml->vdev->dev, "setting up the queues failed (error %d)\n", rc);
		return rc;
	}
	virtio_device_ready(ml->vdev);
	WRITE_ONCE(ml->broken, false);
	WRITE_ONCE(ml->stopped, false);
	ml_queue_start(&ml->queue, vqs[MEMLEASE_VQ_REQUEST]);
	rc = ml_events_start(ml, vqs[MEMLEASE_VQ_EVENT]);
	if (rc)
		dev_warn(&ml->vdev->dev, "the event queue takes no buffers (error %d)\n", rc);
	ml_config_look(ml);
	if (!READ_ONCE(ml->broken))
		ml_hold(ml, false);
	return 0;
}

/* Stop all parts but those that wait in a thread of their own; no answer comes any more. */
static void ml_stop_parts(struct ml_device *ml)
{
	WRITE_ONCE(ml->stopped, true);
	ml_queue_stop(&ml->queue);
	ml_events_stop(ml);
	ml_grow_stop(ml);
	cancel_delayed_work_sync(&ml->report.drive);
	cancel_delayed_work_sync(&ml->stats.work);
	cancel_work_sync(&ml->query.work);
	cancel_work_sync(&ml->config_work);
}

/* Reset the device, so that nothing is in flight, and take the queues down. */
static void ml_stop(struct ml_device *ml)
{
	ml_hold(ml, true);
	virtio_reset_device(ml->vdev);
	ml_stop_parts(ml);
	ml_queue_forget(&ml->queue);
	ml->vdev->config->del_vqs(ml->vdev);
}

#ifdef CONFIG_PM_SLEEP
static int ml_freeze(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;

	if (!ml)	/* a kernel that only dumps another */
		return -EPERM;
	if (ml_blocks_held(ml)) {
		dev_err(&vdev->dev, "cannot sleep: %llu blocks are borrowed\n",
			ml_blocks_held(ml));
		return -EBUSY;
	}
	ml_stop(ml);
	return 0;
}

static int ml_restore(struct virtio_device *vdev)
{
	return ml_start(vdev->priv);
}

static void ml_restart_work(struct work_struct *work)
{
	struct ml_device *ml = container_of(to_delayed_work(work), struct ml_device, restart_work);
	int rc;

	if (ml_blocks_held(ml) || READ_ONCE(ml->removing) || READ_ONCE(ml->stopped))
		return;
	/* What the bus does around sleep is what it takes to negotiate anew. */
	rc = virtio_device_freeze(ml->vdev);
	if (!rc)
		rc = virtio_device_restore(ml->vdev);
	if (rc)
		dev_err(&ml->vdev->dev, "restarting the device failed (error %d)\n", rc);
}
#else
static void ml_restart_work(struct work_struct *work)
{
}
#endif

static int ml_pm_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_device *ml = container_of(nb, struct ml_device, pm_notifier);
	u64 held;

	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
	case PM_SUSPEND_PREPARE:
		WRITE_ONCE(ml->pm_hold, true);
		ml_grow_hold(ml);
		/* Suspending is worth a try to give all back; who hibernates saves memory that is in use. */
		held = action == PM_SUSPEND_PREPARE && !READ_ONCE(ml->broken) ?
		       ml_shrink_everything(ml, ML_SUSPEND_MS) : ml_blocks_held(ml);
		if (!held)
			break;
		dev_err(&ml->vdev->dev, "%s refused: %llu blocks are borrowed and would be lost; set the target to 0 first\n",
			action == PM_SUSPEND_PREPARE ? "suspend" : "hibernation", held);
		WRITE_ONCE(ml->pm_hold, false);
		if (!READ_ONCE(ml->broken))
			ml_grow_start(ml);
		return NOTIFY_BAD;
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
	case PM_POST_SUSPEND:
		held = READ_ONCE(ml->pm_hold);
		WRITE_ONCE(ml->pm_hold, false);
		if (held && !READ_ONCE(ml->broken) && !READ_ONCE(ml->stopped))
			ml_grow_start(ml);
		break;
	}
	return NOTIFY_OK;
}

#ifdef CONFIG_PROC_VMCORE
/*
 * In a kernel that was started to dump a crashed one. Binding has reset the
 * device, which returned every window slot: reading one would end this VM.
 */
struct ml_dump {
	struct vmcore_cb cb;
	struct ml_layout layout;
};

static struct ml_dump ml_dump;

static bool ml_dump_pfn_is_ram(struct vmcore_cb *cb, unsigned long pfn)
{
	struct ml_dump *dump = container_of(cb, struct ml_dump, cb);
	u64 addr = PFN_PHYS(pfn);

	return addr < dump->layout.window_addr ||
	       addr - dump->layout.window_addr >= dump->layout.window_bytes;
}

static void ml_dump_register(const struct ml_fixed *fixed)
{
	if (ml_dump.cb.pfn_is_ram)
		return;
	ml_dump.layout = fixed->layout;
	ml_dump.cb.pfn_is_ram = ml_dump_pfn_is_ram;
	register_vmcore_cb(&ml_dump.cb);
	/* The kernel has no way to take a callback back once the dump is open. */
	__module_get(THIS_MODULE);
}
#else
static void ml_dump_register(const struct ml_fixed *fixed)
{
}
#endif

/* Indirect descriptors are allocated for each request, wherever there is memory. */
static int ml_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "the device lacks VIRTIO_F_VERSION_1\n");
		return -EINVAL;
	}
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	return 0;
}

static int ml_probe_parts(struct ml_device *ml)
{
	int rc;

	rc = ml_blocks_init(ml);
	if (rc)
		return rc;
	rc = ml_events_init(ml);
	if (rc)
		goto out_blocks;
	rc = ml_stats_init(ml);
	if (rc)
		goto out_events;
	rc = ml_query_init(ml);
	if (rc)
		goto out_stats;
	rc = ml_shrink_init(ml);
	if (rc)
		goto out_query;
	rc = ml_grow_init(ml);
	if (rc)
		goto out_shrink;
	rc = ml_watch_init(ml);
	if (rc)
		goto out_grow;
	rc = ml_split_init(ml);
	if (rc)
		goto out_watch;
	rc = ml_report_init(ml);
	if (rc)
		goto out_split;
	ml_cache_init(ml);
	rc = ml_defrag_init(ml);
	if (rc)
		goto out_report;
	return 0;
out_report:
	ml_report_exit(ml);
out_split:
	ml_split_exit(ml);
out_watch:
	ml_watch_exit(ml);
out_grow:
	ml_grow_exit(ml);
out_shrink:
	ml_shrink_exit(ml);
out_query:
	ml_query_exit(ml);
out_stats:
	ml_stats_exit(ml);
out_events:
	ml_events_exit(ml);
out_blocks:
	ml_blocks_exit(ml);
	return rc;
}

static void ml_remove_parts(struct ml_device *ml)
{
	ml_defrag_exit(ml);
	ml_cache_exit(ml);
	ml_report_exit(ml);
	ml_split_exit(ml);
	ml_watch_exit(ml);
	ml_grow_exit(ml);
	ml_shrink_exit(ml);
	ml_query_exit(ml);
	ml_stats_exit(ml);
	ml_events_exit(ml);
	ml_blocks_exit(ml);
}

static int ml_probe(struct virtio_device *vdev)
{
	struct ml_fixed fixed;
	struct ml_device *ml;
	int rc;

	rc = ml_config_fixed(vdev, &fixed);
	if (rc)
		return rc;
	if (is_kdump_kernel()) {
		ml_dump_register(&fixed);
		return 0;
	}
	ml = kzalloc(sizeof(*ml), GFP_KERNEL);
	if (!ml)
		return -ENOMEM;
	ml->vdev = vdev;
	ml->fixed = fixed;
	spin_lock_init(&ml->host_lock);
	ml->host.target_blocks = MEMLEASE_NO_TARGET;
	INIT_WORK(&ml->config_work, ml_config_work);
	INIT_DELAYED_WORK(&ml->restart_work, ml_restart_work);
	ml_queue_init(&ml->queue, vdev);
	ml->stopped = true;
	vdev->priv = ml;

	rc = -ENOMEM;
	ml->wq = alloc_workqueue("memlease", WQ_UNBOUND, 0);
	if (!ml->wq)
		goto out_free;
	rc = ml_probe_parts(ml);
	if (rc)
		goto out_wq;
	rc = ml_start(ml);
	if (rc)
		goto out_parts;
	ml->pm_notifier.notifier_call = ml_pm_notify;
	rc = register_pm_notifier(&ml->pm_notifier);
	if (rc)
		goto out_stop;
	rc = ml_shutdown_init(ml);
	if (rc)
		goto out_pm;
	dev_info(&vdev->dev, "window of %llu MiB at %#llx: %u memory blocks of %llu MiB; reporting %s\n",
		 fixed.layout.window_bytes >> 20, fixed.layout.window_addr, ml->blocks.count,
		 ml->blocks.mb_bytes >> 20, ml->report.registered ? "on" : "off");
	return 0;

out_pm:
	unregister_pm_notifier(&ml->pm_notifier);
out_stop:
	WRITE_ONCE(ml->removing, true);
	ml_stop(ml);
	cancel_delayed_work_sync(&ml->restart_work);
out_parts:
	ml_remove_parts(ml);
out_wq:
	destroy_workqueue(ml->wq);
out_free:
	vdev->priv = NULL;
	kfree(ml);
	return rc;
}

/*
 * The device goes though Linux uses memory of it. A reset would return that
 * memory, and the first touch stop the VM. But the rings are freed, and pages of
 * a REPORT that nobody answered are used again: so the device must not look at
 * them any more. Off the bus it does not, and keeps all else as it is.
 */
static void ml_off_the_bus(struct ml_device *ml)
{
	struct device *bus = ml->vdev->dev.parent;

	if (dev_is_pci(bus))
		pci_clear_master(to_pci_dev(bus));
}

static void ml_abandon(struct ml_device *ml, u64 held)
{
	unsigned long end = jiffies + msecs_to_jiffies(ML_LEAVE_MS);

	dev_crit(&ml->vdev->dev, "removed while %llu blocks are borrowed and in use: they stay, and the host goes on counting them; restart this machine soon\n",
		 held);
	ml_hold(ml, true);
	while (READ_ONCE(ml->queue.users) && time_before(jiffies, end))
		schedule_timeout_idle(HZ / 10);
	ml_off_the_bus(ml);
	ml_stop_parts(ml);
	ml->vdev->config->del_vqs(ml->vdev);
	ml_defrag_exit(ml);
	ml_cache_exit(ml);
	ml_report_exit(ml);
	ml_watch_exit(ml);
	ml_grow_exit(ml);
	unregister_memory_notifier(&ml->blocks.notifier);
}

static void ml_remove(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;
	u64 held;

	if (!ml) {
		virtio_reset_device(vdev);
		return;
	}
	ml_shutdown_exit(ml);
	unregister_pm_notifier(&ml->pm_notifier);
	WRITE_ONCE(ml->removing, true);
	cancel_delayed_work_sync(&ml->restart_work);
	ml_grow_hold(ml);
	held = READ_ONCE(ml->broken) ? ml_blocks_held(ml) :
				       ml_shrink_everything(ml, ML_UNLOAD_MS);
	if (held) {
		ml_abandon(ml, held);
		return;
	}
	ml_stop(ml);
	cancel_delayed_work_sync(&ml->restart_work);
	ml_remove_parts(ml);
	destroy_workqueue(ml->wq);
	vdev->priv = NULL;
	kfree(ml);
}

static const struct virtio_device_id ml_ids[] = {
	{ VIRTIO_ID_MEMLEASE, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, ml_ids);

static const unsigned int ml_features[] = {
	MEMLEASE_F_EAGER,
	MEMLEASE_F_REPORTING,
	MEMLEASE_F_STATS,
	MEMLEASE_F_QUERY,
};

static struct virtio_driver ml_driver = {
	.feature_table = ml_features,
	.feature_table_size = ARRAY_SIZE(ml_features),
	.driver = {
		.name = KBUILD_MODNAME,
		.owner = THIS_MODULE,
		.dev_groups = ml_sysfs_groups,
		/* Nobody should take the driver away by hand while memory is borrowed. */
		.suppress_bind_attrs = true,
	},
	.id_table = ml_ids,
	.validate = ml_validate,
	.probe = ml_probe,
	.remove = ml_remove,
	.config_changed = ml_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = ml_freeze,
	.restore = ml_restore,
#endif
};

static int __init ml_module_init(void)
{
	int rc;

	rc = ml_watch_module_init();
	if (rc)
		return rc;
	rc = register_virtio_driver(&ml_driver);
	if (rc)
		ml_watch_module_exit();
	return rc;
}
module_init(ml_module_init);

static void __exit ml_module_exit(void)
{
	unregister_virtio_driver(&ml_driver);
	ml_watch_module_exit();
}
module_exit(ml_module_exit);

MODULE_DESCRIPTION("memlease: memory that is borrowed from the host block by block");
MODULE_AUTHOR("The memlease authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
