// SPDX-License-Identifier: GPL-2.0-or-later
/* Reboot and power-off; see shutdown.h. */
#include <linux/reboot.h>

#include "memlease.h"

static void ml_shutdown_no_reset(struct virtio_device *vdev)
{
}

/* The machine goes down: its drivers are asked after this. */
static int ml_shutdown_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_shutdown *s = container_of(nb, struct ml_shutdown, notifier);
	struct ml_device *ml = container_of(s, struct ml_device, shutdown);

	if (ml->vdev->config != &s->ops) {
		s->ops = *ml->vdev->config;
		s->ops.reset = ml_shutdown_no_reset;
		WRITE_ONCE(ml->vdev->config, &s->ops);
	}
	return NOTIFY_DONE;
}

int ml_shutdown_init(struct ml_device *ml)
{
	ml->shutdown.notifier.notifier_call = ml_shutdown_notify;
	return register_reboot_notifier(&ml->shutdown.notifier);
}

void ml_shutdown_exit(struct ml_device *ml)
{
	unregister_reboot_notifier(&ml->shutdown.notifier);
}
