// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether the pool agrees with the world, and with itself: settling after a crash by what
 * the backend says of each block, and the validator; see pool.h.
 */
#include <stdlib.h>

#include "../base/log.h"
#include "pool.h"
#include "search.h"

/* --- after a crash --- */

static bool same_owner(struct block_owner a, struct block_owner b)
{
	return a.vm == b.vm && a.region == b.region && a.slot == b.slot;
}

/* Whatever the table says, the slot has it, so it is lent. */
static void make_lent(struct pool *p, uint32_t block, struct block_owner owner)
{
	static const enum block_state way[BLOCK_STATES] = {
		[BLOCK_DIRTY] = BLOCK_ZEROING, [BLOCK_ZEROING] = BLOCK_CLEAN,
		[BLOCK_CLEAN] = BLOCK_LENT, [BLOCK_LENT] = BLOCK_DIRTY,
		[BLOCK_OFFERED] = BLOCK_LENT, [BLOCK_MOVING] = BLOCK_LENT,
	};
	struct pool_user *u = pool_self(p);
	uint32_t bit, area = area_place(p, &u->last, block, &bit);
	struct block_word w;

	claim_one(p->areas[area].clean, bit);
	claim_one(p->areas[area].dirty, bit);
	do {
		w = table_word(&p->table, block);
		table_move(&p->table, u->writer, block, table_raw(&p->table, block), way[w.state],
			   owner);
		w = table_word(&p->table, block);
	} while (w.state != BLOCK_LENT || !same_owner(w.owner, owner));
	area_admit(p, area, owner.fixed ? POOL_FIXED : POOL_MOVABLE);
}

#define TELL_DAMAGE 16	/* blocks one by one; of a table that was lost all are */

/* False: damage, and so were so many before. */
static bool settle_behind(struct pool *p, uint32_t block, struct block_word w,
			  struct block_owner owner, uint32_t damaged)
{
	bool lent = w.state == BLOCK_LENT || w.state == BLOCK_MOVING;
	bool right = w.state == BLOCK_OFFERED || (lent && same_owner(w.owner, owner));

	if (w.state == BLOCK_RETIRED)
		return true;	/* the caller empties its slot */
	/* The table knew it as a VM's, and nobody knows that VM any more: no damage of the table. */
	if (lent && !right && owner.slot == TABLE_SLOT_FOREIGN) {
		make_lent(p, block, owner);
		return true;
	}
	if (!right && damaged < TELL_DAMAGE)
		ml_err("block %u is %s by the table, and stands behind slot %u of VM %u", block,
		       block_state_name(w.state), owner.slot, owner.vm);
	if (w.state != BLOCK_LENT || !right)
		make_lent(p, block, owner);
	return right;
}

/* False: damage. What the module would hand out must be clean, so it is not believed. */
static bool settle_in_ring(struct pool *p, uint32_t block, struct block_word w)
{
	if (w.state == BLOCK_OFFERED || w.state == BLOCK_RETIRED)
		return true;
	ml_err("block %u is %s by the table, and offered to the module: it is used no more", block,
	       block_state_name(w.state));
	pool_retire(pool_self(p), block);
	return false;
}

uint32_t pool_settle(struct pool *p,
		     enum pool_truth (*truth)(void *ctx, uint32_t block, struct block_owner *owner),
		     void *ctx)
{
	uint32_t damaged = 0;

	for (uint32_t b = 0; b < p->table.blocks; b++) {
		struct block_word w = table_word(&p->table, b);
		struct block_owner owner = { 0 };

		switch (truth(ctx, b, &owner)) {
		case POOL_BEHIND:
			damaged += !settle_behind(p, b, w, owner, damaged);
			break;
		case POOL_IN_RING:
			damaged += !settle_in_ring(p, b, w);
			break;
		case POOL_NOWHERE:
			if (w.state == BLOCK_LENT || w.state == BLOCK_OFFERED ||
			    w.state == BLOCK_MOVING)
				pool_put(pool_self(p), b);
		}
	}
	return damaged;
}

/* --- checking --- */

static void check_bit(const struct pool *p, uint32_t block, const char *which, bool set,
		      enum block_state state)
{
	struct block_word w = table_word(&p->table, block);

	if (set == (w.state == state))
		return;
	ml_err("pool: block %u is %s, and %s on the bitmap of %s ones", block,
	       block_state_name(w.state), set ? "stands" : "does not stand", which);
	abort();
}

static void check_area(const struct pool *p, uint32_t area)
{
	const struct pool_area *a = &p->areas[area];
	const struct pool_range *r = &p->spans[a->span].range;
	uint32_t blocks = 0;

	for (uint32_t i = 0; i < POOL_AREA_BLOCKS; i++) {
		bool clean = load_bits(&a->clean[i >> 6]) >> (i & 63) & 1;
		bool dirty = load_bits(&a->dirty[i >> 6]) >> (i & 63) & 1;

		if (a->first + i - r->first >= r->blocks) {
			if (clean || dirty) {
				ml_err("pool: area %u has a block beyond its range", area);
				abort();
			}
			continue;
		}
		check_bit(p, a->first + i, "clean", clean, BLOCK_CLEAN);
		check_bit(p, a->first + i, "dirty", dirty, BLOCK_DIRTY);
		blocks += table_word(&p->table, a->first + i).state != BLOCK_RETIRED;
	}
	if (blocks != a->blocks || (area_count(a->clean) && !(p->has_clean[area >> 6] >> (area & 63) & 1)) ||
	    (area_count(a->dirty) && !(p->has_dirty[area >> 6] >> (area & 63) & 1))) {
		ml_err("pool: area %u has %u blocks and counts %u, or is not found by the indices",
		       area, blocks, a->blocks);
		abort();
	}
}

void pool_validate(const struct pool *p)
{
	table_validate(&p->table);
	for (uint32_t i = 0; i < p->area_count; i++)
		check_area(p, i);
}
