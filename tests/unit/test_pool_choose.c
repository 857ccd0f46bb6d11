// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/choose: which GiBs to empty, on pools made up and at random, and in a real one. */
#include "pool_rig.h"

#include "../../host/pool/choose.h"

#define AREAS 64
#define SHIFTS 4096

static const struct pool_limits no_limits = { .areas = UINT32_MAX, .blocks = UINT32_MAX,
					      .worth = UINT32_MAX };

/* A whole GiB of which so many blocks are lent, and of the others so many dirty. */
static struct pool_census area(uint32_t lent, uint32_t dirty, uint8_t range)
{
	return (struct pool_census){ .blocks = 512, .movable = (uint16_t)lent,
				     .dirty = (uint16_t)dirty, .range = range,
				     .clean = (uint16_t)(512 - lent - dirty) };
}

static struct pool_census some_area(uint64_t *seed)
{
	uint32_t lent = rig_random(seed, 4) ? rig_random(seed, 513) : 0;
	struct pool_census c = area(lent, rig_random(seed, 513 - lent), (uint8_t)rig_random(seed, 3));

	if (rig_random(seed, 6) == 0) {
		c.stuck = (uint16_t)rig_random(seed, c.movable + 1U);
		c.movable -= c.stuck;
		c.fixed = rig_random(seed, 2);
	}
	c.busy = rig_random(seed, 10) == 0;
	if (rig_random(seed, 10) == 0 && c.clean) {
		c.clean--;
		c.blocks--;
	}
	return c;
}

/* What holds of every plan, of any chooser. */
static void check_plan(const struct pool_census *c, uint32_t n, const struct pool_shift *s,
		       uint32_t count, const struct pool_limits *limits)
{
	uint32_t out[AREAS] = { 0 }, in[AREAS] = { 0 }, areas = 0, blocks = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_true(s[i].from < n && s[i].into < n && s[i].from != s[i].into);
		assert_true(s[i].count > 0);
		if (i == 0 || s[i - 1].from != s[i].from) {
			assert_int_equal(out[s[i].from], 0);	/* all of one area together */
			areas++;
		}
		out[s[i].from] += s[i].count;
		in[s[i].into] += s[i].count;
		blocks += s[i].count;
	}
	assert_true(areas <= limits->areas && blocks <= limits->blocks);
	for (uint32_t i = 0; i < n; i++) {
		if (out[i]) {
			assert_int_equal(out[i], c[i].movable);
			assert_int_equal(c[i].blocks, 512);
			assert_false(c[i].stuck || c[i].busy);
			assert_int_equal(in[i], 0);
		}
		if (in[i]) {
			assert_true(in[i] <= c[i].clean + c[i].dirty);
			assert_false(c[i].busy || c[i].fixed);
			assert_true(c[i].movable + c[i].stuck > 0);
		}
	}
}

static void plans_hold_at_random(void **state)
{
	struct pool_census c[AREAS], work[AREAS];
	struct pool_shift shifts[SHIFTS];
	uint32_t emptied[POOL_CHOOSERS] = { 0 };
	uint64_t seed = 42;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint32_t n = 1 + rig_random(&seed, AREAS), most;
		struct pool_limits limits = {
			.areas = rig_random(&seed, 2) ? UINT32_MAX : rig_random(&seed, 5),
			.blocks = rig_random(&seed, 2) ? UINT32_MAX : rig_random(&seed, 2000),
			.worth = rig_random(&seed, 2) ? UINT32_MAX : rig_random(&seed, 1000),
			.far_cost = rig_random(&seed, 4), .zero_percent = rig_random(&seed, 100),
		};

		for (uint32_t i = 0; i < n; i++)
			c[i] = some_area(&seed);
		most = rig_random(&seed, 4) ? SHIFTS : rig_random(&seed, 8);
		for (int k = 0; k < POOL_CHOOSERS; k++) {
			uint32_t count;

			memcpy(work, c, sizeof(c));
			count = pool_choosers[k].choose(work, n, &limits, shifts, most);
			assert_true(count <= most);
			check_plan(c, n, shifts, count, &limits);
			emptied[k] += pool_choose_price(c, shifts, count, &limits).areas;
		}
	}
	/* They do find something to do, and by address less than by number. */
	assert_true(emptied[POOL_CHOOSE_ADDRESS] > 1000);
	assert_true(emptied[POOL_CHOOSE_FEWEST] > emptied[POOL_CHOOSE_ADDRESS]);
}

