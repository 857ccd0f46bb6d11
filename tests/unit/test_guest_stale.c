// SPDX-License-Identifier: GPL-2.0-or-later
/* When free memory is reported anew, because the host backs it all the same. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../guest/think/stale.c"

#define HIDDEN	40	/* blocks that a guest holds and never touched */
#define DUMP	900
#define MIN_MS	60000
#define HOUR_MS	(60 * MIN_MS)

/* A guest, and a time that goes on from look to look. */
struct guest {
	struct ml_stale stale;
	u64 now_ms;
	u64 next_ms;		/* of the next look */
	s64 hidden;
	s64 backed;		/* free and reported, and backed all the same */
	u32 times;
};

/* One look. Reporting anew brings back what is backed. */
static bool look(struct guest *g, bool asked)
{
	struct ml_stale_look l = { .now_ms = g->now_ms, .hidden = g->hidden - g->backed, .asked = asked };
	struct ml_stale_want want = ml_stale_think(&g->stale, &l);

	assert_true(want.look_ms >= 1000 && want.look_ms <= MIN_MS);
	g->next_ms = g->now_ms + want.look_ms;
	g->times += want.anew;
	if (want.anew)
		g->backed = 0;
	return want.anew;
}

/* Looks as they come, until it was reported anew, for so long at most. Milliseconds that it took. */
static u64 waits(struct guest *g, u64 most_ms)
{
	u64 began = g->now_ms;
	bool done = false;

	while (!done && g->next_ms - began <= most_ms) {
		g->now_ms = g->next_ms;
		done = look(g, false);
	}
	return done ? g->now_ms - began : UINT64_MAX;
}

static struct guest settled(void)
{
	struct guest g = { .now_ms = 5000, .hidden = HIDDEN };

	assert_true(look(&g, false));
	assert_int_equal(waits(&g, MIN_MS), UINT64_MAX);
	assert_int_equal(g.times, 1);
	return g;
}

static void what_was_touched_goes_back_within_a_minute(void **state)
{
	struct guest g = settled();

	(void)state;
	g.now_ms += 2 * MIN_MS, g.next_ms = g.now_ms;
	for (int i = 0; i < 5; i++) {
		g.backed = DUMP;
		assert_true(waits(&g, HOUR_MS) <= MIN_MS);
		assert_int_equal(g.backed, 0);
		assert_int_equal(waits(&g, HOUR_MS), UINT64_MAX);
	}
	assert_int_equal(g.times, 6);
}

static void asked_it_goes_back_at_once_and_a_few_blocks_are_enough(void **state)
{
	struct guest g = settled();

	(void)state;
	g.backed = 5;
	assert_int_equal(waits(&g, HOUR_MS), UINT64_MAX);
	assert_true(look(&g, true));
	/* Once more, so soon: a moment later. */
	g.now_ms += 2000;
	look(&g, false);
	g.backed = 5;
	assert_false(look(&g, true));
	assert_true(waits(&g, HOUR_MS) <= 15000);
	assert_int_equal(g.backed, 0);
}

static void who_asks_again_and_again_in_vain_costs_nothing(void **state)
{
	struct guest g = settled();

	(void)state;
	for (int i = 0; i < 36000; i++) {
		g.now_ms += 100;
		assert_false(look(&g, true));
	}
}

static void what_is_touched_before_the_first_time_is_judged_goes_back_too(void **state)
{
	struct guest g = { .now_ms = 5000, .hidden = HIDDEN };

	(void)state;
	assert_true(look(&g, false));
	g.backed = DUMP;
	assert_true(waits(&g, HOUR_MS) <= MIN_MS);
	assert_int_equal(g.backed, 0);
	assert_int_equal(waits(&g, HOUR_MS), UINT64_MAX);
	g.backed = DUMP;
	assert_true(waits(&g, HOUR_MS) <= MIN_MS);
}

static void what_was_freed_just_now_is_none(void **state)
{
	struct guest g = settled();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		g.now_ms = g.next_ms;
		g.backed = i % 3 ? 400 : 0;
		assert_false(look(&g, false));
	}
}

static void a_memory_block_on_its_way_is_none(void **state)
{
	struct guest g = settled();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		g.now_ms = g.next_ms;
		g.hidden = HIDDEN + (i % 2 ? 64 : 0);
		assert_false(look(&g, false));
	}
}

static void mistakes_become_rare(void **state)
{
	struct guest g = settled();
	u32 before = g.times;

	(void)state;
	/* A guest that uses, bit by bit, what it holds, and gets as much again. */
	for (u64 end = g.now_ms + 24 * HOUR_MS; g.now_ms < end;) {
		g.now_ms = g.next_ms;
		g.hidden = g.now_ms / (2 * MIN_MS) % 2 ? HIDDEN : HIDDEN + 64;
		look(&g, false);
	}
	assert_in_range(g.times - before, 1, 60);
	/* And one that was right makes the next one soon again. */
	g.hidden = HIDDEN;
	waits(&g, HOUR_MS);
	waits(&g, MIN_MS);
	g.backed = DUMP;
	waits(&g, HOUR_MS);
	assert_int_equal(g.backed, 0);
	assert_int_equal(waits(&g, 2 * MIN_MS), UINT64_MAX);
	g.backed = DUMP;
	assert_true(waits(&g, HOUR_MS) <= MIN_MS);
}

static void what_seems_stale(void **state)
{
	(void)state;
	assert_int_equal(ml_stale_blocks(40, -860), 900);
	assert_int_equal(ml_stale_blocks(40, 38), 0);
	assert_int_equal(ml_stale_blocks(-5, 40), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_touched_goes_back_within_a_minute),
		cmocka_unit_test(asked_it_goes_back_at_once_and_a_few_blocks_are_enough),
		cmocka_unit_test(who_asks_again_and_again_in_vain_costs_nothing),
		cmocka_unit_test(what_is_touched_before_the_first_time_is_judged_goes_back_too),
		cmocka_unit_test(what_was_freed_just_now_is_none),
		cmocka_unit_test(a_memory_block_on_its_way_is_none),
		cmocka_unit_test(mistakes_become_rare),
		cmocka_unit_test(what_seems_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
