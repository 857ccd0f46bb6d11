// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which area to take blocks from next; see pool.h for the order and area.h for what an
 * area's meta word says. Called when a user's reserve is used up, once in hundreds of
 * blocks where there is room, so that here a scan is cheap enough.
 *
 * Kinds and reserves group and spread; that no block is owned twice does not depend
 * on them. Where two users race for an area, one of them looks again.
 */
#include "search.h"

#define LOOKS 8		/* areas of each sort that are weighed against each other */
#define HANDFUL 8	/* fewer clean blocks are not worth a change of area */
#define SPARE_WHOLE 2	/* the last whole GiBs are not opened where a reserve can be shared */

/* From the best on. */
enum sort {
	SORT_SAME,		/* partly used, of this kind, nobody's reserve */
	SORT_EDGE,		/* unused, but not whole */
	SORT_WHOLE,
	SORT_SHARED,		/* of this kind, and another's reserve */
	SORT_OTHER,		/* of the other kind */
	SORT_OTHER_SHARED,
	SORTS,
};

struct best {
	uint32_t area[SORTS];
	uint32_t score[SORTS];	/* the least is the best */
	uint32_t looks[SORTS];
};

void search_leave(struct pool_user *u, enum pool_kind kind)
{
	struct pool_reserve *r = &u->from[kind];
	struct pool *p = u->pool;
	uint32_t seen;

	if (!r->area)
		return;
	r->area = NULL;
	if (r->shared)
		return;
	do {
		seen = area_meta(p, r->index);
	} while (!area_change_meta(p, r->index, seen, META_KIND(seen), 0, seen & META_CLOSED));
	area_forget_kind(p, r->index);
}

static enum sort sort_of(const struct pool *p, uint32_t area, uint32_t meta, enum pool_kind kind)
{
	if (META_KIND(meta) == META_UNUSED && !META_USER(meta))
		return p->areas[area].blocks == POOL_AREA_BLOCKS ? SORT_WHOLE : SORT_EDGE;
	if (META_KIND(meta) == (uint32_t)kind + 1)
		return META_USER(meta) ? SORT_SHARED : SORT_SAME;
	return META_USER(meta) ? SORT_OTHER_SHARED : SORT_OTHER;
}

/* The area that is set in the index at or after `area`, before `end`; or `end`. */
static uint32_t next_set(const _Atomic uint64_t *index, uint32_t area, uint32_t end)
{
	while (area < end) {
		uint64_t bits = atomic_load(&index[area >> 6]) >> (area & 63);

		if (bits) {
			area += (uint32_t)__builtin_ctzll(bits);
			return area < end ? area : end;
		}
		area = (area | 63) + 1;
	}
	return end;
}

/* Weigh one area. True: enough of the best sort have been seen. */
static bool look_at(struct pool *p, uint32_t area, enum pool_kind kind, struct best *best)
{
	uint32_t meta = area_meta(p, area), clean, score;
	enum sort sort = sort_of(p, area, meta, kind);

	if (meta & META_CLOSED)
		return false;
	if (best->looks[sort] >= LOOKS)
		return false;
	clean = area_count(p->areas[area].clean);
	if (!clean) {
		index_clear(p->has_clean, area, p->areas[area].clean);
		return false;
	}
	/* Its last blocks came back clean and dirty in turn, so that nobody noticed. */
	if ((sort == SORT_SAME || sort == SORT_OTHER) && area_unused(&p->areas[area])) {
		area_forget_kind(p, area);
		sort = sort_of(p, area, area_meta(p, area), kind);
	}
	/* What is nearly used up is filled first, so that others empty. */
	score = clean >= HANDFUL ? clean : 2 * POOL_AREA_BLOCKS - clean;
	if (!best->looks[sort]++ || score < best->score[sort]) {
		best->area[sort] = area;
		best->score[sort] = score;
	}
	return sort == SORT_SAME && best->looks[sort] == LOOKS;
}

/*
 * Where a user looks first in a range: always at the same place, another for each. So it
 * finds what it has put back, which its CPU's cache has still and no other's; and lent blocks
 * gather there.
 */
static uint32_t home_in(const struct pool_user *u, const struct pool_span *s)
{
	return s->first_area + (uint32_t)((uint64_t)s->areas * u->home / POOL_USERS_MAX);
}

static void look_around(struct pool_user *u, const struct pool_span *s, enum pool_kind kind,
			struct best *best)
{
	uint32_t first = s->first_area, end = first + s->areas, home = home_in(u, s);
	struct pool *p = u->pool;

