/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's ends of the two rings that it shares with the module: blocks of the supply go
 * in, records of touches come out. proto/memlease_ioctl.h says what is in them.
 */
#ifndef ML_POOL_RESERVED_RING_H
#define ML_POOL_RESERVED_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "reserved_device.h"

struct reserved_ring {
	struct memlease_rings *rings;
	struct reserved_device *device;
	bool holding;			/* the record at the tail has been handed out */
	uint64_t overflow_seen;
};

void reserved_ring_init(struct reserved_ring *r, struct reserved_device *device);
/* 1: a record, which stays until the next call; 0: none; -EOVERFLOW: once for all that were lost. */
int reserved_ring_next(struct reserved_ring *r, struct memlease_touch *out);
/* Blocks in the supply now. */
uint32_t reserved_ring_level(const struct reserved_ring *r);
/* Put n zeroed blocks in, and wake tasks that wait. -ENOSPC: no room for all, and none went in. */
int reserved_ring_put(struct reserved_ring *r, const uint32_t *blocks, uint32_t n);
/* Take up to n blocks out that the module has not taken, the last ones; how many. */
uint32_t reserved_ring_take_back(struct reserved_ring *r, uint32_t *blocks, uint32_t n);
/* The blocks that a predecessor left, up to n; how many. They stay in. */
uint32_t reserved_ring_read(struct reserved_ring *r, uint32_t *blocks, uint32_t n);

#endif /* ML_POOL_RESERVED_RING_H */
