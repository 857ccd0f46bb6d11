// SPDX-License-Identifier: GPL-2.0-or-later
/* When the guest gives back, unasked, what it has borrowed and does not need. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../guest/think/pure.c"
#include "../../guest/think/spare.c"

#define MIB		(1ULL << 20)
#define GIB		(1ULL << 30)
#define LOOK_MS		5000
#define AFTER_MS	180000

/* A guest, and time that goes on from look to look. */
struct guest {
	struct ml_spare spare;
	struct ml_spare_look look;
	struct ml_marks marks;
};

static struct guest guest_with(u64 available)
{
	return (struct guest){
		.look = {
			.now_ms = 1000000, .given = 4 * GIB, .available = available, .large = available,
			.stock = 64 * MIB, .mb_bytes = 128 * MIB, .after_ms = AFTER_MS,
		},
		.marks = ml_marks_of(4 * GIB, 0, 128 * MIB),
	};
}

/* Looks until a block may go, at most for so long; ms that it took, or that and more. */
static u64 waits(struct guest *g, u64 most_ms)
{
	u64 began = g->look.now_ms;

	while (g->look.now_ms - began <= most_ms) {
		g->look.now_ms += LOOK_MS;
		if (ml_spare_may(&g->spare, &g->look, &g->marks))
			break;
	}
	return g->look.now_ms - began;
}

static void a_block_goes(struct guest *g)
{
	ml_spare_returned(&g->spare, g->look.now_ms);
	g->look.available -= g->look.mb_bytes;
	g->look.large -= g->look.mb_bytes;
}

static void grows(struct guest *g)
{
	g->look.given += g->look.mb_bytes;
}

static void waits_some_minutes_and_goes_on(void **state)
{
	struct guest g = guest_with(3 * GIB);
	(void)state;

	assert_in_range(waits(&g, GIB), AFTER_MS, AFTER_MS + 2 * LOOK_MS);
	a_block_goes(&g);
	/* The next ones soon after, while there is too much. */
	assert_int_equal(waits(&g, GIB), LOOK_MS);
	a_block_goes(&g);
	g.look.available = g.marks.high + 255 * MIB;
	assert_true(waits(&g, 10 * AFTER_MS) > 10 * AFTER_MS);
	g.look.available = g.look.large = g.marks.high + 256 * MIB;
	assert_in_range(waits(&g, GIB), AFTER_MS, AFTER_MS + 2 * LOOK_MS);
}

static void never(void **state)
{
	struct guest g = guest_with(3 * GIB);
	(void)state;

	g.look.after_ms = 0;
	assert_true(waits(&g, 100 * AFTER_MS) > 100 * AFTER_MS);
}

static void large_pages_are_kept_too(void **state)
{
	struct guest g = guest_with(3 * GIB);
	(void)state;

	g.look.large = g.look.stock + 255 * MIB;
	assert_true(waits(&g, 10 * AFTER_MS) > 10 * AFTER_MS);
}

static void who_grows_begins_anew(void **state)
{
	struct guest g = guest_with(3 * GIB);
	(void)state;

	assert_true(waits(&g, AFTER_MS - 3 * LOOK_MS) > AFTER_MS - 3 * LOOK_MS);
	grows(&g);
	assert_in_range(waits(&g, GIB), AFTER_MS, AFTER_MS + 2 * LOOK_MS);
}

static void who_was_robbed_is_left_alone_for_longer(void **state)
{
	struct guest g = guest_with(3 * GIB);
	u64 times;
	(void)state;

	waits(&g, GIB);
	for (times = 2; times <= 16; times *= 2) {
		a_block_goes(&g);
		grows(&g);
		assert_in_range(waits(&g, GIB), times * AFTER_MS, times * AFTER_MS + 2 * LOOK_MS);
	}
	/* Not longer than that, */
	a_block_goes(&g);
	grows(&g);
	assert_in_range(waits(&g, GIB), 16 * AFTER_MS, 16 * AFTER_MS + 2 * LOOK_MS);
	/* and not for ever. */
	a_block_goes(&g);
	g.look.available = 0;
	assert_true(waits(&g, 4 * 16 * AFTER_MS) > 4 * 16 * AFTER_MS);
	g.look.available = 3 * GIB;
	assert_in_range(waits(&g, GIB), AFTER_MS, AFTER_MS + 2 * LOOK_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_some_minutes_and_goes_on),
		cmocka_unit_test(never),
		cmocka_unit_test(large_pages_are_kept_too),
		cmocka_unit_test(who_grows_begins_anew),
		cmocka_unit_test(who_was_robbed_is_left_alone_for_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
