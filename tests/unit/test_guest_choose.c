// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The choosers of blocks to defragment, compiled for user space: what they may
 * choose, that they keep to their limits, and how many pages they move on the
 * same synthetic states. In these a moved page goes to a random hole, as it does
 * in a kernel that has run for long, so blocks that are still to be emptied fill
 * up meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../guest/think/choose.c"

#define MIB	(1ULL << 20)
#define BLOCKS	1000
#define RUNS	64

static const struct ml_limits usual = {
	.blocks = 64,
	.pages = 16384,
	.worth = 544,
	.run_blocks = 16,
	.call_cost = 128,
	.block_cost = 64,
	.dropped_cost = 4,
};

static uint64_t seed;

static u32 chance(u32 n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % n;
}

static struct ml_census block(u32 kind, u32 used)
{
	return (struct ml_census){ .kind = kind, .used = used };
}

static void fill_all(struct ml_census *c, u32 n, u32 used)
{
	for (u32 i = 0; i < n; i++)
		c[i] = block(used ? ML_KIND_MOVABLE : ML_KIND_FREE, used);
}

enum pattern { QUARTER, UNEVEN, BUILD, PATTERNS };

/* The states that tests/vm/guest/frag.c makes, with some blocks of the kernel's. */
static void fragment(struct ml_census *c, u32 n, enum pattern pattern)
{
	for (u32 i = 0; i < n; i++) {
		u32 kind = chance(100), used = 128;

		if (pattern == UNEVEN)
			used = chance(257);
		if (pattern == BUILD)
			used = kind < 60 ? chance(40) : kind < 85 ? 50 + chance(300) : 440 + chance(73);
		c[i] = block(used ? ML_KIND_MOVABLE : ML_KIND_FREE, used);
		if (chance(20) == 0)
			c[i] = block(ML_KIND_FIXED, 0);
	}
}

/* What a chooser returns is allowed. */
static struct ml_price check_choice(struct ml_census *c, u32 n, const struct ml_limits *limits,
				    const struct ml_run *runs, u32 count)
{
	static u8 chosen[BLOCKS];
	struct ml_price price = ml_choose_price(c, runs, count, limits);

	memset(chosen, 0, sizeof(chosen));
	for (u32 i = 0; i < count; i++) {
		assert_true(runs[i].count >= 1 && runs[i].count <= limits->run_blocks);
		assert_true(runs[i].first + runs[i].count <= n);
		for (u32 k = runs[i].first; k < runs[i].first + runs[i].count; k++) {
			assert_int_equal(c[k].kind, ML_KIND_MOVABLE);
			assert_true(c[k].used > 0 && c[k].used < ML_CENSUS_PAGES);
			assert_false(chosen[k]++);
		}
	}
	assert_true(price.blocks <= limits->blocks);
	assert_true(price.blocks <= ml_choose_room(c, n));
	assert_true(price.pages <= limits->pages);
	return price;
}

static void test_nothing_to_choose(void **state)
{
	struct ml_census c[8];
	struct ml_run runs[RUNS];
	(void)state;

	for (u32 p = 0; p < ML_CHOOSERS; p++) {
		ml_choose choose = ml_choosers[p].choose;

		assert_non_null(ml_choosers[p].name);
		assert_int_equal(choose(c, 0, &usual, runs, RUNS), 0);
		fill_all(c, 8, 0);	/* all free */
		assert_int_equal(choose(c, 8, &usual, runs, RUNS), 0);
		fill_all(c, 8, ML_CENSUS_PAGES);	/* all full */
		assert_int_equal(choose(c, 8, &usual, runs, RUNS), 0);
		fill_all(c, 8, 10);
		for (u32 i = 0; i < 8; i++)
			c[i].kind = i % 2 ? ML_KIND_FIXED : ML_KIND_ABSENT;
		assert_int_equal(choose(c, 8, &usual, runs, RUNS), 0);
		/* one block with holes: nowhere else to go */
		fill_all(c, 8, ML_CENSUS_PAGES);
		c[3].used = 5;
		assert_int_equal(choose(c, 8, &usual, runs, RUNS), 0);
	}
}

