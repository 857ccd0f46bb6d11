// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/zero_plan: the bound, the use of late, and how much is kept clean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../host/pool/zero_plan.h"

#define S 1000000000ULL
#define MS 1000000ULL
#define MIB (1ULL << 20)

static const struct zero_bounds bounds = { .least_clean = 64, .most_clean = UINT32_MAX, .horizon_ms = 2000 };

static struct zero_plan plan(struct zero_view v)
{
	return zero_plan_make(&bounds, &v);
}

/* --- the bound --- */

static void no_bound_never_waits(void **state)
{
	struct zero_bucket b;

	(void)state;
	zero_bucket_init(&b, 0, 2 * MIB, 5);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(zero_bucket_take(&b, 2 * MIB, 5), 0);
}

static void starts_full_and_says_how_long(void **state)
{
	struct zero_bucket b;
	uint64_t wait;

	(void)state;
	zero_bucket_init(&b, 100 * MIB, 4 * MIB, 7 * S);
	assert_int_equal(zero_bucket_take(&b, 2 * MIB, 7 * S), 0);
	assert_int_equal(zero_bucket_take(&b, 2 * MIB, 7 * S), 0);
	wait = zero_bucket_take(&b, 2 * MIB, 7 * S);
	assert_in_range(wait, 20 * MS, 20 * MS + 1);
	/* Not one moment before, and at that moment. */
	assert_int_not_equal(zero_bucket_take(&b, 2 * MIB, 7 * S + wait - 2), 0);
	assert_int_equal(zero_bucket_take(&b, 2 * MIB, 7 * S + wait), 0);
}

static void saves_up_no_more_than_the_burst(void **state)
{
	struct zero_bucket b;
	int got = 0;

	(void)state;
	zero_bucket_init(&b, 100 * MIB, 8 * MIB, 0);
	while (!zero_bucket_take(&b, 2 * MIB, 3600 * S))
		got++;
	assert_int_equal(got, 4);
}

static void a_clock_that_stands_or_jumps_gives_nothing(void **state)
{
	struct zero_bucket b;

	(void)state;
	zero_bucket_init(&b, 100 * MIB, 2 * MIB, 10 * S);
	assert_int_equal(zero_bucket_take(&b, 2 * MIB, 10 * S), 0);
	assert_int_not_equal(zero_bucket_take(&b, 2 * MIB, 10 * S), 0);
	assert_int_not_equal(zero_bucket_take(&b, 2 * MIB, 1 * S), 0);
	assert_int_equal(zero_bucket_take(&b, 2 * MIB, 11 * S), 0);
}

/* However often one looks, and however slow the bound: the sum is what the bound says. */
static void looking_often_loses_nothing(void **state)
{
	static const uint64_t rates[] = { 3, 1000, 7 * MIB, 50ULL << 30 };

	(void)state;
	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		struct zero_bucket b;
		uint64_t got = 0, piece = rates[r] / 100 + 1, now = 0;

		zero_bucket_init(&b, rates[r], piece * 4, 0);
		for (; now < 10 * S; now += 77777) {
			while (!zero_bucket_take(&b, piece, now))
				got += piece;
		}
		assert_in_range(got, rates[r] * 10 - 2 * piece, rates[r] * 10 + 5 * piece);
	}
}

static void huge_numbers_do_not_overflow(void **state)
{
	struct zero_bucket b;

	(void)state;
	zero_bucket_init(&b, UINT64_MAX, UINT64_MAX, 0);
	assert_int_equal(zero_bucket_take(&b, UINT64_MAX, 0), 0);
	assert_in_range(zero_bucket_take(&b, UINT64_MAX, 0), S, S + 1);
	assert_int_equal(zero_bucket_take(&b, UINT64_MAX, UINT64_MAX), 0);
	zero_bucket_init(&b, 1, UINT64_MAX, 0);
	b.level_bytes = 0;
	assert_int_equal(zero_bucket_take(&b, UINT64_MAX, 0), 0);
}

/* --- the use of late --- */

static void use_is_what_a_sample_says(void **state)
{
	struct zero_use u;

	(void)state;
	zero_use_init(&u, 1000, 5 * S);
	/* A sample has a length: before, it says what was. */
	assert_int_equal(zero_use_note(&u, 1500, 5 * S + ZERO_USE_SAMPLE_NS - 1), 0);
	assert_int_equal(zero_use_note(&u, 1500, 6 * S), 500);
	assert_int_equal(zero_use_note(&u, 1500, 6 * S), 500);
}

static void use_fades_by_half_lives(void **state)
{
	struct zero_use u;

	(void)state;
	zero_use_init(&u, 0, 0);
	assert_int_equal(zero_use_note(&u, 1024, 1 * S), 1024);
	assert_int_equal(zero_use_note(&u, 1024, 1 * S + ZERO_USE_HALF_NS), 512);
	assert_int_equal(zero_use_note(&u, 1024, 1 * S + 2 * ZERO_USE_HALF_NS), 256);
	assert_int_equal(zero_use_note(&u, 1024, 1 * S + 64 * ZERO_USE_HALF_NS), 0);
}

/* Rounding must not keep a slow use up for ever by being looked at often. */
static void use_fades_however_often_one_looks(void **state)
{
	struct zero_use u;
	uint64_t before = UINT64_MAX, now;

	(void)state;
	zero_use_init(&u, 0, 0);
	for (now = S; now < 200 * S; now += 60 * MS) {
		uint64_t rate = zero_use_note(&u, 10, now);

		assert_true(rate <= before);
		before = rate;
	}
	assert_int_equal(before, 0);
}

