/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool: an allocator for blocks and aligned runs of them up to 1 GiB, over the
 * block table. What is free is found in bitmaps that are rebuilt from the table at
 * start and never stored.
 *
 * The theory. Blocks are grouped in *areas* of 512, one physical GiB each. An area
 * has two bitmaps of a cache line: its CLEAN blocks and its DIRTY ones. A user that
 * clears a bit owns that block until it sets one again; so a block is claimed by one
 * atomic operation on the bitmap, and its word in the table follows:
 *
 *   get	clears the bit, then CLEAN -> LENT
 *   put	LENT -> DIRTY (or CLEAN), then sets the bit
 *
 * A crash in between leaves a word that says what is true. An area holds loans of
 * one kind: movable ones, or fixed ones; an unused area is of no kind. Each thread
 * is a *user*, which reserves an area for each kind that it asks for, so that users
 * meet only when memory runs short; and begins to look at a place of its own, so that
 * it finds again what it has put back. A new area is sought in this order, in the
 * user's order of ranges (NUMA node and tier): partly used and of the same kind;
 * unused but not whole (at a range's edge, or with retired blocks); whole; of the
 * same kind and another user's; and when there is none in any range, of the other
 * kind. So whole GiBs stay whole for callers that need one.
 *
 * Nothing here locks; a user that is stopped at any instruction holds up nobody.
 * Each user is called by one thread at a time. The daemon's own thread uses
 * pool_self().
 *
 * Called by lend/, by the zeroing workers and by backends.
 */
#ifndef ML_POOL_POOL_H
#define ML_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

#define POOL_TABLE_FILE "blocks"	/* the block table's name in its directory */

struct pool_setup {
	int dirfd;		/* where the table's file is */
	uint32_t blocks;	/* of all ranges */
	bool zeroed_on_map;	/* the backend zeroes what it maps: nothing is DIRTY for long */
	const char *boot_id;
	/* In the order of their blocks, without gaps. NULL: all blocks are one range. */
	const struct pool_range *ranges;
	unsigned int range_count;
};

/*
 * As table_open(), and one pass over the table that rebuilds all that is volatile:
 * ZEROING becomes DIRTY, and DIRTY becomes CLEAN where the backend zeroes what it maps.
 * Before anything is lent, the caller settles what is LENT, OFFERED and MOVING: by
 * pool_settle(), or in its own way if no blocks are ever offered or moved.
 * -EINVAL: ranges with gaps, or more of them than POOL_RANGES_MAX.
 */
int pool_open(struct pool *p, const struct pool_setup *setup, bool *old_boot, uint32_t *need);
/* All users have left. */
void pool_close(struct pool *p);

/* The user of the thread that opened the pool; it prefers node POOL_ANY_NODE. */
struct pool_user *pool_self(struct pool *p);
/*
 * Another thread comes, and leaves. Its order of ranges: by tier, then its node's
 * first. NULL: POOL_USERS_MAX are there.
 */
struct pool_user *pool_join(struct pool *p, int node);
void pool_leave(struct pool_user *u);
/* An order of its own, by index into setup->ranges; ranges not named are not used. */
void pool_prefer(struct pool_user *u, const uint8_t *ranges, unsigned int count);
/* Give the reserved areas back: for users that pause, and before compaction. */
void pool_rest(struct pool_user *u);

/* --- lending --- */

/* CLEAN to LENT: the block, or POOL_NO_BLOCK if none is clean. */
uint32_t pool_get(struct pool_user *u, struct block_owner owner);
/*
 * 2^order blocks, aligned to their size in physical memory, for as many slots from
 * owner.slot on; order up to POOL_AREA_ORDER. All of them or POOL_NO_BLOCK; then, if
 * there is one that has only to be zeroed, the zeroing workers are sent there first.
 */
uint32_t pool_get_run(struct pool_user *u, struct block_owner owner, unsigned int order);
/*
 * LENT, OFFERED or MOVING to DIRTY, or to CLEAN where the backend zeroes. The block
 * must be mapped nowhere. Does nothing to a block that was retired meanwhile.
 */
void pool_put(struct pool_user *u, uint32_t block);

/* --- supplying the module --- */

/* CLEAN to OFFERED, up to `most` of them; how many. All of the movable kind. */
uint32_t pool_offer(struct pool_user *u, uint32_t *blocks, uint32_t most);
/* OFFERED to LENT: the module put it behind a slot. -EAGAIN: it is not OFFERED. */
int pool_taken(struct pool_user *u, uint32_t block, struct block_owner owner);
/* OFFERED to CLEAN: out of the ring again, and seen by nobody. */
void pool_unoffer(struct pool_user *u, uint32_t block);

/* --- zeroing --- */

/*
 * DIRTY to ZEROING, up to `most` of them, adjacent ones where possible; how many.
 * First those of an area that a run was asked for from, then those of areas in use.
 */
uint32_t pool_take_dirty(struct pool_user *u, uint32_t *blocks, uint32_t most);
/* ZEROING to CLEAN: it holds nothing but zeros, for everybody to see. */
void pool_clean(struct pool_user *u, uint32_t block);
/* ZEROING to DIRTY: given up half way. */
void pool_undo_dirty(struct pool_user *u, uint32_t block);

/* --- memory errors --- */

/* Any state to RETIRED. Returns the word before, by whose owner the caller empties a slot. */
struct block_word pool_retire(struct pool_user *u, uint32_t block);

/* --- moving --- */

/*
 * A move frees the block `from`, LENT to a slot, by putting another in its place:
 *
 *   1. pool_move_begin	`to` is MOVING(owner of from); `from` stays LENT
 *   2. the backend copies the contents and exchanges what is behind the slot
 *   3. pool_move_end	`to` becomes LENT, then `from` becomes DIRTY
 *
 * After a crash at any instant the slot says which of both stands behind it; that
 * one is LENT and the other DIRTY: pool_settle() sees to it, without having to know
 * how far the move had come. Both LENT to one slot is seen after a crash only.
 */

/*
 * The block `to`: free, DIRTY ones first, for the move fills all of it; from area `into` if it
 * has one, else from any that is in use, of the movable kind and not closed; or
 * POOL_NO_BLOCK. `from` must be LENT and not fixed.
 */
uint32_t pool_move_begin(struct pool_user *u, uint32_t from, uint32_t into);
void pool_move_end(struct pool_user *u, uint32_t from, uint32_t to);
/* The slot has `from` still: MOVING to DIRTY. */
void pool_move_undo(struct pool_user *u, uint32_t to);

/*
 * Nothing is taken from a closed area any more. -EBUSY: a user has reserved it, or it
 * is closed. An area that is unused when it is opened again is of no kind.
 */
int pool_area_close(struct pool *p, uint32_t area);
void pool_area_open(struct pool *p, uint32_t area);
/* Its LENT blocks that are not fixed, up to `most`; how many. */
uint32_t pool_area_lent(const struct pool *p, uint32_t area, uint32_t *blocks, uint32_t most);
uint32_t pool_area_of(const struct pool *p, uint32_t block);

/* --- after a crash, where memory outlives the daemon --- */

enum pool_truth {
	POOL_NOWHERE,		/* neither behind a slot nor in the ring */
	POOL_IN_RING,
	POOL_BEHIND,		/* a slot: *owner says which */
};

/*
 * One pass: every block that is LENT, OFFERED or MOVING becomes what `truth` says of
 * it: LENT to the slot it stands behind, OFFERED in the ring, else DIRTY. A block that
 * the table has as free and that stands behind a slot all the same can only come of
 * damage, or of a table that was lost: the first ones are logged, all are counted in the
 * result; a new owner's memory is not at risk for it is made LENT. Called before anything
 * is lent; nobody else uses the pool.
 */
uint32_t pool_settle(struct pool *p,
		     enum pool_truth (*truth)(void *ctx, uint32_t block, struct block_owner *owner),
		     void *ctx);

/* --- looking --- */

static inline uint32_t pool_free_blocks(const struct pool *p)
{
	return table_count(&p->table, BLOCK_CLEAN);
}

/* GiBs of which every block is free, and those of them that are clean. */
void pool_whole_areas(const struct pool *p, uint32_t *whole, uint32_t *clean);

struct pool_census;
/*
 * One entry for each area (choose.h); n is p->area_count. Of about now. Where more than
 * `worth` blocks are in use all of them count as stuck, and are not looked at one by one.
 */
void pool_take_census(const struct pool *p, struct pool_census *census, uint32_t n,
		      uint32_t worth);

/* Table and bitmaps agree; aborts with a message otherwise. Nobody uses the pool meanwhile. */
void pool_validate(const struct pool *p);

#endif /* ML_POOL_POOL_H */
