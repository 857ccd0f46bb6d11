// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The choosers; see choose.h. All of them take one area after the other and find room for
 * its blocks; they differ in which area they take next, and where they look for room. The
 * cheapest one is sought anew for each, because what it costs depends on the room that is
 * left in its range.
 */
#include "choose.h"

#include <string.h>

#define AREA_BLOCKS 512
#define RANGES 64

enum { MARK_NONE, MARK_EMPTIED, MARK_FILLED };

/* Where room was found last: areas with as many lent blocks, from there on. */
struct cursor {
	uint32_t used;
	uint32_t at;
};

struct shift_plan {
	struct pool_census *census;
	uint32_t n;
	const struct pool_limits *limits;
	struct pool_shift *shifts;
	uint32_t count, most;
	uint32_t areas, blocks;		/* what may still be emptied, and moved */
	uint32_t room[RANGES], all_room;
	struct cursor cursor[RANGES];
};

static uint32_t used_of(const struct pool_census *c)
{
	return (uint32_t)c->movable + c->stuck;
}

/* Dirty ones do as well: what moves in fills all of its block. */
static uint32_t free_of(const struct pool_census *c)
{
	return (uint32_t)c->clean + c->dirty;
}

static bool may_fill(const struct pool_census *c)
{
	return !c->busy && !c->fixed && c->mark != MARK_EMPTIED && used_of(c) &&
	       free_of(c) > c->taken && c->range < RANGES;
}

/* Emptying a whole GiB that is full gains as much as one that is not; it only costs more. */
static bool may_empty(const struct pool_census *c)
{
	return c->blocks == AREA_BLOCKS && c->movable && !c->stuck && !c->busy &&
	       c->mark == MARK_NONE && c->range < RANGES;
}

static uint32_t room_of(const struct pool_census *c)
{
	return may_fill(c) ? free_of(c) - c->taken : 0;
}

static void shift_plan_begin(struct shift_plan *p, struct pool_census *census, uint32_t n,
			     const struct pool_limits *limits, struct pool_shift *shifts, uint32_t most)
{
	memset(p, 0, sizeof(*p));
	p->census = census;
	p->n = n;
	p->limits = limits;
	p->shifts = shifts;
	p->most = most;
	p->areas = limits->areas;
	p->blocks = limits->blocks;
	for (int r = 0; r < RANGES; r++)
		p->cursor[r].used = AREA_BLOCKS;
	for (uint32_t i = 0; i < n; i++) {
		census[i].mark = MARK_NONE;
		census[i].taken = 0;
		p->room[census[i].range % RANGES] += room_of(&census[i]);
		p->all_room += room_of(&census[i]);
	}
}

/* The fullest area of a range that has room; n if none has. */
static uint32_t fullest(struct shift_plan *p, uint32_t range)
{
	struct cursor *c = &p->cursor[range];

	for (; c->used; c->used--, c->at = 0) {
		for (; c->at < p->n; c->at++) {
			const struct pool_census *a = &p->census[c->at];

			if (a->range == range && used_of(a) == c->used && may_fill(a))
				return c->at;
		}
	}
	return p->n;
}

/* The fullest with room in a range, else in the next ones. */
static uint32_t fullest_near(struct shift_plan *p, uint32_t range)
{
	for (uint32_t i = 0; i < RANGES; i++) {
		uint32_t r = (range + i) % RANGES;

		if (p->room[r])
			return fullest(p, r);
	}
	return p->n;
}

/* The lowest with room, by the cursor of no range. */
static uint32_t lowest(struct shift_plan *p)
{
	struct cursor *c = &p->cursor[0];

	while (c->at < p->n && !may_fill(&p->census[c->at]))
		c->at++;
	return c->at;
}

static void take_room(struct shift_plan *p, struct pool_census *c, uint32_t count)
{
	p->room[c->range] -= count;
	p->all_room -= count;
	c->taken += (uint16_t)count;
	c->mark = MARK_FILLED;
}

/* Entries from `first` on are not made after all; their areas stay marked, which is no harm. */
static void undo(struct shift_plan *p, uint32_t first)
{
	while (p->count > first) {
		const struct pool_shift *s = &p->shifts[--p->count];

		p->census[s->into].taken -= s->count;
		p->room[p->census[s->into].range] += s->count;
		p->all_room += s->count;
	}
}

