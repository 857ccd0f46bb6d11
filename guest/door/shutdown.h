/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reboot and power-off. Linux resets every virtio device on the way down, while
 * programs and other processors still run on memory of the window: the reset
 * would return that memory, and the next touch of it stop the VM. So from the
 * moment the machine goes down the device is not reset any more. QEMU resets it
 * with the machine; and before a kexec the bus takes the device off the bus.
 */
#ifndef MEMLEASE_SHUTDOWN_H
#define MEMLEASE_SHUTDOWN_H

#include "device.h"

/* 0 or -errno. After it only ml_shutdown_exit() lets a reset through again. */
int ml_shutdown_init(struct ml_device *ml);
void ml_shutdown_exit(struct ml_device *ml);

#endif /* MEMLEASE_SHUTDOWN_H */
