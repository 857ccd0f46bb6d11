/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the backend `reserved` share: the backend itself, and the module's
 * windows as it knows them. Included by reserved.c and reserved_window.c only.
 */
#ifndef ML_POOL_RESERVED_INNER_H
#define ML_POOL_RESERVED_INNER_H

#include "reserved.h"

#define BLOCK (1ULL << MEMLEASE_POOL_BLOCK_SHIFT)

struct window {
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
	struct window *windows;		/* by ascending id */
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

/* reserved_window.c: backend_ops' functions for regions, and finding one's window. */
struct window *reserved_window(struct reserved *r, uint32_t id);
int reserved_read_windows(struct reserved *r);
int reserved_create(struct backend *b, const char *name, uint64_t blocks);
int reserved_open(struct backend *b, const char *name, uint64_t blocks,
		  struct backend_region *region);
void reserved_close(struct backend_region *region);
int reserved_remove(struct backend *b, const char *name);
int reserved_open_memory(struct backend_region *region);
void reserved_tick(struct backend *b);
void reserved_sweep(struct backend *b);

#endif /* ML_POOL_RESERVED_INNER_H */