/* Is there as much room elsewhere, and budget? */
static bool can_empty(const struct shift_plan *p, uint32_t area)
{
	const struct pool_census *c = &p->census[area];

	return p->areas && may_empty(c) && c->movable <= p->blocks &&
	       c->movable <= p->all_room - room_of(c);
}

/* Write down where its blocks go. False: no entries are left. */
static bool empty(struct shift_plan *p, uint32_t area, bool by_address)
{
	struct pool_census *c = &p->census[area];
	uint32_t left = c->movable, first = p->count, own = room_of(c);

	p->room[c->range] -= own;
	p->all_room -= own;
	c->mark = MARK_EMPTIED;
	while (left) {
		uint32_t into = by_address ? lowest(p) : fullest_near(p, c->range);
		uint32_t count;

		if (into >= p->n || p->count == p->most || (by_address && into > area)) {
			undo(p, first);
			return false;
		}
		count = room_of(&p->census[into]);
		count = count < left ? count : left;
		take_room(p, &p->census[into], count);
		p->shifts[p->count++] = (struct pool_shift){ .from = area, .into = into,
							      .count = (uint16_t)count };
		left -= count;
	}
	p->areas--;
	p->blocks -= c->movable;
	return true;
}

static uint32_t choose_address(struct pool_census *census, uint32_t n,
			       const struct pool_limits *limits, struct pool_shift *shifts,
			       uint32_t most)
{
	struct shift_plan p;

	shift_plan_begin(&p, census, n, limits, shifts, most);
	for (uint32_t i = n; i-- > 0;) {
		if (!may_empty(&census[i]))
			continue;
		if (!can_empty(&p, i) || !empty(&p, i, true))
			break;
	}
	return p.count;
}

/* In hundredths of a move. */
static uint64_t cost_of(const struct pool_limits *limits, uint32_t moved, uint32_t far,
			uint32_t dirty)
{
	return 100ULL * (moved + (uint64_t)far * limits->far_cost) +
	       (uint64_t)limits->zero_percent * (moved + dirty);
}

static uint32_t choose_fewest(struct pool_census *census, uint32_t n,
			      const struct pool_limits *limits, struct pool_shift *shifts,
			      uint32_t most)
{
	struct shift_plan p;

	shift_plan_begin(&p, census, n, limits, shifts, most);
	for (uint32_t lent = 1; lent <= AREA_BLOCKS && lent <= limits->worth; lent++) {
		for (uint32_t i = 0; i < n; i++) {
			if (census[i].movable != lent || !can_empty(&p, i))
				continue;
			if (!empty(&p, i, false))
				return p.count;
		}
	}
	return p.count;
}

static uint64_t cost_now(const struct shift_plan *p, uint32_t area)
{
	const struct pool_census *c = &p->census[area];
	uint32_t near = p->room[c->range] - room_of(c);

	return cost_of(p->limits, c->movable, c->movable > near ? c->movable - near : 0, c->dirty);
}

static uint32_t choose_cheapest(struct pool_census *census, uint32_t n,
				const struct pool_limits *limits, struct pool_shift *shifts,
				uint32_t most)
{
	uint64_t worth = 100ULL * limits->worth;
	struct shift_plan p;

	shift_plan_begin(&p, census, n, limits, shifts, most);
	for (;;) {
		uint64_t least = worth + 1;
		uint32_t best = n;

		for (uint32_t i = 0; i < n; i++) {
			if (can_empty(&p, i) && cost_now(&p, i) < least) {
				least = cost_now(&p, i);
				best = i;
			}
		}
		if (best == n || !empty(&p, best, false))
			return p.count;
	}
}

const struct pool_chooser pool_choosers[POOL_CHOOSERS] = {
	[POOL_CHOOSE_ADDRESS] = { "address", choose_address },
	[POOL_CHOOSE_FEWEST] = { "fewest", choose_fewest },
	[POOL_CHOOSE_CHEAPEST] = { "cheapest", choose_cheapest },
};

struct pool_price pool_choose_price(const struct pool_census *census,
				    const struct pool_shift *shifts, uint32_t count,
				    const struct pool_limits *limits)
{
	struct pool_price price = { 0 };
	uint64_t cost = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct pool_census *from = &census[shifts[i].from];
		bool first = i == 0 || shifts[i - 1].from != shifts[i].from;
		bool far = census[shifts[i].into].range != from->range;

		price.areas += first;
		price.blocks += shifts[i].count;
		cost += cost_of(limits, shifts[i].count, far ? shifts[i].count : 0,
				first ? from->dirty : 0);
	}
	price.cost = cost / 100;
	return price;
}
