// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is done to the pool beside lending: moves of blocks, closed areas, memory errors,
 * settling after a crash, and looking at it all; see pool.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "../base/log.h"
#include "area.h"
#include "choose.h"

/* --- moves --- */

uint32_t pool_move_begin(struct pool_user *u, uint32_t from, uint32_t into)
{
	struct pool *p = u->pool;
	struct block_word w = table_word(&p->table, from);
	uint32_t bit, from_area = pool_place(p, u, from, &bit);

	if (w.state != BLOCK_LENT || w.owner.fixed)
		return POOL_NO_BLOCK;
	for (;;) {
		struct pool_area *a = search_move(u, from_area, into, &bit);
		uint64_t seen;

		if (!a)
			return POOL_NO_BLOCK;
		seen = table_raw(&p->table, a->first + bit);
		if (block_state_of(seen) == BLOCK_CLEAN &&
		    table_move(&p->table, u->writer, a->first + bit, seen, BLOCK_MOVING,
			       w.owner) == 0)
			return a->first + bit;
		/* Retired while it was free: its bit went with this. */
	}
}

void pool_move_end(struct pool_user *u, uint32_t from, uint32_t to)
{
	struct table *t = &u->pool->table;
	uint64_t seen = table_raw(t, to);

	/* If it was retired meanwhile, its slot is emptied like that of any other lent block. */
	if (block_state_of(seen) == BLOCK_MOVING)
		table_move(t, u->writer, to, seen, BLOCK_LENT, block_unpack(seen).owner);
	pool_put(u, from);
}

void pool_move_undo(struct pool_user *u, uint32_t to)
{
	pool_put(u, to);
}

/* --- areas --- */

uint32_t pool_area_of(const struct pool *p, uint32_t block)
{
	for (unsigned int i = 0; i < p->span_count; i++) {
		const struct pool_span *s = &p->spans[i];

		if (block - s->range.first < s->range.blocks)
			return (block + s->shift) >> POOL_AREA_ORDER;
	}
	return POOL_NO_AREA;
}

int pool_area_close(struct pool *p, uint32_t area)
{
	uint32_t seen = atomic_load(&p->meta[area]);

	do {
		if (META_USER(seen) || seen & META_CLOSED)
			return -EBUSY;
	} while (!atomic_compare_exchange_weak(&p->meta[area], &seen,
					       (seen + META_CHANGE) | META_CLOSED));
	return 0;
}

void pool_area_open(struct pool *p, uint32_t area)
{
	uint32_t seen = atomic_load(&p->meta[area]);

	while (!atomic_compare_exchange_weak(&p->meta[area], &seen,
					     (seen + META_CHANGE) & ~META_CLOSED))
		;
	search_unused(p, area);
}

uint32_t pool_area_lent(const struct pool *p, uint32_t area, uint32_t *blocks, uint32_t most)
{
	const struct pool_area *a = &p->areas[area];
	const struct pool_range *r = &p->spans[a->span].range;
	uint32_t n = 0;

	for (uint32_t i = 0; i < POOL_AREA_BLOCKS && n < most; i++) {
		struct block_word w;

		if (a->first + i - r->first >= r->blocks)
			continue;
		w = table_word(&p->table, a->first + i);
		if (w.state == BLOCK_LENT && !w.owner.fixed)
			blocks[n++] = a->first + i;
	}
	return n;
}

void pool_whole_areas(const struct pool *p, uint32_t *whole, uint32_t *clean)
{
	*whole = 0;
	*clean = 0;
	for (uint32_t i = 0; i < p->area_count; i++) {
		*whole += area_free(&p->areas[i]) == POOL_AREA_BLOCKS;
		*clean += area_count(p->areas[i].clean) == POOL_AREA_BLOCKS;
	}
}

static void count_area(const struct pool *p, uint32_t area, uint32_t worth,
		       struct pool_census *c)
{
	const struct pool_area *a = &p->areas[area];
	const struct pool_range *r = &p->spans[a->span].range;
	uint32_t meta = atomic_load(&p->meta[area]), blocks = a->blocks;
	uint32_t clean = area_count(a->clean), dirty = area_count(a->dirty);

