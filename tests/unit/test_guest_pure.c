// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pure parts of the guest driver, compiled for user space: which slots pages
 * cover, how much to grow, what a target asks for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../guest/think/pure.c"

#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)
#define SLOT	MEMLEASE_BLOCK_BYTES

static const struct ml_layout layout = { .window_addr = 4 * GIB, .window_bytes = 3 * GIB };

static void expect_span(const struct ml_span *span, u32 region, u64 first, u32 count)
{
	assert_int_equal(span->region, region);
	assert_int_equal(span->first, first);
	assert_int_equal(span->count, count);
}

static void test_spans_of_whole_blocks(void **state)
{
	struct ml_span s[4];
	(void)state;

	assert_int_equal(ml_spans_add(&layout, s, 0, 6 * SLOT, SLOT), 1);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 6, 1);
	assert_int_equal(ml_spans_add(&layout, s, 0, 4 * GIB + 2 * SLOT, 2 * SLOT), 1);
	expect_span(&s[0], MEMLEASE_REGION_WINDOW, 2, 2);
}

static void test_spans_leave_out_what_is_not_whole(void **state)
{
	struct ml_span s[4];
	(void)state;

	assert_int_equal(ml_spans_add(&layout, s, 0, 4096, SLOT), 0);
	assert_int_equal(ml_spans_add(&layout, s, 0, 0, SLOT - 1), 0);
	assert_int_equal(ml_spans_add(&layout, s, 0, 4096, 3 * SLOT - 4096), 1);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 1, 2);
	assert_int_equal(ml_spans_add(&layout, s, 0, 5 * SLOT, 0), 0);
}

static void test_spans_outside_and_across(void **state)
{
	struct ml_span s[4];
	(void)state;

	/* above the window: nobody's */
	assert_int_equal(ml_spans_add(&layout, s, 0, 7 * GIB, SLOT), 0);
	/* the last slot of the window, and beyond */
	assert_int_equal(ml_spans_add(&layout, s, 0, 7 * GIB - SLOT, 4 * SLOT), 1);
	expect_span(&s[0], MEMLEASE_REGION_WINDOW, 3 * GIB / SLOT - 1, 1);
	/* across the lower edge: one of each */
	assert_int_equal(ml_spans_add(&layout, s, 0, 4 * GIB - SLOT, 2 * SLOT), 2);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 4 * GIB / SLOT - 1, 1);
	expect_span(&s[1], MEMLEASE_REGION_WINDOW, 0, 1);
	/* wrapping around */
	assert_int_equal(ml_spans_add(&layout, s, 0, ~0ULL - SLOT + 1, 2 * SLOT), 0);
}

static void test_spans_grow_the_last(void **state)
{
	struct ml_span s[4];
	u32 n;
	(void)state;

	n = ml_spans_add(&layout, s, 0, 10 * SLOT, SLOT);
	n = ml_spans_add(&layout, s, n, 11 * SLOT, SLOT);
	n = ml_spans_add(&layout, s, n, 8 * SLOT, 2 * SLOT);
	assert_int_equal(n, 1);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 8, 4);
	n = ml_spans_add(&layout, s, n, 20 * SLOT, SLOT);
	assert_int_equal(n, 2);
}

static void test_join_sorts_and_merges(void **state)
{
	struct ml_span s[] = {
		{ MEMLEASE_REGION_WINDOW, 2, 4 },
		{ MEMLEASE_REGION_BOOT, 1, 9 },
		{ MEMLEASE_REGION_WINDOW, 4, 0 },
		{ MEMLEASE_REGION_BOOT, 1, 7 },
		{ MEMLEASE_REGION_BOOT, 1, 8 },
	};
	(void)state;

	assert_int_equal(ml_spans_join(s, 5), 2);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 7, 3);
	expect_span(&s[1], MEMLEASE_REGION_WINDOW, 0, 6);
	assert_int_equal(ml_spans_join(s, 0), 0);
}

static void test_join_keeps_regions_apart(void **state)
{
	struct ml_span s[] = { { MEMLEASE_REGION_WINDOW, 1, 1 }, { MEMLEASE_REGION_BOOT, 1, 0 } };
	(void)state;

	assert_int_equal(ml_spans_join(s, 2), 2);
	expect_span(&s[0], MEMLEASE_REGION_BOOT, 0, 1);
	expect_span(&s[1], MEMLEASE_REGION_WINDOW, 1, 1);
}

