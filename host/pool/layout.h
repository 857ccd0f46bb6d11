/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a pool is laid out: blocks in ranges of physical memory, ranges in areas of a GiB,
 * and struct pool, which holds all of it. Types and numbers only; pool.h says what can be
 * done with a pool.
 */
#ifndef ML_POOL_LAYOUT_H
#define ML_POOL_LAYOUT_H

#include <stdint.h>

#include "table.h"

#define POOL_NO_BLOCK UINT32_MAX
#define POOL_NO_AREA UINT32_MAX
#define POOL_BLOCK_SHIFT 21
#define POOL_AREA_ORDER 9
#define POOL_AREA_BLOCKS (1U << POOL_AREA_ORDER)
#define POOL_USERS_MAX TABLE_WRITERS_MAX
#define POOL_RANGES_MAX 64
#define POOL_ANY_NODE (-1)

/* What may be in one area together. */
enum pool_kind { POOL_MOVABLE, POOL_FIXED, POOL_KINDS };

/* Blocks first up to first + blocks - 1 lie one after the other in physical memory. */
struct pool_range {
	uint32_t first;
	uint32_t blocks;
	uint64_t base;		/* physical address of the first: says where a GiB begins */
	int16_t node;		/* NUMA node, or POOL_ANY_NODE */
	uint8_t tier;		/* 0 is the fastest */
};

struct pool_user;
struct pool_area;
struct pool_span;

struct pool {
	struct table table;
	struct pool_span *spans;	/* one for each range */
	unsigned int span_count;
	struct pool_area *areas;
	uint32_t area_count;
	_Atomic uint32_t *meta;		/* of each area: kind, user, closed */
	_Atomic uint64_t *has_clean;	/* bit per area: it may have CLEAN blocks; and so on */
	_Atomic uint64_t *has_dirty;
	_Atomic uint32_t wish;		/* area to be zeroed first, for a run; or POOL_NO_AREA */
	struct pool_user *users;	/* POOL_USERS_MAX */
};

#endif /* ML_POOL_LAYOUT_H */
