// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The choosers; see choose.h. Compiles in the kernel and in user space.
 *
 * `cheapest`: with a price that a block is worth, the best set of runs is found
 * in one pass over the blocks, each of which is in a run or not; entering a run
 * costs what a call does. The lower the price, the fewer blocks and the cheaper
 * each of them. So the lowest price is searched at which the limits are used up,
 * and of its runs those are taken first that cost the least per block. This joins
 * blocks over a fuller one between them where that is cheaper than two calls.
 */
#include "choose.h"

#ifdef __KERNEL__
#include <linux/math64.h>
static u64 ml_ratio(u64 a, u64 b) { return div64_u64(a, b); }
#else
typedef int64_t s64;
static u64 ml_ratio(u64 a, u64 b) { return a / b; }
#endif

#define ML_STREWN_HIGH_PERCENT	10
#define ML_STREWN_LOW_PERCENT	5
#define ML_STREWN_LEAST_BYTES	(32ULL << 20)

/* How the best set up to a block came about: was the block before in a run? */
#define ML_MARK_IN_FROM_IN	1	/* if this one is in a run */
#define ML_MARK_OUT_FROM_IN	2	/* if it is not */

/* Of a full block there is nothing to gain: it may be a huge page. */
static bool ml_choose_may(const struct ml_census *c)
{
	return c->kind == ML_KIND_MOVABLE && c->used && c->used < ML_CENSUS_PAGES;
}

static u64 ml_block_cost(const struct ml_census *c, const struct ml_limits *limits)
{
	return (u64)c->used - c->dropped + (u64)c->dropped * limits->dropped_cost +
	       limits->block_cost;
}

u32 ml_choose_room(const struct ml_census *census, u32 n)
{
	u64 holes = 0;
	u32 i;

	for (i = 0; i < n; i++)
		if ((census[i].kind == ML_KIND_MOVABLE || census[i].kind == ML_KIND_STUCK) &&
		    census[i].used)
			holes += ML_CENSUS_PAGES - census[i].used;
	/* An emptied block takes its own holes away, and fills as many as it had pages. */
	return ml_ratio(holes, ML_CENSUS_PAGES);
}

struct ml_price ml_choose_price(const struct ml_census *census, const struct ml_run *runs, u32 count,
				const struct ml_limits *limits)
{
	struct ml_price price = { 0 };
	u32 i, k;

	for (i = 0; i < count; i++) {
		price.cost += limits->call_cost;
		for (k = runs[i].first; k < runs[i].first + runs[i].count; k++) {
			price.blocks++;
			price.pages += census[k].used;
			price.cost += ml_block_cost(&census[k], limits);
		}
	}
	return price;
}

/* The runs so far, and what may still be added. */
struct ml_list {
	const struct ml_census *census;
	const struct ml_limits *limits;
	struct ml_run *runs;
	u32 count, most;
	u32 blocks;
	u64 pages;
};

static struct ml_list ml_list_of(const struct ml_census *census, u32 n,
				 const struct ml_limits *limits, struct ml_run *runs, u32 most)
{
	u32 room = ml_choose_room(census, n);

	return (struct ml_list){
		.census = census, .limits = limits, .runs = runs, .most = most,
		.blocks = room < limits->blocks ? room : limits->blocks,
		.pages = limits->pages,
	};
}

/* Add a block, to the last run if it is the next one. False if the limits forbid it. */
static bool ml_list_add(struct ml_list *list, u32 i)
{
	struct ml_run *last = list->count ? &list->runs[list->count - 1] : NULL;
	u32 used = list->census[i].used;

	if (!list->blocks || used > list->pages)
		return false;
	if (last && last->first + last->count == i && last->count < list->limits->run_blocks) {
		last->count++;
	} else {
		if (list->count == list->most)
			return false;
		list->runs[list->count++] = (struct ml_run){ .first = i, .count = 1 };
	}
	list->blocks--;
	list->pages -= used;
	return true;
}

static u32 ml_choose_address(struct ml_census *census, u32 n, const struct ml_limits *limits,
			     struct ml_run *runs, u32 most)
{
	struct ml_list list = ml_list_of(census, n, limits, runs, most);
	u32 i;

	for (i = 0; i < n; i++)
		if (ml_choose_may(&census[i]) && !ml_list_add(&list, i))
			break;
	return list.count;
}

static u32 ml_choose_fewest(struct ml_census *census, u32 n, const struct ml_limits *limits,
			    struct ml_run *runs, u32 most)
{
	struct ml_list list = ml_list_of(census, n, limits, runs, most);
	u32 used = 0, next, i;

	/* One pass for each number of pages that occurs, at most 512. */
	do {
		next = ML_CENSUS_PAGES + 1;
		for (i = 0; i < n; i++) {
			if (!ml_choose_may(&census[i]) ||
			    ml_block_cost(&census[i], limits) > limits->worth)
				continue;
			if (census[i].used == used && !ml_list_add(&list, i))
				return list.count;
			if (census[i].used > used && census[i].used < next)
				next = census[i].used;
		}
		used = next;
	} while (next <= ML_CENSUS_PAGES);
	return list.count;
}