/* What is emptied must fit into the holes of the rest. */
static void test_room(void **state)
{
	struct ml_census c[8];
	struct ml_run runs[RUNS];
	(void)state;

	fill_all(c, 8, 128);
	assert_int_equal(ml_choose_room(c, 8), 6);
	fill_all(c, 2, 256);
	assert_int_equal(ml_choose_room(c, 2), 1);
	fill_all(c, 2, 257);
	assert_int_equal(ml_choose_room(c, 2), 0);
	/* a block that is stuck takes pages, one with kernel memory is not counted on */
	fill_all(c, 2, 256);
	c[1].kind = ML_KIND_STUCK;
	assert_int_equal(ml_choose_room(c, 2), 1);
	c[1].kind = ML_KIND_FIXED;
	assert_int_equal(ml_choose_room(c, 2), 0);
	for (u32 p = 0; p < ML_CHOOSERS; p++) {
		u32 count;

		fill_all(c, 8, 128);
		count = ml_choosers[p].choose(c, 8, &usual, runs, RUNS);
		assert_int_equal(check_choice(c, 8, &usual, runs, count).blocks, 6);
	}
}

static void test_limits_hold(void **state)
{
	static struct ml_census c[BLOCKS];
	struct ml_run runs[RUNS];
	(void)state;

	seed = 1;
	for (u32 round = 0; round < 300; round++) {
		struct ml_limits limits = usual;
		u32 n = 1 + chance(BLOCKS), most = 1 + chance(RUNS);

		fragment(c, n, chance(PATTERNS));
		for (u32 i = 0; i < n; i++)
			if (c[i].used && chance(3) == 0)
				c[i].dropped = chance(c[i].used + 1);
		limits.blocks = chance(100);
		limits.pages = chance(20000);
		limits.run_blocks = 1 + chance(20);
		limits.worth = chance(700);
		for (u32 p = 0; p < ML_CHOOSERS; p++) {
			u32 count = ml_choosers[p].choose(c, n, &limits, runs, most);

			assert_true(count <= most);
			check_choice(c, n, &limits, runs, count);
		}
	}
}

static void test_orders(void **state)
{
	struct ml_census c[6];
	struct ml_run runs[RUNS];
	struct ml_limits limits = usual;
	u32 count;
	(void)state;

	fill_all(c, 6, 200);
	c[1].used = 90;
	c[3].used = 10;
	c[4].used = 50;
	limits.blocks = 2;

	count = ml_choosers[ML_CHOOSE_ADDRESS].choose(c, 6, &limits, runs, RUNS);
	assert_int_equal(count, 1);
	assert_int_equal(runs[0].first, 0);
	assert_int_equal(runs[0].count, 2);

	count = ml_choosers[ML_CHOOSE_FEWEST].choose(c, 6, &limits, runs, RUNS);
	assert_int_equal(runs[0].first, 3);
	assert_int_equal(runs[0].count, 2);

	/* two apart are dearer than two together, if one call costs more than the pages */
	c[2].used = 300;
	c[4].used = 150;
	c[1].used = 40;
	count = ml_choosers[ML_CHOOSE_FEWEST].choose(c, 6, &limits, runs, RUNS);
	assert_int_equal(count, 2);
	assert_int_equal(runs[0].first, 3);
	assert_int_equal(runs[1].first, 1);
	count = ml_choosers[ML_CHOOSE_CHEAPEST].choose(c, 6, &limits, runs, RUNS);
	assert_int_equal(check_choice(c, 6, &limits, runs, count).blocks, 2);
	assert_int_equal(count, 1);
	assert_int_equal(runs[0].first, 3);
}

