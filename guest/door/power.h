/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to the device when the machine sleeps, and when the device is to be
 * started anew because the host broke it. Called by main.c and the virtio bus.
 */
#ifndef MEMLEASE_POWER_H
#define MEMLEASE_POWER_H

#include "device.h"

/* Before the device is started: from then on it may be restarted. */
void ml_power_prepare(struct ml_device *ml);

/* Hears of sleep from init to exit. 0 or -errno. */
int ml_power_init(struct ml_device *ml);
void ml_power_exit(struct ml_device *ml);

/* The driver goes: no restart any more, and none under way on return. May be called again. */
void ml_power_no_restart(struct ml_device *ml);

#ifdef CONFIG_PM_SLEEP
/* The virtio driver's; -EBUSY while anything is borrowed, -EPERM in a kernel that dumps. */
int ml_power_freeze(struct virtio_device *vdev);
int ml_power_restore(struct virtio_device *vdev);
#endif

#endif /* MEMLEASE_POWER_H */
