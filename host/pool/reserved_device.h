/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module's control device, as the backend `reserved` sees it. Tests put a device of their
 * own in its place.
 */
#ifndef ML_POOL_RESERVED_DEVICE_H
#define ML_POOL_RESERVED_DEVICE_H

#include <stdint.h>

#include "../../proto/memlease_ioctl.h"

/* The module, or what stands for it. All functions return 0 or -errno. */
struct reserved_device {
	int fd;				/* to poll, or -1 */
	struct memlease_rings *rings;
	const char *windows;		/* where the windows' devices are, with its '/' */
	int (*ioctl)(struct reserved_device *d, unsigned long request, void *arg);
	/* The pool, so many bytes of it; NULL: it cannot be mapped. */
	void *(*map_pool)(struct reserved_device *d, uint64_t bytes);
	void (*close)(struct reserved_device *d);
};

/*
 * The module's control device. Logs what is wrong with it. -ENOENT: the module is not
 * loaded; -EBUSY: another daemon has it; -EPERM, -EACCES: not root.
 */
int reserved_device_open(struct reserved_device **out);

#endif /* ML_POOL_RESERVED_DEVICE_H */
