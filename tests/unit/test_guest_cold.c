// SPDX-License-Identifier: GPL-2.0-or-later
/* When the guest gives up page cache that nobody uses, and how much. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "../../guest/think/pure.c"
#include "../../guest/think/cold.c"

#define MIB	(1ULL << 20)
#define LOOK_MS	2000

/* A guest with a page cache, and time that goes on from look to look. */
struct guest {
	struct ml_cold cold;
	struct ml_cold_look look;
};

static struct guest guest_with(u64 file)
{
	return (struct guest){ .look = { .now_ms = 1000000, .file = file, .unused = file } };
}

/* A look; what it asks for goes. */
static u64 look(struct guest *g)
{
	u64 want;

	g->look.now_ms += LOOK_MS;
	want = ml_cold_want(&g->cold, &g->look);
	assert_true(want <= g->look.unused);
	g->look.file -= want;
	g->look.unused -= want;
	g->cold.file = g->look.file;
	return want;
}

static u64 looks(struct guest *g, u32 n)
{
	u64 sum = 0;

	while (n--)
		sum += look(g);
	return sum;
}

static void waits_until_it_is_quiet(void **state)
{
	struct guest g = guest_with(400 * MIB);
	(void)state;

	assert_int_equal(look(&g), 0);
	for (int i = 0; i < 20; i++) {
		g.look.file += 10 * MIB;
		g.look.unused += 10 * MIB;
		assert_int_equal(look(&g), 0);
	}
	assert_int_equal(looks(&g, 2), 0);
	assert_true(look(&g) > 0);
}

static void takes_a_share_at_a_time_and_all_in_the_end(void **state)
{
	struct guest g = guest_with(400 * MIB);
	u64 first;
	(void)state;

	looks(&g, 3);
	first = look(&g);
	assert_true(first > 0 && first <= 100 * MIB);
	looks(&g, 15);
	assert_true(g.look.unused < 8 * MIB);
	assert_int_equal(looks(&g, 5), 0);
}

static void leaves_it_to_who_takes_memory(void **state)
{
	struct guest g = guest_with(400 * MIB);
	(void)state;

	g.look.rate = 100 * MIB;
	assert_int_equal(looks(&g, 30), 0);
	g.look.rate = 0;
	assert_true(looks(&g, 4) > 0);
}

/* Who reads it again soon made it known: not so soon again, and longer each time. */
static void learns_from_mistakes(void **state)
{
	struct guest g = guest_with(400 * MIB);
	u64 quiet[3];
	(void)state;

	for (int i = 0; i < 3; i++) {
		u64 n = 0;

		while (!look(&g))
			n++;
		quiet[i] = n;
		g.look.again += 20 * MIB;
		g.look.file += 20 * MIB;
		g.look.unused += 20 * MIB;
	}
	assert_true(quiet[1] >= 60000 / LOOK_MS - 2);
	assert_true(quiet[2] >= 120000 / LOOK_MS - 2);
}

static void a_mistake_is_forgiven(void **state)
{
	struct guest g = guest_with(400 * MIB);
	(void)state;

	looks(&g, 4);
	g.look.again += 20 * MIB;
	look(&g);
	assert_true(g.cold.pause_ms > 0);
	looks(&g, 100);
	assert_int_equal(g.cold.pause_ms, 0);
}

static void little_is_not_worth_it(void **state)
{
	struct guest g = guest_with(7 * MIB);
	(void)state;

	assert_int_equal(looks(&g, 50), 0);
}

static void makes_room_for_what_moves(void **state)
{
	(void)state;
	assert_int_equal(ml_cold_for_move(100, 500, 50, 1000), 0);
	assert_int_equal(ml_cold_for_move(100, 120, 50, 1000), 30);
	assert_int_equal(ml_cold_for_move(100, 120, 50, 10), 10);
	assert_int_equal(ml_cold_for_move(0, 500, 50, 1000), 0);
}

static void a_gentle_boost_leaves_the_zone_balanced(void **state)
{
	(void)state;
	for (u64 free = 0; free < 20000; free += 371) {
		u64 boost = ml_cold_boost(5000, free, 1000);

		assert_true(boost <= 5000);
		assert_true(!boost || free > 1000 + boost);
	}
	assert_int_equal(ml_cold_boost(5000, 100000, 1000), 5000);
}

static void a_firm_boost_makes_nobody_wait(void **state)
{
	(void)state;
	for (u64 free = 0; free < 20000; free += 371) {
		u64 boost = ml_cold_boost_firm(5000, free, 600, 1000);

		if (free < 1000) {
			assert_int_equal(boost, 0);
			continue;
		}
		assert_true(free < 1000 + boost);	/* out of balance */
		assert_true(free > 600 + boost);	/* and allocations pass */
		assert_true(1000 + boost - free <= 5000);
	}
	assert_int_equal(ml_cold_boost_firm(10, 2000, 600, 1000), 1010);
	assert_int_equal(ml_cold_boost_firm(10, 2000, 1000, 1000), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_until_it_is_quiet),
		cmocka_unit_test(takes_a_share_at_a_time_and_all_in_the_end),
		cmocka_unit_test(leaves_it_to_who_takes_memory),
		cmocka_unit_test(learns_from_mistakes),
		cmocka_unit_test(a_mistake_is_forgiven),
		cmocka_unit_test(little_is_not_worth_it),
		cmocka_unit_test(makes_room_for_what_moves),
		cmocka_unit_test(a_gentle_boost_leaves_the_zone_balanced),
		cmocka_unit_test(a_firm_boost_makes_nobody_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
