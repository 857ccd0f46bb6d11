// SPDX-License-Identifier: GPL-2.0-or-later
/* Reboot and power-off; see shutdown.h. */
#include <linux/reboot.h>

#include "shutdown.h"

static void ml_shutdown_no_reset(struct virtio_device *vdev)
{
}

/* The machine goes down: its drivers are asked after this. */
static int ml_shutdown_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_device *ml = container_of(nb, struct ml_device, reboot_notifier);
	struct virtio_device *vdev = ml->wire.vdev;

	if (vdev->config != &ml->no_reset_ops) {
		ml->no_reset_ops = *vdev->config;
		ml->no_reset_ops.reset = ml_shutdown_no_reset;
		WRITE_ONCE(vdev->config, &ml->no_reset_ops);
	}
	return NOTIFY_DONE;
}

int ml_shutdown_init(struct ml_device *ml)
{
	ml->reboot_notifier.notifier_call = ml_shutdown_notify;
	return register_reboot_notifier(&ml->reboot_notifier);
}

void ml_shutdown_exit(struct ml_device *ml)
{
	unregister_reboot_notifier(&ml->reboot_notifier);
}