/* The most areas that can be emptied within the limits, by trying all sets. */
static uint32_t best_count(const struct pool_census *c, uint32_t n, const struct pool_limits *limits)
{
	uint32_t best = 0;

	for (uint32_t set = 0; set < 1U << n; set++) {
		uint32_t moved = 0, room = 0, areas = (uint32_t)__builtin_popcount(set);
		bool can = true;

		for (uint32_t i = 0; i < n; i++) {
			if (set >> i & 1) {
				can = can && c[i].movable;
				moved += c[i].movable;
			} else if (c[i].movable) {
				room += c[i].clean + c[i].dirty;
			}
		}
		if (can && moved <= room && moved <= limits->blocks && areas > best)
			best = areas;
	}
	return best;
}

/* In one range and with everything clean, the fewest blocks first gain the most GiBs. */
static void nobody_gains_more(void **state)
{
	struct pool_census c[10], work[10];
	struct pool_shift shifts[SHIFTS];
	uint64_t seed = 99;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct pool_limits limits = no_limits;
		uint32_t n = 2 + rig_random(&seed, 9), count, best;

		if (rig_random(&seed, 2))
			limits.blocks = rig_random(&seed, 1500);
		for (uint32_t i = 0; i < n; i++)
			c[i] = area(rig_random(&seed, 513), 0, 0);
		best = best_count(c, n, &limits);
		for (int k = POOL_CHOOSE_FEWEST; k <= POOL_CHOOSE_CHEAPEST; k++) {
			memcpy(work, c, sizeof(c));
			count = pool_choosers[k].choose(work, n, &limits, shifts, SHIFTS);
			assert_int_equal(pool_choose_price(c, shifts, count, &limits).areas, best);
		}
	}
}

/* Dirty blocks must be zeroed before the GiB is of use, and far ones cost more to move. */
static void cheapest_counts_all_of_it(void **state)
{
	struct pool_census c[] = {
		area(100, 400, 0), area(110, 0, 0), area(500, 0, 0), area(300, 0, 0),
		area(90, 0, 1), area(512, 0, 1),
	};
	const struct pool_limits limits = { .areas = 1, .blocks = 10000, .worth = 10000,
					    .far_cost = 1, .zero_percent = 30 };
	struct pool_shift shifts[SHIFTS];
	struct pool_price fewest, cheapest;
	uint32_t count;

	(void)state;
	count = pool_choosers[POOL_CHOOSE_FEWEST].choose(c, 6, &limits, shifts, SHIFTS);
	assert_int_equal(shifts[0].from, 4);
	fewest = pool_choose_price(c, shifts, count, &limits);
	assert_int_equal(fewest.blocks, 90);
	assert_int_equal(fewest.cost, 90 + 90 + 27);	/* its own range has no room */
	count = pool_choosers[POOL_CHOOSE_CHEAPEST].choose(c, 6, &limits, shifts, SHIFTS);
	cheapest = pool_choose_price(c, shifts, count, &limits);
	assert_int_equal(shifts[0].from, 1);
	assert_int_equal(shifts[0].into, 2);		/* the fullest first */
	assert_int_equal(shifts[0].count, 12);
	assert_int_equal(shifts[1].into, 3);
	assert_int_equal(cheapest.cost, 110 + 33);
}

static void worth_and_limits(void **state)
{
	struct pool_census c[] = { area(200, 0, 0), area(100, 0, 0), area(300, 0, 0), area(10, 0, 0) };
	struct pool_limits limits = no_limits;
	struct pool_shift shifts[SHIFTS];

	(void)state;
	limits.worth = 9;
	assert_int_equal(pool_choosers[POOL_CHOOSE_FEWEST].choose(c, 4, &limits, shifts, SHIFTS), 0);
	assert_int_equal(pool_choosers[POOL_CHOOSE_CHEAPEST].choose(c, 4, &limits, shifts, SHIFTS), 0);
	limits.worth = 10;
	assert_int_equal(pool_choosers[POOL_CHOOSE_FEWEST].choose(c, 4, &limits, shifts, SHIFTS), 1);
	assert_int_equal(shifts[0].from, 3);
	assert_int_equal(shifts[0].into, 2);
	limits.worth = UINT32_MAX;
	limits.areas = 0;
	for (int k = 0; k < POOL_CHOOSERS; k++)
		assert_int_equal(pool_choosers[k].choose(c, 4, &limits, shifts, SHIFTS), 0);
	/* By address: the last into the first ones. */
	limits.areas = 1;
	assert_int_equal(pool_choosers[POOL_CHOOSE_ADDRESS].choose(c, 4, &limits, shifts, SHIFTS), 1);
	assert_int_equal(shifts[0].from, 3);
	assert_int_equal(shifts[0].into, 0);
}

