/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend `reserved` itself, and the module's windows as it knows them. Included by
 * reserved.c and reserved_window.c only.
 */
#ifndef ML_POOL_RESERVED_INNER_H
#define ML_POOL_RESERVED_INNER_H

#include "backend.h"
#include "reserved_device.h"
#include "reserved_ring.h"
#include "reserved_setup.h"

#define BLOCK (1ULL << MEMLEASE_POOL_BLOCK_SHIFT)

struct reserved_window {
	uint32_t id;
	uint32_t slots;
	char name[MEMLEASE_POOL_NAME_BYTES];
	struct backend_region *region;	/* opened as, or NULL */
	bool condemned;			/* to go, as soon as nobody has it open */
};

struct reserved {
	struct backend base;
	struct reserved_device *device;
	struct reserved_setup setup;
	struct reserved_ring ring;
	struct reserved_window *windows;	/* by ascending id */
	uint32_t window_count;
	char title[64];
};

static inline struct reserved *reserved_of(struct backend *b)
{
	return (struct reserved *)b;
}

static inline int reserved_call(struct reserved *r, unsigned long request, void *arg)
{
	return r->device->ioctl(r->device, request, arg);
}

/*
 * Windows move in their list as others come and go, so a region knows its window
 * by the number.
 */
static inline uint32_t reserved_id(const struct backend_region *region)
{
	return (uint32_t)(uintptr_t)region->priv;
}

#endif /* ML_POOL_RESERVED_INNER_H */
