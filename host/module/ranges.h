/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ranges of physical memory that the pool is made of, and the owner of each of their blocks. */
#ifndef MEMLEASE_POOL_RANGES_H
#define MEMLEASE_POOL_RANGES_H

#include <linux/limits.h>
#include <linux/mm_types.h>

#include "../../proto/memlease_ioctl.h"

#define MLP_BLOCK_BYTES		(1UL << MEMLEASE_POOL_BLOCK_SHIFT)
#define MLP_BLOCK_PAGES		(MLP_BLOCK_BYTES >> PAGE_SHIFT)
#define MLP_NO_BLOCK		U32_MAX

/* Owner of a block: 0 for none, else a window's id and slot, or one of these. */
#define MLP_OWNER(window, slot)	((u64)(window) << 32 | (slot))
#define MLP_OWNER_RETIRED	(~0ULL)
#define MLP_OWNER_MODULE	(~0ULL - 1)	/* our own */

/* Under mlp_lock. Errors as MEMLEASE_POOL_CLAIM and _RANGE have them. */
int mlp_range_claim(struct memlease_pool_range *arg);
int mlp_range_read(struct memlease_pool_range *arg);
/* At unloading. */
void mlp_ranges_release(void);

/* Any context. What is counted here never gets less, and no block goes, until unloading. */
u32 mlp_range_number(void);
u32 mlp_blocks(void);
u32 mlp_block_of_pfn(unsigned long pfn);	/* or MLP_NO_BLOCK */
/* Bytes that are allocated for what is noted of the ranges. */
u64 mlp_ranges_metadata(void);

/* Any context. The block is below mlp_blocks(). */
unsigned long mlp_block_pfn(u32 block);
void *mlp_block_memory(u32 block);
/* Its owner. Changes at any time, unless mlp_rings_lock() is held. */
u64 mlp_block_owner(u32 block);

/* --- changes of an owner, under mlp_rings_lock() --- */

/* From no owner to this one. False: the block has an owner. */
bool mlp_block_own(u32 block, u64 owner);
/* To no owner, unless the block is retired. */
void mlp_block_disown(u32 block);
/* To MLP_OWNER_RETIRED; the owner before. */
u64 mlp_block_retire(u32 block);

/* --- the block that vacant slots show --- */

/* Any context. MLP_NO_BLOCK if there is none, or it broke. */
u32 mlp_zero_block(void);
void mlp_zero_broke(void);

/* --- marks: bits of each block, which a file above here gives their meaning --- */

enum mlp_mark {
	MLP_MARK_ERROR,		/* poison.c: an error was reported */
	MLP_MARK_SHOWN,		/* daemon_view.c: the view may have an entry of it */
	MLP_MARK_LOCK,		/* of mlp_block_lock() */
	MLP_MARKS,
};

/* Any context. Who sees a mark no more sees all that was done before it was cleared. */
void mlp_block_mark(u32 block, enum mlp_mark mark);
void mlp_block_unmark(u32 block, enum mlp_mark mark);
bool mlp_block_marked(u32 block, enum mlp_mark mark);
/* The next block from `from` on that has the mark, or MLP_NO_BLOCK. */
u32 mlp_block_next_marked(u32 from, enum mlp_mark mark);

/*
 * The lock of a block: held while the daemon's view gets or loses entries of it, see locks.h.
 * Its holder may sleep. Who has one may try for others, but waits for none.
 */
void mlp_block_lock(u32 block);
bool mlp_block_trylock(u32 block);
void mlp_block_unlock(u32 block);

#endif /* MEMLEASE_POOL_RANGES_H */
