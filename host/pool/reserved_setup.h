/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the operator wants of the backend `reserved`: ranges, and the owner of its windows.
 */
#ifndef ML_POOL_RESERVED_SETUP_H
#define ML_POOL_RESERVED_SETUP_H

#include <sys/types.h>

#include "../base/clock.h"
#include "backend.h"

/* A range that the pool shall have. */
struct reserved_want {
	uint64_t base, bytes;	/* physical; multiples of 2 MiB */
	int node;		/* NUMA node by the device tree; -1: the module asks Linux */
	uint32_t tier;
};

struct reserved_setup {
	struct reserved_want want[BACKEND_RANGES_MAX];
	unsigned int wants;
	/* Of the devices that QEMU opens. */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	const struct ml_clock *clock;
};


#endif /* ML_POOL_RESERVED_SETUP_H */
