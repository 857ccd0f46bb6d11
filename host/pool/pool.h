/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool: which blocks are free, over the block table. Finding one takes
 * constant time, from a stack of free blocks that is rebuilt from the table at
 * start and never stored. Called by lend/ only, from one thread.
 */
#ifndef ML_POOL_POOL_H
#define ML_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "table.h"

#define POOL_NO_BLOCK UINT32_MAX

struct pool {
	struct table table;
	uint32_t *stack;	/* free (CLEAN) blocks */
	uint32_t free;
	bool zeroed_on_map;	/* the backend zeroes what it maps: DIRTY is as good as CLEAN */
};

/* As table_open(); blocks found DIRTY or ZEROING become CLEAN where the backend zeroes. */
int pool_open(struct pool *p, int dirfd, uint32_t blocks, bool zeroed_on_map,
	      const char *boot_id, bool *old_boot, uint32_t *need);
void pool_close(struct pool *p);

/* CLEAN to LENT: the block, or POOL_NO_BLOCK if none is free. */
uint32_t pool_get(struct pool *p, uint16_t vm, uint8_t region, uint32_t slot);
/* LENT to free. The block must be mapped nowhere. */
void pool_put(struct pool *p, uint32_t block);

static inline uint32_t pool_free_blocks(const struct pool *p)
{
	return p->free;
}

/* Table and stack agree; aborts with a message otherwise. */
void pool_validate(const struct pool *p);

#endif /* ML_POOL_POOL_H */