static void test_trim_window(void **state)
{
	struct ml_layout odd = { .window_addr = 4 * GIB + 2 * MIB, .window_bytes = GIB };
	struct ml_layout empty = { .window_addr = 4 * GIB, .window_bytes = 0 };
	u64 addr = 7;
	(void)state;

	assert_int_equal(ml_trim_window(&layout, 0, 64 * GIB, 128 * MIB, &addr), 24);
	assert_int_equal(addr, 4 * GIB);
	/* both edges off: the first whole block begins later, the last ends earlier */
	assert_int_equal(ml_trim_window(&odd, 0, 64 * GIB, 128 * MIB, &addr), 7);
	assert_int_equal(addr, 4 * GIB + 128 * MIB);
	/* the kernel can map only a part */
	assert_int_equal(ml_trim_window(&layout, 5 * GIB, 6 * GIB - 1, 128 * MIB, &addr), 8);
	assert_int_equal(addr, 5 * GIB);
	addr = 7;
	assert_int_equal(ml_trim_window(&layout, 0, 4 * GIB - 1, 128 * MIB, &addr), 0);
	assert_int_equal(ml_trim_window(&layout, 8 * GIB, ~0ULL, 128 * MIB, &addr), 0);
	assert_int_equal(ml_trim_window(&layout, 0, ~0ULL, 4 * GIB, &addr), 0);
	assert_int_equal(ml_trim_window(&empty, 0, ~0ULL, 128 * MIB, &addr), 0);
	assert_int_equal(addr, 7);
	assert_int_equal(ml_trim_window(&layout, 0, ~0ULL, 2 * GIB, &addr), 1);
}

static void test_marks_are_in_order(void **state)
{
	u64 total;
	(void)state;

	for (total = 64 * MIB; total <= 1024 * GIB; total *= 2) {
		struct ml_marks m = ml_marks_of(total, 0, 128 * MIB);

		assert_true(m.reserve < m.low);
		assert_true(m.kernel < m.low);
		assert_true(m.low < m.high);
		assert_true(m.high <= m.low + 4 * 128 * MIB);
	}
	assert_int_equal(ml_marks_of(GIB, 300 * MIB, 128 * MIB).low, 300 * MIB);
	assert_int_equal(ml_marks_of(256 * MIB, 0, 128 * MIB).low, 128 * MIB);
	assert_int_equal(ml_marks_of(1024 * GIB, 0, 128 * MIB).low, GIB);
}

static void test_room(void **state)
{
	(void)state;

	assert_int_equal(ml_room(1536, MEMLEASE_NO_TARGET, 0, 64, 24, false), 24);
	assert_int_equal(ml_room(1536, MEMLEASE_NO_TARGET, 1500, 64, 24, false), 0);
	assert_int_equal(ml_room(1536, MEMLEASE_NO_TARGET, 1472, 64, 24, false), 1);
	assert_int_equal(ml_room(1536, MEMLEASE_NO_TARGET, 0, 64, 3, false), 3);
	/* a target stops growing, but for the last resort */
	assert_int_equal(ml_room(1536, 640, 640, 64, 24, false), 0);
	assert_int_equal(ml_room(1536, 640, 640, 64, 24, true), 14);
	assert_int_equal(ml_room(1536, 640, 512, 64, 24, false), 2);
	/* the limit was lowered under what is held */
	assert_int_equal(ml_room(64, MEMLEASE_NO_TARGET, 640, 64, 24, true), 0);
	assert_int_equal(ml_room(1536, MEMLEASE_NO_TARGET, 0, 0, 24, true), 0);
}

static struct ml_need need_of(u64 available, u64 rate, u32 room, bool urgent)
{
	return (struct ml_need){ .available = available, .rate = rate, .mb_bytes = 128 * MIB,
				 .room = room, .step = 16, .urgent = urgent };
}

static void test_grow_want(void **state)
{
	struct ml_marks m = ml_marks_of(GIB, 128 * MIB, 128 * MIB);	/* high: 192 MiB */
	struct ml_need n;
	(void)state;

	n = need_of(128 * MIB, 0, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 0);
	n = need_of(127 * MIB, 0, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 1);
	n = need_of(0, 0, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 2);
	/* what 200 ms will take counts too */
	n = need_of(256 * MIB, 5 * GIB, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 8);
	n = need_of(0, 1000 * GIB, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 16);
	n = need_of(0, 1000 * GIB, 3, false);
	assert_int_equal(ml_grow_want(&n, &m), 3);
	n = need_of(0, 0, 0, true);
	assert_int_equal(ml_grow_want(&n, &m), 0);
	/* out of memory though much seems available */
	n = need_of(GIB, 0, 24, true);
	assert_int_equal(ml_grow_want(&n, &m), 1);
}