/* The best set of runs if a block is worth `price`: sets marks. Is the last one in? */
static bool ml_cheapest_pass(struct ml_census *census, u32 n, const struct ml_limits *limits, u32 price)
{
	const s64 never = -(1LL << 60);
	s64 in = never, out = 0;
	u32 i;

	for (i = 0; i < n; i++) {
		s64 enter = out - limits->call_cost, was_in = in;

		census[i].mark = 0;
		in = enter;
		if (was_in > enter) {
			in = was_in;
			census[i].mark |= ML_MARK_IN_FROM_IN;
		}
		if (was_in > out) {
			out = was_in;
			census[i].mark |= ML_MARK_OUT_FROM_IN;
		}
		in = ml_choose_may(&census[i]) ?
		     in + price - (s64)ml_block_cost(&census[i], limits) : never;
	}
	return in > out;
}

/* Go back over the marks: leaves 1 in those of chosen blocks, 0 in others. */
static struct ml_price ml_cheapest_take(struct ml_census *census, u32 n, bool in)
{
	struct ml_price price = { 0 };
	u32 i;

	for (i = n; i-- > 0; ) {
		u8 mark = census[i].mark;

		census[i].mark = in;
		if (in) {
			price.blocks++;
			price.pages += census[i].used;
			in = mark & ML_MARK_IN_FROM_IN;
		} else {
			in = mark & ML_MARK_OUT_FROM_IN;
		}
	}
	return price;
}

/* What a block of a run costs, and the run with it, is a / b < c / d: which is first? */
static bool ml_run_cheaper(const struct ml_list *list, const struct ml_run *a, const struct ml_run *b)
{
	struct ml_price pa = ml_choose_price(list->census, a, 1, list->limits);
	struct ml_price pb = ml_choose_price(list->census, b, 1, list->limits);

	return pa.cost * pb.blocks < pb.cost * pa.blocks;
}

/* Shell sort, by cost per block. */
static void ml_runs_sort(const struct ml_list *list, struct ml_run *runs, u32 n)
{
	u32 gap, i, j;

	for (gap = n / 2; gap; gap /= 2) {
		for (i = gap; i < n; i++) {
			struct ml_run run = runs[i];

			for (j = i; j >= gap && ml_run_cheaper(list, &run, &runs[j - gap]); j -= gap)
				runs[j] = runs[j - gap];
			runs[j] = run;
		}
	}
}

/* The cheapest n blocks of a run. */
static struct ml_run ml_run_part(const struct ml_list *list, const struct ml_run *run, u32 n)
{
	struct ml_run part = { .first = run->first, .count = n }, best = part;

	for (; part.first + n <= run->first + run->count; part.first++)
		if (ml_run_cheaper(list, &part, &best))
			best = part;
	return best;
}

/* Keep of the sorted runs what the limits allow, the last one in part. */
static u32 ml_runs_cut(struct ml_list *list, u32 count)
{
	u32 i, k, kept = 0;

	for (i = 0; i < count; i++) {
		struct ml_run run = list->runs[i];

		if (run.count > list->blocks)
			run = ml_run_part(list, &run, list->blocks);
		for (k = 0; k < run.count && list->blocks; k++) {
			u32 used = list->census[run.first + k].used;

			if (used > list->pages)
				break;
			list->pages -= used;
			list->blocks--;
		}
		if (k)
			list->runs[kept++] = (struct ml_run){ .first = run.first, .count = k };
		if (k < run.count || !list->blocks)
			break;
	}
	return kept;
}

static u32 ml_choose_cheapest(struct ml_census *census, u32 n, const struct ml_limits *limits,
			      struct ml_run *runs, u32 most)
{
	struct ml_list list = ml_list_of(census, n, limits, runs, most);
	u32 low = 0, high = limits->worth, i, count = 0;

	/* The lowest price at which the limits are used up, or what a block is worth. */
	while (low < high) {
		u32 price = low + (high - low) / 2;
		struct ml_price got = ml_cheapest_take(census, n,
						       ml_cheapest_pass(census, n, limits, price));

		if (got.blocks >= list.blocks || got.pages >= list.pages)
			high = price;
		else
			low = price + 1;
	}
	ml_cheapest_take(census, n, ml_cheapest_pass(census, n, limits, low));
	for (i = 0; i < n; i++) {
		struct ml_run *last = count ? &runs[count - 1] : NULL;

		if (!census[i].mark)
			continue;
		if (last && last->first + last->count == i && last->count < limits->run_blocks)
			last->count++;
		else if (count < most)
			runs[count++] = (struct ml_run){ .first = i, .count = 1 };
	}
	ml_runs_sort(&list, runs, count);
	return ml_runs_cut(&list, count);
}

const struct ml_chooser ml_choosers[ML_CHOOSERS] = {
	[ML_CHOOSE_ADDRESS] = { "address", ml_choose_address },
	[ML_CHOOSE_FEWEST] = { "fewest", ml_choose_fewest },
	[ML_CHOOSE_CHEAPEST] = { "cheapest", ml_choose_cheapest },
};

u32 ml_strewn_score(const struct ml_strewn *strewn)
{
	u64 pieces = strewn->free > strewn->whole ? strewn->free - strewn->whole : 0;
	u64 kept = strewn->total > strewn->whole ? strewn->total - strewn->whole : 0;

	if (!kept || !pieces)
		return 0;
	pieces = pieces < kept ? pieces : kept;
	return ml_ratio(pieces * 100, kept);
}

bool ml_strewn_wanted(const struct ml_strewn *strewn, bool active)
{
	u32 mark = active ? ML_STREWN_LOW_PERCENT : ML_STREWN_HIGH_PERCENT;

	return strewn->free >= strewn->whole + ML_STREWN_LEAST_BYTES &&
	       ml_strewn_score(strewn) >= mark;
}
