// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What compaction does to the pool: moves of blocks, closed areas, and the census of areas
 * by which it chooses; see pool.h.
 */
#include <errno.h>

#include "choose.h"
#include "pool.h"
#include "search.h"

/* --- moves --- */

uint32_t pool_move_begin(struct pool_user *u, uint32_t from, uint32_t into)
{
	struct pool *p = u->pool;
	struct block_word w = table_word(&p->table, from);
	uint32_t bit, from_area = area_place(p, &u->last, from, &bit);

	if (w.state != BLOCK_LENT || w.owner.fixed)
		return POOL_NO_BLOCK;
	for (;;) {
		struct pool_area *a = search_move(u, from_area, into, &bit);
		uint64_t seen;

		if (!a)
			return POOL_NO_BLOCK;
		seen = table_raw(&p->table, a->first + bit);
		if ((block_state_of(seen) == BLOCK_CLEAN || block_state_of(seen) == BLOCK_DIRTY) &&
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
	area_forget_kind(p, area);
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