static void test_not_worth_it(void **state)
{
	struct ml_census c[40];
	struct ml_run runs[RUNS];
	struct ml_limits limits = usual;
	(void)state;

	fill_all(c, 40, 400);
	limits.worth = 384;
	assert_int_equal(ml_choosers[ML_CHOOSE_FEWEST].choose(c, 40, &limits, runs, RUNS), 0);
	assert_int_equal(ml_choosers[ML_CHOOSE_CHEAPEST].choose(c, 40, &limits, runs, RUNS), 0);
	/* few pages, but each would be read again */
	fill_all(c, 40, 100);
	for (u32 i = 0; i < 40; i++)
		c[i].dropped = 100;
	assert_int_equal(ml_choosers[ML_CHOOSE_FEWEST].choose(c, 40, &limits, runs, RUNS), 0);
	assert_int_equal(ml_choosers[ML_CHOOSE_CHEAPEST].choose(c, 40, &limits, runs, RUNS), 0);
}

/* The best set of runs of a few blocks, by trying all: cost for just `blocks` of them. */
static u64 best_cost(const struct ml_census *c, u32 n, const struct ml_limits *limits, u32 blocks)
{
	u64 best = UINT64_MAX;

	for (u32 set = 0; set < 1U << n; set++) {
		u64 cost = 0;

		if ((u32)__builtin_popcount(set) != blocks)
			continue;
		for (u32 i = 0; i < n; i++) {
			if (!(set >> i & 1))
				continue;
			if (c[i].kind != ML_KIND_MOVABLE || !c[i].used)
				cost = 1 << 30;
			cost += ml_block_cost(&c[i], limits);
			if (!i || !(set >> (i - 1) & 1))
				cost += limits->call_cost;
		}
		best = cost < best ? cost : best;
	}
	return best;
}

/* With no other limit than what a block is worth, the choice is the best there is. */
static void test_cheapest_is_best(void **state)
{
	struct ml_census c[12];
	struct ml_run runs[RUNS];
	u32 chosen = 0;
	(void)state;

	seed = 7;
	for (u32 round = 0; round < 200; round++) {
		struct ml_limits limits = usual;
		struct ml_price price;
		u32 count;

		limits.worth = 100 + chance(300);
		limits.call_cost = chance(300);
		fragment(c, 12, UNEVEN);
		/* much room elsewhere, that is not for choosing */
		c[0] = c[11] = block(ML_KIND_STUCK, 1);
		count = ml_choosers[ML_CHOOSE_CHEAPEST].choose(c, 12, &limits, runs, RUNS);
		price = check_choice(c, 12, &limits, runs, count);
		if (price.blocks == ml_choose_room(c, 12))
			continue;
		chosen += price.blocks;
		if (price.blocks)
			assert_int_equal(price.cost, best_cost(c, 12, &limits, price.blocks));
		/* one more or one less is no better at this price */
		for (u32 k = price.blocks ? price.blocks - 1 : 0; k <= price.blocks + 1 && k <= 10; k++)
			assert_true((s64)price.blocks * limits.worth - (s64)price.cost >=
				    (s64)k * limits.worth -
				    (k ? (s64)best_cost(c, 12, &limits, k) : 0));
	}
	assert_true(chosen > 100);
}

struct outcome {
	u64 pages, cost;
	u32 blocks, calls;
};

/* Move the pages of a block to random holes of blocks that are in use. */
static void empty(struct ml_census *c, u32 n, const struct ml_run *run)
{
	u32 pages = 0;

	for (u32 i = run->first; i < run->first + run->count; i++) {
		pages += c[i].used;
		c[i] = block(ML_KIND_FREE, 0);
	}
	for (u32 tries = 0; pages; tries++) {
		struct ml_census *to = &c[chance(n)];

		assert_true(tries < 1000000);
		if (to->kind == ML_KIND_MOVABLE && to->used < ML_CENSUS_PAGES &&
		    chance(ML_CENSUS_PAGES) < (u32)(ML_CENSUS_PAGES - to->used)) {
			to->used++;
			pages--;
		}
	}
}

/* Go on until so many blocks are free, or no more can be. */
static struct outcome work(u32 policy, enum pattern pattern, u64 which, u32 want)
{
	static struct ml_census c[BLOCKS];
	struct ml_run runs[RUNS];
	struct outcome o = { 0 };
	u32 count;

