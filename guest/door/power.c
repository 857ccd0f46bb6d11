// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sleep and restart; see power.h. A device that slept is reset, and a reset returns
 * every window slot. So the machine sleeps only while nothing is borrowed.
 */
#include <linux/suspend.h>

#include "../work/grow.h"
#include "../work/shrink.h"
#include "power.h"

#define ML_SUSPEND_MS	5000	/* for giving all back when the machine is suspended */

#ifdef CONFIG_PM_SLEEP
int ml_power_freeze(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;

	if (!ml)	/* a kernel that only dumps another */
		return -EPERM;
	if (ml_blocks_borrowed(&ml->blocks)) {
		dev_err(&vdev->dev, "cannot sleep: %llu blocks are borrowed\n",
			ml_blocks_borrowed(&ml->blocks));
		return -EBUSY;
	}
	ml_device_stop(ml);
	return 0;
}

int ml_power_restore(struct virtio_device *vdev)
{
	return ml_device_start(vdev->priv);
}

static void ml_power_restart(struct work_struct *work)
{
	struct ml_device *ml = container_of(to_delayed_work(work), struct ml_device, restart_work);
	int rc;

	if (ml_blocks_borrowed(&ml->blocks) || READ_ONCE(ml->removing) || READ_ONCE(ml->stopped))
		return;
	/* What the bus does around sleep is what it takes to negotiate anew. */
	rc = virtio_device_freeze(ml->wire.vdev);
	if (!rc)
		rc = virtio_device_restore(ml->wire.vdev);
	if (rc)
		dev_err(&ml->wire.vdev->dev, "restarting the device failed (error %d)\n", rc);
}
#else
static void ml_power_restart(struct work_struct *work)
{
}
#endif

static int ml_power_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_device *ml = container_of(nb, struct ml_device, pm_notifier);
	u64 borrowed;
	bool slept;

	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
	case PM_SUSPEND_PREPARE:
		WRITE_ONCE(ml->sleepy, true);
		ml_turn_hold_growing(&ml->turn, true);
		/* Suspending is worth a try to give all back; who hibernates saves memory that is in use. */
		borrowed = action == PM_SUSPEND_PREPARE && !READ_ONCE(ml->broken) ?
		       ml_shrink_everything(ml->shrink, ML_SUSPEND_MS) : ml_blocks_borrowed(&ml->blocks);
		if (!borrowed)
			break;
		dev_err(&ml->wire.vdev->dev, "%s refused: %llu blocks are borrowed and would be lost; set the target to 0 first\n",
			action == PM_SUSPEND_PREPARE ? "suspend" : "hibernation", borrowed);
		WRITE_ONCE(ml->sleepy, false);
		if (!READ_ONCE(ml->broken))
			ml_grow_start(ml->grow);
		return NOTIFY_BAD;
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
	case PM_POST_SUSPEND:
		slept = READ_ONCE(ml->sleepy);
		WRITE_ONCE(ml->sleepy, false);
		if (slept && !READ_ONCE(ml->broken) && !READ_ONCE(ml->stopped))
			ml_grow_start(ml->grow);
		break;
	}
	return NOTIFY_OK;
}

int ml_power_init(struct ml_device *ml)
{
	ml->pm_notifier.notifier_call = ml_power_notify;
	return register_pm_notifier(&ml->pm_notifier);
}

void ml_power_prepare(struct ml_device *ml)
{
	INIT_DELAYED_WORK(&ml->restart_work, ml_power_restart);
}

void ml_power_exit(struct ml_device *ml)
{
	unregister_pm_notifier(&ml->pm_notifier);
	ml_power_no_restart(ml);
}

void ml_power_no_restart(struct ml_device *ml)
{
	WRITE_ONCE(ml->removing, true);
	cancel_delayed_work_sync(&ml->restart_work);
}
