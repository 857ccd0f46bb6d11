// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compaction of the pool: lent blocks are moved together, so that whole GiBs become
 * free. Only where the source can move a block under a running VM: it unmaps, copies
 * and maps, and who touches the slot meanwhile waits. Called by lender.c and job.c.
 *
 * In the background, every ten seconds, one GiB is emptied if that is cheap, a few
 * moves a turn of the event loop and no more than a budget a second; on an operator's
 * word as many as he asks for, with a larger budget. Never while touches wait. Which
 * GiB, and into which others its blocks go, is for pool/choose.c to say.
 *
 * The GiBs that a plan empties are closed until it is through with them, so that nobody
 * takes what was freed; and what the supply holds of them is taken back first. If a touch
 * finds no block meanwhile the plan ends at once (compact_yield()), and they are open.
 *
 * A move in the order of pool.h: the new block is MOVING, the source exchanges, the
 * slot names the new one, the old becomes DIRTY. After a crash the source says which
 * of both is behind the slot (settle.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"

#define IDLE_TICKS 10
#define BACKGROUND_BLOCKS 64	/* moved per second: 128 MiB read and written */
#define PLAN_GIBS 8		/* emptied by one plan: what it costs to make, and how long it holds, go with it */
#define BACKGROUND_WORTH 64	/* moves for one GiB in the background, at most */
#define ASKED_BLOCKS 2048
#define SLICE_BLOCKS 4		/* about a millisecond */
#define FAR_COST 4		/* for a move to other memory than before */
#define ZERO_PERCENT 50		/* of a move's cost, for a block that is zeroed again */

static bool under_way(const struct lender *l)
{
	return l->compact.shifts != NULL;
}

/* From the shift at `i` on, the first of the next area. */
static uint32_t area_end(const struct lend_compact *c, uint32_t i)
{
	uint32_t area = c->shifts[i].from;

	while (i < c->shift_count && c->shifts[i].from == area)
		i++;
	return i;
}

static void plan_ends(struct lender *l)
{
	struct lend_compact *c = &l->compact;

	for (uint32_t i = c->shift_at; i < c->shift_count; i = area_end(c, i))
		pool_area_open(&l->pool, c->shifts[i].from);
	free(c->shifts);
	c->shifts = NULL;
	c->shift_count = 0;
}

void compact_end(struct lender *l)
{
	if (l->pool.areas)
		plan_ends(l);
}

bool compact_yield(struct lender *l)
{
	bool any = under_way(l);

	compact_end(l);
	return any;
}

bool compact_running(const struct lender *l)
{
	return under_way(l) || l->compact.wanted;
}

/* All areas that are to be emptied; those of which somebody lends just now are left out. */
static void close_areas(struct lender *l)
{
	struct lend_compact *c = &l->compact;
	uint32_t kept = 0, next;

	for (uint32_t i = 0; i < c->shift_count; i = next) {
		next = area_end(c, i);
		if (pool_area_close(&l->pool, c->shifts[i].from) < 0)
			continue;
		memmove(&c->shifts[kept], &c->shifts[i], (next - i) * sizeof(*c->shifts));
		kept += next - i;
	}
	c->shift_count = kept;
}

/* Up to so many GiBs, at this price each at most. */
static void make_plan(struct lender *l, uint32_t areas, uint32_t worth)
{
	struct lend_compact *c = &l->compact;
	const struct pool_limits limits = {
		.areas = areas < PLAN_GIBS ? areas : PLAN_GIBS, .blocks = UINT32_MAX,
		.worth = worth, .far_cost = FAR_COST, .zero_percent = ZERO_PERCENT,
	};
	uint32_t n = l->pool.area_count, most = 4 * n + 16;
	struct pool_census *census = calloc(n, sizeof(*census));

	c->idle_ticks = 0;
	c->shift_at = 0;
	c->shift_done = 0;
	c->gained = 0;
	c->shifts = calloc(most, sizeof(*c->shifts));
	if (census && c->shifts) {
		pool_rest(pool_self(&l->pool));
		pool_take_census(&l->pool, census, n, worth);
		c->shift_count = pool_choosers[POOL_CHOOSE_CHEAPEST].choose(census, n, &limits,
									    c->shifts, most);
	}
	free(census);
	if (c->shift_count) {
		close_areas(l);
		supply_hold(l);
	}
	if (!c->shift_count)
		plan_ends(l);
}

/* On an operator's word. Touches that nobody has heard of would spoil the plan. */
static void make_wanted_plan(struct lender *l)
{
	supply_hold(l);
	make_plan(l, l->compact.wanted, UINT32_MAX);
	if (!under_way(l))
		l->compact.wanted = 0;		/* there is no GiB that could be emptied */
	supply_fill(l);
}

/* Of that area, one block that can be moved now; or POOL_NO_BLOCK. */
static uint32_t some_block(struct lender *l, uint32_t area)
{
	uint32_t blocks[POOL_AREA_BLOCKS];
	uint32_t n = pool_area_lent(&l->pool, area, blocks, POOL_AREA_BLOCKS);

	for (uint32_t i = 0; i < n; i++) {
		struct block_word w = table_word(&l->pool.table, blocks[i]);
		struct lend_vm *vm = w.owner.vm < LEND_IDS ? l->by_id[w.owner.vm] : NULL;

		/* What is about to go is not worth it. */
		if (w.state == BLOCK_LENT && vm && vm->open && !vm->rec->ending)
			return blocks[i];
	}
	return POOL_NO_BLOCK;
}

int compact_move(struct lender *l, uint32_t from, uint32_t into)
{
	struct block_word w = table_word(&l->pool.table, from);
	struct lend_region *r = &l->by_id[w.owner.vm]->region[w.owner.region];
	struct pool_user *u = pool_self(&l->pool);
	uint32_t to, old;
	int ret;

	if (slots_state(&r->slots, w.owner.slot) != SLOT_RESIDENT ||
	    slots_block(&r->slots, w.owner.slot) != from)
		return -EAGAIN;
	to = pool_move_begin(u, from, into);
	if (to == POOL_NO_BLOCK)
		return -ENOSPC;
	old = to;
	ml_step("exchange");
	ret = l->backend->ops->move(&r->at, w.owner.slot, &old);
	if (ret < 0) {
		pool_move_undo(u, to);
		return ret;
	}
	slots_moved(&r->slots, w.owner.slot, to);
	if (old != from) {
		ml_err("VM %s: block %u was behind slot %u, not %u", r->vm->rec->spec.name, old,
		       w.owner.slot, from);
		l->resync = true;
	}
	pool_move_end(u, from, to);
	l->compact.moved++;
	return 0;
}

static void area_is_through(struct lender *l, uint32_t area)
{
	struct lend_compact *c = &l->compact;
	uint32_t block;

	if (!pool_area_lent(&l->pool, area, &block, 1)) {
		c->emptied++;
		c->gained++;
		c->wanted -= c->wanted > 0;
	}
	pool_area_open(&l->pool, area);
}

/* To the first move of the next shift; areas that have been left are open again. */
static void next_shift(struct lender *l)
{
	struct lend_compact *c = &l->compact;
	uint32_t area = c->shifts[c->shift_at].from;

	c->shift_at++;
	c->shift_done = 0;
	if (c->shift_at < c->shift_count && c->shifts[c->shift_at].from == area)
		return;
	area_is_through(l, area);
	if (c->shift_at < c->shift_count)
		return;
	plan_ends(l);
	/* The next would fare no better. */
	if (c->wanted && !c->gained) {
		ml_warn("compaction: blocks cannot be moved; %u of the GiBs that were asked for are not emptied",
			c->wanted);
		c->wanted = 0;
	}
}

static void one_move(struct lender *l)
{
	struct lend_compact *c = &l->compact;
	const struct pool_shift *s = &c->shifts[c->shift_at];
	uint32_t from = c->shift_done < s->count ? some_block(l, s->from) : POOL_NO_BLOCK;
	int ret = from == POOL_NO_BLOCK ? -ENOENT : compact_move(l, from, s->into);

	c->shift_done++;
	c->budget -= c->budget > 0;
	if (ret < 0 || c->shift_done >= s->count)
		next_shift(l);
}

bool compact_has_work(const struct lender *l)
{
	return under_way(l) && l->compact.budget && !l->waiting;
}

void compact_slice(struct lender *l)
{
	if (!compact_has_work(l))
		return;
	served_read_all(l);
	for (int i = 0; i < SLICE_BLOCKS && compact_has_work(l); i++)
		one_move(l);
	clean_kick(l);
}

void compact_tick(struct lender *l)
{
	struct lend_compact *c = &l->compact;

	if (!lend_served(l) || l->waiting)
		return;
	c->budget = c->wanted ? ASKED_BLOCKS : BACKGROUND_BLOCKS;
	if (under_way(l))
		return;
	if (c->wanted)
		make_wanted_plan(l);
	else if (++c->idle_ticks >= IDLE_TICKS)
		make_plan(l, 1, BACKGROUND_WORTH);
}

int lender_compact(struct lender *l, uint32_t gib, char *why, size_t why_size)
{
	if (!lend_served(l)) {
		snprintf(why, why_size,
			 "the pool (%s) is memory that the host's kernel moves by itself; only a reserved pool can be compacted",
			 l->backend->name);
		return -EOPNOTSUPP;
	}
	l->compact.wanted = gib;
	l->compact.budget = ASKED_BLOCKS;
	if (!under_way(l) && !l->waiting)
		make_wanted_plan(l);
	return 0;
}