	seed = which;
	fragment(c, BLOCKS, pattern);
	do {
		struct ml_limits limits = usual;

		limits.blocks = limits.blocks < want - o.blocks ? limits.blocks : want - o.blocks;
		count = ml_choosers[policy].choose(c, BLOCKS, &limits, runs, RUNS);
		for (u32 i = 0; i < count; i++) {
			struct ml_price price = ml_choose_price(c, &runs[i], 1, &usual);

			o.pages += price.pages;
			o.cost += price.cost;
			o.blocks += price.blocks;
			o.calls++;
			empty(c, BLOCKS, &runs[i]);
		}
	} while (count && o.blocks < want);
	return o;
}

/* The comparison that the benchmark makes in real guests, without one. */
static void test_comparison(void **state)
{
	static const char * const names[PATTERNS] = { "quarter", "uneven", "build" };
	(void)state;

	for (u32 pattern = 0; pattern < PATTERNS; pattern++) {
		for (u32 want = 100; want <= 500; want += 200) {
			struct outcome sum[ML_CHOOSERS] = { 0 };

			for (u32 p = 0; p < ML_CHOOSERS; p++) {
				for (u64 which = 1; which <= 3; which++) {
					struct outcome o = work(p, pattern, which, want);

					assert_int_equal(o.blocks, want);
					sum[p].pages += o.pages;
					sum[p].cost += o.cost;
					sum[p].calls += o.calls;
				}
				printf("# %s, %u of %u blocks by %s: %llu pages, %u calls, cost %llu\n",
				       names[pattern], want, BLOCKS, ml_choosers[p].name,
				       (unsigned long long)sum[p].pages / 3, sum[p].calls / 3,
				       (unsigned long long)sum[p].cost / 3);
			}
			if (pattern == QUARTER)
				continue;
			/* Where blocks differ, to look at them pays. */
			assert_true(sum[ML_CHOOSE_FEWEST].pages < sum[ML_CHOOSE_ADDRESS].pages);
			assert_true(sum[ML_CHOOSE_CHEAPEST].pages < sum[ML_CHOOSE_ADDRESS].pages);
			assert_true(sum[ML_CHOOSE_CHEAPEST].cost <= sum[ML_CHOOSE_ADDRESS].cost);
			assert_true(sum[ML_CHOOSE_CHEAPEST].cost <= sum[ML_CHOOSE_FEWEST].cost);
		}
	}
}

static void test_strewn(void **state)
{
	struct ml_strewn s = { .total = 1024 * MIB };
	(void)state;

	assert_int_equal(ml_strewn_score(&s), 0);
	assert_false(ml_strewn_wanted(&s, false));
	/* all free memory in large pieces */
	s.free = s.whole = 900 * MIB;
	assert_int_equal(ml_strewn_score(&s), 0);
	/* half of what is left is free in pieces */
	s.free = 962 * MIB;
	assert_int_equal(ml_strewn_score(&s), 50);
	assert_true(ml_strewn_wanted(&s, false));
	/* much of it, but little in all */
	s.free = 930 * MIB;
	assert_false(ml_strewn_wanted(&s, true));
	/* between the marks: goes on, but does not begin */
	s.whole = 0;
	s.free = 70 * MIB;
	assert_true(ml_strewn_wanted(&s, true));
	assert_false(ml_strewn_wanted(&s, false));
	s.free = 40 * MIB;
	assert_false(ml_strewn_wanted(&s, true));
	/* counts that were read at different times */
	s = (struct ml_strewn){ .total = MIB, .free = 900 * MIB, .whole = 800 * MIB };
	assert_int_equal(ml_strewn_score(&s), 0);
	s = (struct ml_strewn){ .total = MIB, .free = 900 * MIB };
	assert_int_equal(ml_strewn_score(&s), 100);
	s = (struct ml_strewn){ .total = MIB, .whole = 900 * MIB };
	assert_false(ml_strewn_wanted(&s, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_choose),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_limits_hold),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_not_worth_it),
		cmocka_unit_test(test_cheapest_is_best),
		cmocka_unit_test(test_comparison),
		cmocka_unit_test(test_strewn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
