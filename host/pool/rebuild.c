// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is volatile of a pool, made anew from the table in one pass over its words: bitmaps,
 * kinds of areas, counts. Called once, by pool_open().
 */
#include "rebuild.h"

#include <errno.h>

#include "area.h"

/* A word that cannot stay as a crash left it. Its new state. */
static __attribute__((noinline)) enum block_state mend_word(struct pool *p, uint32_t block,
							    enum block_state state)
{
	const struct block_owner none = { 0 };
	struct table *t = &p->table;

	if (state == BLOCK_ZEROING) {
		table_move(t, 0, block, table_raw(t, block), BLOCK_DIRTY, none);
		state = BLOCK_DIRTY;
	}
	if (!t->zeroed_on_map)
		return state;
	table_move(t, 0, block, table_raw(t, block), BLOCK_CLEAN, none);
	return BLOCK_CLEAN;
}

/* Blocks of an area by state: what of it the recovery wants to know. */
struct area_counts {
	uint32_t count[BLOCK_STATES + 1];	/* the last: of no known state */
	uint32_t fixed;				/* of those that are LENT */
};

/* One bit for each of 64 words, from their state bits, the lowest first. */
static uint64_t of_state(const uint64_t bits[3], unsigned int state)
{
	return (state & 1 ? bits[0] : ~bits[0]) & (state & 2 ? bits[1] : ~bits[1]) &
	       (state & 4 ? bits[2] : ~bits[2]);
}

/* The words among `which` are of a state that cannot stay. */
static void mend_words(struct pool *p, uint32_t block, uint64_t which, enum block_state state,
		       uint64_t of[BLOCK_STATES + 1])
{
	of[state] &= ~which;
	for (; which; which &= which - 1)
		of[mend_word(p, block + (uint32_t)__builtin_ctzll(which), state)] |= which & -which;
}

/* 64 words, of which those from first up to end - 1 are blocks of the range. */
static void load_word(struct pool *p, struct pool_area *a, uint32_t word, uint32_t first,
		      uint32_t end, struct area_counts *f)
{
	uint32_t block = a->first + word * 64;
	uint64_t bits[3] = { 0 }, fixed = 0, there = 0, of[BLOCK_STATES + 1];

	/* No branches in here: this loop is nearly all that recovery takes. */
	for (uint32_t k = first; k < end; k++) {
		uint64_t raw = load_bits(&p->table.words[block + k]);

		bits[0] |= (raw & 1) << k;
		bits[1] |= (raw >> 1 & 1) << k;
		bits[2] |= (raw >> 2 & 1) << k;
		fixed |= (raw >> TABLE_FIXED_SHIFT & 1) << k;
		there |= 1ULL << k;
	}
	for (unsigned int s = 0; s <= BLOCK_STATES; s++)
		of[s] = of_state(bits, s) & there;
	mend_words(p, block, of[BLOCK_ZEROING], BLOCK_ZEROING, of);
	if (p->table.zeroed_on_map)
		mend_words(p, block, of[BLOCK_DIRTY], BLOCK_DIRTY, of);
	for (unsigned int s = 0; s <= BLOCK_STATES; s++)
		f->count[s] += (uint32_t)__builtin_popcountll(of[s]);
	f->fixed += (uint32_t)__builtin_popcountll(of[BLOCK_LENT] & fixed);
	atomic_store_explicit(&a->clean[word], of[BLOCK_CLEAN], memory_order_relaxed);
	atomic_store_explicit(&a->dirty[word], of[BLOCK_DIRTY], memory_order_relaxed);
}

static uint32_t clamp(uint32_t n, uint32_t least, uint32_t most)
{
	return n < least ? least : n > most ? most : n;
}

/* Words of one area become its bitmaps and its kind. */
static bool load_area(struct pool *p, const struct pool_span *s, uint32_t area,
		      uint32_t count[BLOCK_STATES])
{
	/* The range's first block, and the one after its last, as places. */
	uint64_t begin = (uint64_t)s->range.first + s->shift, end = begin + s->range.blocks;
	uint64_t at = (uint64_t)area << POOL_AREA_ORDER;
	struct pool_area *a = &p->areas[area];
	struct area_counts f = { 0 };
	uint32_t lo, hi;

	lo = begin > at ? (uint32_t)(begin - at) : 0;
	hi = end - at > POOL_AREA_BLOCKS ? POOL_AREA_BLOCKS : (uint32_t)(end - at);
	for (uint32_t i = 0; i < AREA_WORDS; i++) {
		uint32_t first = clamp(lo, i * 64, i * 64 + 64) - i * 64;

		load_word(p, a, i, first, clamp(hi, i * 64 + first, i * 64 + 64) - i * 64, &f);
	}
	if (f.count[BLOCK_STATES])
		return false;
	for (int i = 0; i < BLOCK_STATES; i++)
		count[i] += f.count[i];
	if (f.count[BLOCK_CLEAN])
		index_set(p->has_clean, area);
	if (f.count[BLOCK_DIRTY])
		index_set(p->has_dirty, area);
	atomic_store_explicit(&a->blocks, hi - lo - f.count[BLOCK_RETIRED], memory_order_relaxed);
	atomic_store_explicit(&p->meta[area],
			      f.fixed ? META_FIXED :
			      f.count[BLOCK_LENT] + f.count[BLOCK_OFFERED] + f.count[BLOCK_MOVING] ?
			      META_MOVABLE : META_UNUSED, memory_order_relaxed);
	return true;
}

int rebuild_areas(struct pool *p)
{
	uint32_t count[BLOCK_STATES] = { 0 };

	for (unsigned int i = 0; i < p->span_count; i++) {
		const struct pool_span *s = &p->spans[i];

		for (uint32_t k = 0; k < s->areas; k++) {
			struct pool_area *a = &p->areas[s->first_area + k];

			a->first = ((s->first_area + k) << POOL_AREA_ORDER) - s->shift;
			a->span = i;
			if (!load_area(p, s, s->first_area + k, count))
				return -EUCLEAN;
		}
	}
	table_set_counts(&p->table, count);
	return 0;
}