	*c = (struct pool_census){ .range = (uint8_t)a->span,
				   .fixed = META_KIND(meta) == META_FIXED,
				   .busy = META_USER(meta) || meta & META_CLOSED };
	/* It takes blocks in, but is not emptied: what is in use there need not be looked at. */
	if (blocks > clean + dirty && blocks - clean - dirty > worth) {
		c->blocks = (uint16_t)blocks;
		c->clean = (uint16_t)clean;
		c->dirty = (uint16_t)dirty;
		c->stuck = (uint16_t)(blocks - clean - dirty);
		return;
	}
	for (uint32_t i = 0; i < POOL_AREA_BLOCKS; i++) {
		struct block_word w;

		if (a->first + i - r->first >= r->blocks)
			continue;
		w = table_word(&p->table, a->first + i);
		c->blocks += w.state != BLOCK_RETIRED;
		c->clean += w.state == BLOCK_CLEAN;
		c->dirty += w.state == BLOCK_DIRTY || w.state == BLOCK_ZEROING;
		c->movable += w.state == BLOCK_LENT && !w.owner.fixed;
		c->stuck += (w.state == BLOCK_LENT && w.owner.fixed) || w.state == BLOCK_MOVING;
	}
}

void pool_take_census(const struct pool *p, struct pool_census *census, uint32_t n,
		      uint32_t worth)
{
	for (uint32_t i = 0; i < n && i < p->area_count; i++)
		count_area(p, i, worth, &census[i]);
}

/* --- memory errors --- */

struct block_word pool_retire(struct pool_user *u, uint32_t block)
{
	const struct block_owner none = { 0 };
	struct pool *p = u->pool;
	uint32_t bit, area = pool_place(p, u, block, &bit);
	struct block_word w;
	uint64_t seen;

	do {
		seen = table_raw(&p->table, block);
		w = block_unpack(seen);
		if (w.state == BLOCK_RETIRED)
			return w;
	} while (table_move(&p->table, u->writer, block, seen, BLOCK_RETIRED, none) < 0);
	/* Who has claimed it finds the word; else its bit, if it has one, is taken away. */
	claim_one(p->areas[area].clean, bit);
	claim_one(p->areas[area].dirty, bit);
	atomic_fetch_sub(&p->areas[area].blocks, 1);
	return w;
}

/* --- after a crash --- */

static bool same_owner(struct block_owner a, struct block_owner b)
{
	return a.vm == b.vm && a.region == b.region && a.slot == b.slot;
}

/* Whatever the table says, the slot has it, so it is lent. */
static void adopt(struct pool *p, uint32_t block, struct block_owner owner)
{
	static const enum block_state way[BLOCK_STATES] = {
		[BLOCK_DIRTY] = BLOCK_ZEROING, [BLOCK_ZEROING] = BLOCK_CLEAN,
		[BLOCK_CLEAN] = BLOCK_LENT, [BLOCK_LENT] = BLOCK_DIRTY,
		[BLOCK_OFFERED] = BLOCK_LENT, [BLOCK_MOVING] = BLOCK_LENT,
	};
	struct pool_user *u = pool_self(p);
	uint32_t bit, area = pool_place(p, u, block, &bit);
	struct block_word w;

	claim_one(p->areas[area].clean, bit);
	claim_one(p->areas[area].dirty, bit);
	do {
		w = table_word(&p->table, block);
		table_move(&p->table, u->writer, block, table_raw(&p->table, block), way[w.state],
			   owner);
		w = table_word(&p->table, block);
	} while (w.state != BLOCK_LENT || !same_owner(w.owner, owner));
	search_may_share(p, area, owner.fixed ? POOL_FIXED : POOL_MOVABLE);
}

#define TELL_DAMAGE 16	/* blocks one by one; of a table that was lost all are */

/* False: damage, and so were so many before. */
static bool settle_behind(struct pool *p, uint32_t block, struct block_word w,
			  struct block_owner owner, uint32_t damaged)
{
	bool right = w.state == BLOCK_OFFERED ||
		     ((w.state == BLOCK_LENT || w.state == BLOCK_MOVING) &&
		      same_owner(w.owner, owner));

	if (w.state == BLOCK_RETIRED)
		return true;	/* the caller empties its slot */
	if (!right && damaged < TELL_DAMAGE)
		ml_err("block %u is %s by the table, and stands behind slot %u of VM %u", block,
		       block_state_name(w.state), owner.slot, owner.vm);
	if (w.state != BLOCK_LENT || !right)
		adopt(p, block, owner);
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
