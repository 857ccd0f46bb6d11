/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the driver shows in /sys/bus/virtio/devices/virtioN/memlease/, described
 * in docs/guest.md. Reads what the other parts count; changes nothing but knobs.
 */
#ifndef MEMLEASE_SYSFS_H
#define MEMLEASE_SYSFS_H

#include <linux/sysfs.h>

/* For the driver core, which creates and removes them with the binding. */
extern const struct attribute_group *ml_sysfs_groups[];

#endif /* MEMLEASE_SYSFS_H */