	for (uint32_t a = next_set(p->has_clean, home, end); a < end;
	     a = next_set(p->has_clean, a + 1, end)) {
		if (look_at(p, a, kind, best))
			return;
	}
	for (uint32_t a = next_set(p->has_clean, first, home); a < home;
	     a = next_set(p->has_clean, a + 1, home)) {
		if (look_at(p, a, kind, best))
			return;
	}
}

/* Take the area as a reserve, or to share it. False: it has changed meanwhile. */
static bool settle_on(struct pool_user *u, enum pool_kind kind, uint32_t area, bool share)
{
	struct pool_reserve *r = &u->from[kind];
	struct pool *p = u->pool;
	uint32_t seen = area_meta(p, area);

	if (share) {
		if (!area_admit(p, area, kind))
			return false;
	} else if (seen & META_CLOSED || META_USER(seen) ||
		   !area_change_meta(p, area, seen, area_kind_with(META_KIND(seen), kind), u->writer + 1,
				false)) {
		return false;
	}
	*r = (struct pool_reserve){ .area = &p->areas[area], .index = area, .shared = share };
	return true;
}

/* The best of the sorts that do not mix kinds. */
static enum sort choose(const struct best *best)
{
	if (best->looks[SORT_SAME])
		return SORT_SAME;
	if (best->looks[SORT_EDGE])
		return SORT_EDGE;
	if (best->looks[SORT_WHOLE] > SPARE_WHOLE)
		return SORT_WHOLE;
	if (best->looks[SORT_SHARED])
		return SORT_SHARED;
	return best->looks[SORT_WHOLE] ? SORT_WHOLE : SORTS;
}

bool search_area(struct pool_user *u, enum pool_kind kind)
{
	struct pool *p = u->pool;

	search_leave(u, kind);
	for (;;) {
		struct best other = { 0 };
		bool again = false;

		for (unsigned int i = 0; i < u->order_count && !again; i++) {
			struct best best = { 0 };
			enum sort sort;

			look_around(u, &p->spans[u->order[i]], kind, &best);
			sort = choose(&best);
			if (sort < SORTS &&
			    settle_on(u, kind, best.area[sort], sort == SORT_SHARED))
				return true;
			again = sort < SORTS;
			for (sort = SORT_OTHER; sort < SORTS; sort++) {
				if (best.looks[sort] && !other.looks[sort]) {
					other.looks[sort] = 1;
					other.area[sort] = best.area[sort];
				}
			}
		}
		if (again)
			continue;
		for (enum sort sort = SORT_OTHER; sort < SORTS; sort++) {
			if (other.looks[sort]) {
				if (settle_on(u, kind, other.area[sort],
					      sort == SORT_OTHER_SHARED))
					return true;
				again = true;
			}
		}
		if (!again)
			return false;
	}
}

/* --- runs --- */

static bool run_in(struct pool *p, uint32_t area, enum pool_kind kind, unsigned int order,
		   uint32_t *bit)
{
	*bit = area_claim_run(p, area, order);
	if (*bit == AREA_NO_BIT)
		return false;
	if (area_admit(p, area, kind))
		return true;
	for (uint32_t i = 0; i < 1U << order; i++)
		area_give_clean(p, area, *bit + i);
	return false;
}

static struct pool_area *run_of_sort(struct pool_user *u, const struct pool_span *s,
				     enum sort sort, enum pool_kind kind, unsigned int order,
				     uint32_t *bit)
{
	uint32_t end = s->first_area + s->areas;
	struct pool *p = u->pool;

	for (uint32_t a = next_set(p->has_clean, s->first_area, end); a < end;
	     a = next_set(p->has_clean, a + 1, end)) {
		uint32_t meta = area_meta(p, a);

		if (!(meta & META_CLOSED) && sort_of(p, a, meta, kind) == sort &&
		    run_in(p, a, kind, order, bit))
			return &p->areas[a];
	}
	return NULL;
}

/* Zeroing would do: have it done. */
static void wish_for(struct pool_user *u, unsigned int order)
{
	struct pool *p = u->pool;

	for (unsigned int i = 0; i < u->order_count; i++) {
		const struct pool_span *s = &p->spans[u->order[i]];

		for (uint32_t a = s->first_area; a < s->first_area + s->areas; a++) {
			if (area_meta(p, a) & META_CLOSED || !area_may_run(&p->areas[a], order))
				continue;
			atomic_store(&p->wish, a);
			return;
		}
	}
}