/* Carry a plan out, as a backend with memory of its own does. */
static void a_pool_is_compacted(void **state)
{
	struct pool_rig *r = *state;
	struct pool_census census[16];
	struct pool_shift shifts[SHIFTS];
	uint32_t count, lent, whole, clean, blocks[POOL_AREA_BLOCKS], had[16 * 512];
	uint64_t seed = 3;

	rig_anew(r, 16 * 512, true);
	for (uint32_t i = 0; i < 16 * 512; i++)
		had[i] = pool_get(r->user, owner_of(1, i));
	for (uint32_t i = 0; i < 16 * 512; i++) {
		if (rig_random(&seed, 10) >= 4)
			pool_put(r->user, had[i]);
	}
	lent = count_of(r, BLOCK_LENT);
	pool_rest(r->user);
	pool_take_census(&r->pool, census, 16, UINT32_MAX);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(census[i].movable + census[i].clean, 512);
	count = pool_choosers[POOL_CHOOSE_CHEAPEST].choose(census, 16, &no_limits, shifts, SHIFTS);
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || shifts[i - 1].from != shifts[i].from)
			assert_int_equal(pool_area_close(&r->pool, shifts[i].from), 0);
		assert_int_equal(pool_area_lent(&r->pool, shifts[i].from, blocks, shifts[i].count),
				 shifts[i].count);
		for (uint32_t k = 0; k < shifts[i].count; k++) {
			uint32_t to = pool_move_begin(r->user, blocks[k], shifts[i].into);

			assert_int_equal(pool_area_of(&r->pool, to), shifts[i].into);
			pool_move_end(r->user, blocks[k], to);
		}
		if (i == count - 1 || shifts[i + 1].from != shifts[i].from)
			pool_area_open(&r->pool, shifts[i].from);
	}
	pool_validate(&r->pool);
	assert_int_equal(count_of(r, BLOCK_LENT), lent);
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, 16 - (lent + 511) / 512);
}

/* What is not worth emptying is not looked at one by one, and takes blocks in all the same. */
static void a_census_looks_where_it_is_worth_it(void **state)
{
	const struct pool_limits limits = { .areas = 4, .blocks = UINT32_MAX, .worth = 64 };
	struct pool_rig *r = *state;
	struct pool_census all[4], some[4];
	struct pool_shift shifts[SHIFTS];

	rig_anew(r, 4 * 512, true);
	for (uint32_t i = 0; i < 4 * 512; i++)
		pool_get(r->user, owner_of(1, i));
	for (uint32_t b = 0; b < 4 * 512; b++) {
		if (b % 512 >= (b / 512 + 1) * 50)
			pool_put(r->user, b);
	}
	pool_retire(r->user, 3 * 512);
	pool_rest(r->user);
	pool_take_census(&r->pool, all, 4, UINT32_MAX);
	pool_take_census(&r->pool, some, 4, 64);
	assert_int_equal(some[0].movable, 50);
	for (uint32_t i = 1; i < 4; i++) {
		assert_int_equal(some[i].movable, 0);
		assert_int_equal(some[i].stuck, all[i].movable);
		assert_int_equal(some[i].clean, all[i].clean);
		assert_int_equal(some[i].blocks, all[i].blocks);
	}
	assert_int_equal(pool_choosers[POOL_CHOOSE_CHEAPEST].choose(some, 4, &limits, shifts, SHIFTS), 1);
	assert_int_equal(shifts[0].from, 0);
	assert_int_equal(shifts[0].into, 3);
	assert_int_equal(shifts[0].count, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_hold_at_random), cmocka_unit_test(nobody_gains_more),
		cmocka_unit_test(cheapest_counts_all_of_it), cmocka_unit_test(worth_and_limits),
		RIG_TEST(a_pool_is_compacted),
		RIG_TEST(a_census_looks_where_it_is_worth_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
