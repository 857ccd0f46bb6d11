// SPDX-License-Identifier: GPL-2.0-or-later
/* Compaction of the pool; see compact.h. */
#include "compact.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/log.h"
#include "../pool/choose.h"
#include "clean.h"
#include "loan.h"
#include "compact_plan.h"
#include "stock.h"

#define IDLE_TICKS 10
#define BACKGROUND_BLOCKS 64	/* moved per second: 128 MiB read and written */
#define PLAN_GIBS 8		/* emptied by one plan: what it costs to make, and how long it holds, go with it */
#define BACKGROUND_WORTH 64	/* moves for one GiB in the background, at most */
#define ASKED_BLOCKS 2048
#define SLICE_BLOCKS 4		/* about a millisecond */
#define LATE_IN_A_TICK 8		/* moves that cannot be made now; each may hold the loop up for 2 ms */
#define LATE_MAX 64		/* in a row; then the shift is left */
#define FAR_COST 4		/* for a move to other memory than before */
#define ZERO_PERCENT 50		/* of a move's cost, for a block that is zeroed again */

struct compact {
	uint32_t wanted;	/* GiBs still to be emptied on an operator's word */
	uint32_t budget;	/* blocks that may be moved still before the next tick */
	uint32_t shift_done;	/* moves of the shift under way */
	uint32_t idle_ticks;	/* since the last plan */
	uint32_t gained;	/* areas that this plan has emptied */
	uint32_t late;		/* moves in a row that could not be made then */
	uint64_t moved, emptied;
};

int compact_init(struct lender *l)
{
	int ret = compact_plan_init(l);

	if (ret < 0 || !l->plan)
		return ret;
	l->compact = calloc(1, sizeof(*l->compact));
	return l->compact ? 0 : -ENOMEM;
}

void compact_free(struct lender *l)
{
	compact_plan_free(l);
	free(l->compact);
	l->compact = NULL;
}

void compact_figures(const struct lender *l, struct compact_figures *out)
{
	const struct compact *c = l->compact;

	*out = (struct compact_figures){ 0 };
	if (c)
		*out = (struct compact_figures){ compact_plan_under_way(l) || c->wanted, c->moved,
						 c->emptied };
}

/* Up to so many GiBs, at this price each at most. */
static void make_plan(struct lender *l, uint32_t areas, uint32_t worth)
{
	struct compact *c = l->compact;
	const struct pool_limits limits = {
		.areas = areas < PLAN_GIBS ? areas : PLAN_GIBS, .blocks = UINT32_MAX,
		.worth = worth, .far_cost = FAR_COST, .zero_percent = ZERO_PERCENT,
	};
	uint32_t n = l->pool.area_count, most = 4 * n + 16, count = 0;
	struct pool_census *census = calloc(n, sizeof(*census));
	struct pool_shift *shifts = calloc(most, sizeof(*shifts));

	c->idle_ticks = 0;
	c->shift_done = 0;
	c->gained = 0;
	if (census && shifts) {
		pool_rest(pool_self(&l->pool));
		pool_take_census(&l->pool, census, n, worth);
		count = pool_choosers[POOL_CHOOSE_CHEAPEST].choose(census, n, &limits, shifts, most);
	}
	free(census);
	if (!count) {
		free(shifts);
		return;
	}
	/* The plan has the shifts from here on. */
	compact_plan_begin(l, shifts, count);
	stock_hold(l);
}

/* On an operator's word. Touches that nobody has heard of would spoil the plan. */
static void make_wanted_plan(struct lender *l)
{
	stock_hold(l);
	make_plan(l, l->compact->wanted, UINT32_MAX);
	if (!compact_plan_under_way(l))
		l->compact->wanted = 0;		/* there is no GiB that could be emptied */
	stock_fill(l);
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

static void area_is_through(struct lender *l, uint32_t area)
{
	struct compact *c = l->compact;
	uint32_t block;

	if (pool_area_lent(&l->pool, area, &block, 1))
		return;
	c->emptied++;
	c->gained++;
	c->wanted -= c->wanted > 0;
}

/* To the first move of the next shift. */
static void next_shift(struct lender *l)
{
	struct compact *c = l->compact;
	uint32_t area;
	bool more = compact_plan_next(l, &area);

	c->shift_done = 0;
	c->late = 0;
	if (area != COMPACT_PLAN_NO_AREA)
		area_is_through(l, area);
	/* The next plan would fare no better. */
	if (!more && c->wanted && !c->gained) {
		ml_warn("compaction: blocks cannot be moved; %u of the GiBs that were asked for are not emptied",
			c->wanted);
		c->wanted = 0;
	}
}

/*
 * A process that maps the block is busy with its memory map: the same move again, in
 * another slice, or the next tick. Returns whether.
 */
static bool again_later(struct compact *c)
{
	if (++c->late >= LATE_MAX)
		return false;
	if (c->late % LATE_IN_A_TICK == 0)
		c->budget = 0;
	return true;
}

/* Returns whether the next one may follow in the same slice. */
static bool one_move(struct lender *l)
{
	struct compact *c = l->compact;
	const struct pool_shift *s = compact_plan_shift(l);
	bool more = c->shift_done + 1 < s->count;
	uint32_t from = c->shift_done < s->count ? some_block(l, s->from) : POOL_NO_BLOCK;
	int ret = from == POOL_NO_BLOCK ? -ENOENT : loan_move(l, from, s->into);

	if (ret == -ETIME && again_later(c))
		return false;
	c->late = 0;
	c->moved += ret == 0;
	c->shift_done++;
	c->budget -= c->budget > 0;
	if (ret < 0 || !more)
		next_shift(l);
	return true;
}

bool compact_has_work(const struct lender *l)
{
	return compact_plan_under_way(l) && l->compact->budget && !l->waiting;
}

void compact_slice(struct lender *l)
{
	if (!compact_has_work(l))
		return;
	loan_read_all(l);
	for (int i = 0; i < SLICE_BLOCKS && compact_has_work(l) && one_move(l); i++)
		;
	clean_kick(l);
}

void compact_tick(struct lender *l)
{
	struct compact *c = l->compact;

	if (!c || l->waiting)
		return;
	c->budget = c->wanted ? ASKED_BLOCKS : BACKGROUND_BLOCKS;
	if (compact_plan_under_way(l))
		return;
	if (c->wanted)
		make_wanted_plan(l);
	else if (++c->idle_ticks >= IDLE_TICKS)
		make_plan(l, 1, BACKGROUND_WORTH);
}

int compact_want(struct lender *l, uint32_t gib)
{
	if (!l->compact)
		return -EOPNOTSUPP;
	l->compact->wanted = gib;
	l->compact->budget = ASKED_BLOCKS;
	if (!compact_plan_under_way(l) && !l->waiting)
		make_wanted_plan(l);
	return 0;
}
