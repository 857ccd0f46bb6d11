/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend `reserved`: physical memory that Linux does not manage, kept and
 * mapped by memlease_pool.ko. proto/memlease_ioctl.h says what the module does;
 * this is the daemon's end of it.
 *
 * Opened by daemon/ while it may still do what root may; used by lend/ through
 * backend.h.
 */
#ifndef ML_POOL_RESERVED_H
#define ML_POOL_RESERVED_H

#include "backend.h"
#include "reserved_device.h"
#include "reserved_setup.h"

/*
 * Take the device over, in every case, claim what is wanted and not claimed yet, and find
 * what a predecessor has left. Logs what is wrong. -EPROTO: the module is of another
 * version; -EINVAL, -EEXIST, -EBUSY, -ENOSPC: a range cannot be claimed.
 */
int backend_reserved_open(struct backend **out, const struct reserved_setup *setup,
			  struct reserved_device *device);

#endif /* ML_POOL_RESERVED_H */