struct pool_area *search_run(struct pool_user *u, enum pool_kind kind, unsigned int order,
			     uint32_t *bit)
{
	const struct pool_reserve *r = &u->from[kind];
	struct pool *p = u->pool;
	struct pool_area *a;

	if (r->area && !r->shared && run_in(p, r->index, kind, order, bit))
		return r->area;
	for (unsigned int i = 0; i < u->order_count; i++) {
		for (enum sort sort = SORT_SAME; sort < SORT_OTHER; sort++) {
			a = run_of_sort(u, &p->spans[u->order[i]], sort, kind, order, bit);
			if (a)
				return a;
		}
	}
	for (unsigned int i = 0; i < u->order_count; i++) {
		for (enum sort sort = SORT_OTHER; sort < SORTS; sort++) {
			a = run_of_sort(u, &p->spans[u->order[i]], sort, kind, order, bit);
			if (a)
				return a;
		}
	}
	wish_for(u, order);
	return NULL;
}

/* --- moves, and dirty blocks --- */

/* A free block of one sort, for a moved one. What it holds is overwritten: so dirty ones do as well. */
static bool claim_for_move(struct pool *p, uint32_t area, bool dirty, uint32_t *bit)
{
	struct pool_area *a = &p->areas[area];
	_Atomic uint64_t *bitmap = dirty ? a->dirty : a->clean;
	_Atomic uint64_t *index = dirty ? p->has_dirty : p->has_clean;
	uint32_t word = 0;

	*bit = area_claim(bitmap, &word);
	if (*bit == AREA_NO_BIT) {
		index_clear(index, area, bitmap);
		return false;
	}
	if (area_admit(p, area, POOL_MOVABLE))
		return true;
	area_give(p, bitmap, index, area, *bit);
	return false;
}

/* In any area of the user's ranges that is in use, movable and not closed. */
static struct pool_area *move_anywhere(struct pool_user *u, uint32_t from, bool dirty, uint32_t *bit)
{
	struct pool *p = u->pool;
	const _Atomic uint64_t *index = dirty ? p->has_dirty : p->has_clean;

	for (unsigned int i = 0; i < u->order_count; i++) {
		const struct pool_span *s = &p->spans[u->order[i]];
		uint32_t end = s->first_area + s->areas;

		for (uint32_t a = next_set(index, s->first_area, end); a < end;
		     a = next_set(index, a + 1, end)) {
			uint32_t meta = area_meta(p, a);

			if (a != from && META_KIND(meta) == META_MOVABLE &&
			    !(meta & META_CLOSED) && claim_for_move(p, a, dirty, bit))
				return &p->areas[a];
		}
	}
	return NULL;
}

struct pool_area *search_move(struct pool_user *u, uint32_t from, uint32_t into, uint32_t *bit)
{
	struct pool *p = u->pool;
	struct pool_area *a;

	/* Dirty ones first: clean ones are for touches. */
	if (into < p->area_count && into != from &&
	    (claim_for_move(p, into, true, bit) || claim_for_move(p, into, false, bit)))
		return &p->areas[into];
	a = move_anywhere(u, from, true, bit);
	return a ? a : move_anywhere(u, from, false, bit);
}

/* In one range, from an area on: one in use that has dirty blocks, or the first that is not. */
static bool dirty_in(struct pool *p, uint32_t from, uint32_t end, uint32_t *unused)
{
	for (uint32_t a = next_set(p->has_dirty, from, end); a < end;
	     a = next_set(p->has_dirty, a + 1, end)) {
		if (!area_count(p->areas[a].dirty)) {
			index_clear(p->has_dirty, a, p->areas[a].dirty);
			continue;
		}
		if (META_KIND(area_meta(p, a)) != META_UNUSED) {
			*unused = a;
			return true;
		}
		if (*unused == POOL_NO_AREA)
			*unused = a;
	}
	return false;
}

uint32_t search_dirty(struct pool_user *u)
{
	struct pool *p = u->pool;
	uint32_t wish = atomic_load(&p->wish), found = POOL_NO_AREA;

	if (wish != POOL_NO_AREA) {
		if (area_count(p->areas[wish].dirty))
			return wish;
		atomic_compare_exchange_strong(&p->wish, &wish, POOL_NO_AREA);
	}
	for (unsigned int i = 0; i < u->order_count; i++) {
		const struct pool_span *s = &p->spans[u->order[i]];
		uint32_t first = s->first_area, end = first + s->areas, from = u->dirty_area;

		if (from < first || from >= end)
			from = first;
		if (dirty_in(p, from, end, &found) || dirty_in(p, first, from, &found))
			return found;
	}
	return found;
}
