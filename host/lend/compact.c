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
#define BACKGROUND_WORTH 64	/* moves for one GiB in the background, at most */
#define ASKED_BLOCKS 2048
#define SLICE_BLOCKS 4		/* about a millisecond */
#define FAR_COST 4		/* for a move to other memory than before */
#define ZERO_PERCENT 50		/* of a move's cost, for a block that is zeroed again */

static bool under_way(const struct lender *l)
{
	return l->compact.shifts != NULL;
}

static void close_area(struct lender *l)
{
	if (l->compact.area != POOL_NO_AREA)
		pool_area_open(&l->pool, l->compact.area);
	l->compact.area = POOL_NO_AREA;
}

static void plan_ends(struct lender *l)
{
	close_area(l);
	free(l->compact.shifts);
	l->compact.shifts = NULL;
	l->compact.shift_count = 0;
}

void compact_end(struct lender *l)
{
	if (l->pool.areas)
		plan_ends(l);
}

/* As many GiBs, at this price each at most. */
static void make_plan(struct lender *l, uint32_t areas, uint32_t worth)
{
	struct lend_compact *c = &l->compact;
	const struct pool_limits limits = {
		.areas = areas, .blocks = UINT32_MAX, .worth = worth, .far_cost = FAR_COST,
		.zero_percent = ZERO_PERCENT,
	};
	uint32_t n = l->pool.area_count, most = 4 * n + 16;
	struct pool_census *census = calloc(n, sizeof(*census));

	c->idle_ticks = 0;
	c->shifts = calloc(most, sizeof(*c->shifts));
	if (census && c->shifts) {
		pool_rest(pool_self(&l->pool));
		pool_take_census(&l->pool, census, n);
		c->shift_count = pool_choosers[POOL_CHOOSE_CHEAPEST].choose(census, n, &limits,
									    c->shifts, most);
	}
	c->shift_at = 0;
	c->shift_done = 0;
	free(census);
	if (!c->shift_count)
		plan_ends(l);
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

/* To the first move of the next shift; areas that have been left are open again. */
static void next_shift(struct lender *l)
{
	struct lend_compact *c = &l->compact;
	uint32_t area = c->shifts[c->shift_at].from;
	uint32_t block;

	c->shift_at++;
	c->shift_done = 0;
	if (c->shift_at < c->shift_count && c->shifts[c->shift_at].from == area)
		return;
	if (!pool_area_lent(&l->pool, area, &block, 1)) {
		c->emptied++;
		if (c->wanted)
			c->wanted--;
	} else {
		c->given_up++;
	}
	close_area(l);
	if (c->shift_at == c->shift_count)
		plan_ends(l);
}

static void one_move(struct lender *l)
{
	struct lend_compact *c = &l->compact;
	const struct pool_shift *s = &c->shifts[c->shift_at];
	uint32_t from;
	int ret = -ENOENT;

	if (c->area != s->from) {
		close_area(l);
		if (pool_area_close(&l->pool, s->from) < 0) {
			/* Somebody lends from it just now. */
			plan_ends(l);
			return;
		}
		c->area = s->from;
	}
	from = c->shift_done < s->count ? some_block(l, s->from) : POOL_NO_BLOCK;
	if (from != POOL_NO_BLOCK)
		ret = compact_move(l, from, s->into);
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
	if (c->wanted) {
		make_plan(l, c->wanted, UINT32_MAX);
		if (!under_way(l))
			c->wanted = 0;	/* there is no GiB that could be emptied */
	} else if (++c->idle_ticks >= IDLE_TICKS) {
		make_plan(l, 1, BACKGROUND_WORTH);
	}
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
	if (!under_way(l))
		make_plan(l, gib, UINT32_MAX);
	if (!under_way(l))
		l->compact.wanted = 0;
	return 0;
}