static void use_rises_at_once(void **state)
{
	struct zero_use u;

	(void)state;
	zero_use_init(&u, 0, 0);
	assert_int_equal(zero_use_note(&u, 10, 1 * S), 10);
	assert_int_equal(zero_use_note(&u, 110, 1 * S + 100 * MS), 1000);
}

static void use_that_goes_back_is_none(void **state)
{
	struct zero_use u;

	(void)state;
	zero_use_init(&u, 100, 0);
	assert_int_equal(zero_use_note(&u, 50, 1 * S), 0);
	assert_int_equal(zero_use_note(&u, 60, 2 * S), 10);
}

/* --- how much --- */

static void rests_between_low_and_high(void **state)
{
	struct zero_plan p;

	(void)state;
	p = plan((struct zero_view){ .clean = 32, .dirty = 1000 });
	assert_int_equal(p.low, 32);
	assert_int_equal(p.high, 64);
	assert_false(p.work);
	assert_int_equal(p.want, 0);
	/* Under low it begins, and goes on to high. */
	p = plan((struct zero_view){ .clean = 31, .dirty = 1000 });
	assert_true(p.work);
	assert_int_equal(p.want, 33);
	p = plan((struct zero_view){ .clean = 50, .dirty = 1000, .working = true });
	assert_int_equal(p.want, 14);
	p = plan((struct zero_view){ .clean = 64, .dirty = 1000, .working = true });
	assert_false(p.work);
	assert_false(p.urgent);
}

static void what_is_in_hand_counts(void **state)
{
	struct zero_plan p;

	(void)state;
	p = plan((struct zero_view){ .clean = 20, .zeroing = 44, .dirty = 1000, .working = true });
	assert_int_equal(p.want, 0);
	assert_true(p.work);
	p = plan((struct zero_view){ .clean = 20, .zeroing = 40, .dirty = 2, .working = true });
	assert_int_equal(p.want, 2);
	p = plan((struct zero_view){ .clean = 0, .zeroing = 0, .dirty = 0, .working = true });
	assert_false(p.work);
	assert_int_equal(p.want, 0);
}

static void use_raises_both_marks(void **state)
{
	struct zero_plan p;

	(void)state;
	p = plan((struct zero_view){ .clean = 100, .dirty = 100000, .use_blocks_per_s = 3001 });
	assert_int_equal(p.high, 6002);
	assert_int_equal(p.low, 3001);
	assert_int_equal(p.want, 5902);
}

static void most_clean_bounds_all(void **state)
{
	struct zero_bounds b = { .least_clean = 64, .most_clean = 100, .horizon_ms = 2000 };
	struct zero_view v = { .clean = 10, .dirty = 100000, .use_blocks_per_s = UINT64_MAX };
	struct zero_plan p = zero_plan_make(&b, &v);

	(void)state;
	assert_int_equal(p.high, 100);
	assert_int_equal(p.want, 90);
	b.most_clean = 20;	/* less than the least: it holds too */
	p = zero_plan_make(&b, &v);
	assert_int_equal(p.high, 20);
	b.most_clean = UINT32_MAX;
	p = zero_plan_make(&b, &v);
	assert_int_equal(p.high, UINT32_MAX);
}

static void who_waits_gets_his_own(void **state)
{
	struct zero_bounds none = { .least_clean = 0, .most_clean = 0, .horizon_ms = 0 };
	struct zero_view v = { .clean = 0, .dirty = 10, .waiting = 3 };
	struct zero_plan p = zero_plan_make(&none, &v);

	(void)state;
	assert_true(p.urgent);
	assert_true(p.work);
	assert_int_equal(p.want, 3);
	/* Touches for which there are clean blocks enough do not wait for zeroing. */
	v.clean = 3;
	p = zero_plan_make(&none, &v);
	assert_false(p.urgent);
	assert_int_equal(p.want, 0);
	p = plan((struct zero_view){ .clean = 0, .dirty = 1000, .waiting = 3 });
	assert_int_equal(p.want, 67);
	/* Later touches should not have to wait either, but blocks to keep for later are not urgent. */
	p = plan((struct zero_view){ .clean = 34, .dirty = 1000, .waiting = 3, .working = true });
	assert_true(p.urgent);
	p = plan((struct zero_view){ .clean = 35, .dirty = 1000, .waiting = 3, .working = true });
	assert_false(p.urgent);
	assert_int_equal(p.want, 32);
	p = plan((struct zero_view){ .dirty = UINT32_MAX, .waiting = UINT32_MAX, .use_blocks_per_s = UINT64_MAX });
	assert_int_equal(p.want, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_bound_never_waits),
		cmocka_unit_test(starts_full_and_says_how_long),
		cmocka_unit_test(saves_up_no_more_than_the_burst),
		cmocka_unit_test(a_clock_that_stands_or_jumps_gives_nothing),
		cmocka_unit_test(looking_often_loses_nothing),
		cmocka_unit_test(huge_numbers_do_not_overflow),
		cmocka_unit_test(use_is_what_a_sample_says),
		cmocka_unit_test(use_fades_by_half_lives),
		cmocka_unit_test(use_fades_however_often_one_looks),
		cmocka_unit_test(use_rises_at_once),
		cmocka_unit_test(use_that_goes_back_is_none),
		cmocka_unit_test(rests_between_low_and_high),
		cmocka_unit_test(what_is_in_hand_counts),
		cmocka_unit_test(use_raises_both_marks),
		cmocka_unit_test(most_clean_bounds_all),
		cmocka_unit_test(who_waits_gets_his_own),
	};

	return cmocka_run_group_tests_name("zero_plan", tests, NULL, NULL);
}
