/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QEMU with an assigned device (VFIO, iommufd, vDPA) lets that device write to its guest's
 * memory without anybody being asked. It would go on writing to a block that the guest gave
 * back, and that is another VM's by then. The QEMU with our device refuses to have both; here
 * is the second look, at who connects, where it may be looked at: of the daemon's own user, and
 * with no rights that the daemon does not have.
 */
#ifndef ML_VHOST_ASSIGNED_H
#define ML_VHOST_ASSIGNED_H

#include <sys/types.h>

#include "../base/why.h"

/* -EPERM, and *why: process pid has such a device open. 0: it has not, or it cannot be seen. */
int assigned_check(pid_t pid, struct ml_why *why);

/* The same of a directory of links to open files, as /proc/PID/fd is. */
int assigned_check_links(int dir, struct ml_why *why);

#endif /* ML_VHOST_ASSIGNED_H */