static void test_growing_comes_to_rest(void **state)
{
	struct ml_marks m = ml_marks_of(GIB, 0, 128 * MIB);
	u64 available;
	(void)state;

	/* Adding what is wanted leaves nothing wanted, wherever it began. */
	for (available = 0; available < GIB; available += 7 * MIB) {
		struct ml_need n = need_of(available, 0, 24, false);

		n.available += ml_grow_want(&n, &m) * n.mb_bytes;
		assert_int_equal(ml_grow_want(&n, &m), 0);
	}
}

static void test_rate(void **state)
{
	(void)state;

	assert_int_equal(ml_rate(0, 100 * MIB, 50 * MIB, 0, 1000000), 50 * MIB);
	/* what was added and is gone was used */
	assert_int_equal(ml_rate(0, 100 * MIB, 100 * MIB, 128 * MIB, 500000), 256 * MIB);
	/* falls by halves */
	assert_int_equal(ml_rate(64 * MIB, 100, 100, 0, 1000), 32 * MIB);
	assert_int_equal(ml_rate(64 * MIB, 0, GIB, 0, 1000), 32 * MIB);
	/* a moment counts as 20 ms */
	assert_int_equal(ml_rate(0, 2 * MIB, MIB, 0, 1), 50 * MIB);
	assert_int_equal(ml_rate(0, 2 * MIB, MIB, 0, 0), 50 * MIB);
}

static void test_rate_sudden(void **state)
{
	(void)state;
	assert_true(ml_rate_sudden(0, 2 * GIB, 300 * MIB, 128 * MIB));
	/* As fast as it was, or slow. */
	assert_false(ml_rate_sudden(2 * GIB, 2 * GIB, 300 * MIB, 128 * MIB));
	assert_false(ml_rate_sudden(0, 64 * MIB, 300 * MIB, 128 * MIB));
	/* No time for it. */
	assert_false(ml_rate_sudden(0, 2 * GIB, 128 * MIB - 1, 128 * MIB));
}

static void test_look(void **state)
{
	(void)state;

	assert_int_equal(ml_look_ms(GIB, 128 * MIB, 0), 500);
	assert_int_equal(ml_look_ms(128 * MIB, 128 * MIB, 1), 4);
	assert_int_equal(ml_look_ms(328 * MIB, 128 * MIB, 1000 * MIB), 100);
	assert_int_equal(ml_look_ms(129 * MIB, 128 * MIB, GIB * 100), 4);
	assert_int_equal(ml_look_ms(GIB, 128 * MIB, 1), 500);
}

static void test_shrink(void **state)
{
	(void)state;

	assert_true(ml_may_shrink(160 * MIB, 128 * MIB, 32 * MIB));
	assert_false(ml_may_shrink(159 * MIB, 128 * MIB, 32 * MIB));
	assert_false(ml_may_shrink(100 * MIB, 128 * MIB, 0));
}

static void test_backoff(void **state)
{
	u32 ms = 0;
	(void)state;

	assert_int_equal(ml_pace_us(0), 0);
	assert_int_equal(ml_pace_us(1000000), 19000);	/* 1 ms of work, 19 ms for programs */
	assert_int_equal(ml_pace_us(3600ULL * 1000000000), ML_PACE_MAX_US);
	ms = ml_backoff_ms(ms, 200, 5000);
	assert_int_equal(ms, 200);
	ms = ml_backoff_ms(ms, 200, 5000);
	assert_int_equal(ms, 400);
	assert_int_equal(ml_backoff_ms(4000, 200, 5000), 5000);
	assert_int_equal(ml_backoff_ms(0xffffffff, 200, 5000), 5000);
}

static void test_words(void **state)
{
	u32 i;
	(void)state;

	for (i = MEMLEASE_WHY_OK; i <= MEMLEASE_WHY_WITHDRAWN; i++)
		assert_null(strstr(ml_reason_text(i), "does not know"));
	assert_non_null(strstr(ml_reason_text(MEMLEASE_WHY_WITHDRAWN + 1), "does not know"));
	for (i = MEMLEASE_BROKEN_NOT; i <= MEMLEASE_BROKEN_TOUCH; i++)
		assert_null(strstr(ml_broken_text(i), "does not know"));
	assert_non_null(strstr(ml_broken_text(MEMLEASE_BROKEN_TOUCH + 1), "does not know"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spans_of_whole_blocks),
		cmocka_unit_test(test_spans_leave_out_what_is_not_whole),
		cmocka_unit_test(test_spans_outside_and_across),
		cmocka_unit_test(test_spans_grow_the_last),
		cmocka_unit_test(test_join_sorts_and_merges),
		cmocka_unit_test(test_join_keeps_regions_apart),
		cmocka_unit_test(test_trim_window),
		cmocka_unit_test(test_marks_are_in_order),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_grow_want),
		cmocka_unit_test(test_growing_comes_to_rest),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_sudden),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
