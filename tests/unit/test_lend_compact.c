// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compaction of a reserved pool of three GiBs, the first of which lacks the module's own
 * block: with the supply lying about, with touches that find no block, with blocks that
 * cannot be moved.
 */
#define BLOCKS 1536
#include "served_rig.h"

#define BOOT_SLOTS 900

/* A VM has a few blocks in the first GiB, and a few in the second; what it gave back there is dirty. */
static struct lend_vm *scattered_in_dirt(struct served *s)
{
	struct lend_vm *vm = make_vm(&s->f, "a", BOOT_SLOTS, BOOT_SLOTS + 64, 0);

	for (uint32_t i = 0; i < BOOT_SLOTS; i++) {
		assert_int_equal(touch(vm, BOOT, i), FAKE_RESIDENT);
		lender_events(s->f.l);
	}
	report(vm, BOOT, 20, 480);
	report(vm, BOOT, 530, 350);
	return vm;
}

/* The same, and the rest is clean. */
static struct lend_vm *scattered(struct served *s)
{
	struct lend_vm *vm = scattered_in_dirt(s);

	zero_all(s);
	assert_int_equal(pool_status(&s->f).lent_blocks, 70);
	assert_true(pool_status(&s->f).supply_blocks > 0);
	assert_int_equal(pool_status(&s->f).whole_gib, 1);
	return vm;
}

static void compact(struct served *s, uint32_t gib)
{
	struct ml_why why = { "" };

	assert_int_equal(lender_compact(s->f.l, gib, &why), 0);
}

static void seconds_pass(struct served *s, unsigned int n)
{
	while (n--) {
		s->f.boot_ns += S_NS;
		lender_tick(s->f.l);
		while (lender_has_work(s->f.l))
			lender_work(s->f.l);
	}
}

static void what_the_supply_holds_is_in_nobodys_way(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = scattered(s);

	compact(s, 2);
	assert_true(pool_status(&s->f).compacting);
	seconds_pass(s, 3);
	zero_all(s);
	assert_false(pool_status(&s->f).compacting);
	assert_int_equal(pool_status(&s->f).compact_emptied_gib, 1);
	assert_int_equal(pool_status(&s->f).whole_gib, 2);
	assert_true(pool_status(&s->f).supply_blocks > 0);
	for (uint32_t i = 0; i < BOOT_SLOTS; i++) {
		if (i < 20 || (i >= 500 && i < 530) || i >= 880)
			assert_int_equal(content(vm, BOOT, i), 0x1000 + i);
	}
	check(s);
}

/* What moves in fills its block, so nothing need be zeroed for it. */
static void nothing_need_be_clean(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = scattered_in_dirt(s);

	compact(s, 1);
	seconds_pass(s, 3);
	assert_int_equal(pool_status(&s->f).compact_emptied_gib, 1);
	for (uint32_t i = 0; i < BOOT_SLOTS; i++) {
		if (i < 20 || (i >= 500 && i < 530) || i >= 880)
			assert_int_equal(content(vm, BOOT, i), 0x1000 + i);
	}
	check(s);
}

/* Blocks of a GiB that is being emptied are the last ones, and are needed. */
static void a_touch_goes_before_compaction(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm;

	scattered(s);
	vm = make_vm(&s->f, "b", 1000, 1064, 0);
	compact(s, 1);
	for (uint32_t i = 0; i < 1000; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	assert_int_equal(status(vm).resident_blocks, 1000);
	assert_true(pool_status(&s->f).compacting);
	seconds_pass(s, 3);
	assert_false(pool_status(&s->f).compacting);
	check(s);
}

static void what_cannot_be_moved_is_given_up(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = scattered(s);
	uint32_t tries;

	s->pool->fail_moves = EIO;
	compact(s, 2);
	seconds_pass(s, 5);
	assert_false(pool_status(&s->f).compacting);
	tries = s->pool->failed_moves;
	assert_in_range(tries, 1, 3);
	seconds_pass(s, 5);
	assert_int_equal(s->pool->failed_moves, tries);
	assert_int_equal(content(vm, BOOT, 899), 0x1000 + 899);
	s->pool->fail_moves = 0;
	compact(s, 1);
	seconds_pass(s, 3);
	assert_int_equal(pool_status(&s->f).compact_emptied_gib, 1);
	check(s);
}

/* A QEMU that is busy with its memory map: tried again, at a bounded pace, until it is not. */
static void what_cannot_be_moved_now_is_moved_later(void **state)
{
	struct served *s = *state;

	scattered(s);
	s->pool->fail_moves = ETIME;
	compact(s, 2);
	seconds_pass(s, 3);
	assert_true(pool_status(&s->f).compacting);
	assert_in_range(s->pool->failed_moves, 3, 30);
	s->pool->fail_moves = 0;
	seconds_pass(s, 3);
	zero_all(s);
	assert_false(pool_status(&s->f).compacting);
	assert_int_equal(pool_status(&s->f).whole_gib, 2);
	check(s);
}

/* But not for ever. */
static void who_is_always_busy_is_left(void **state)
{
	struct served *s = *state;

	scattered(s);
	s->pool->fail_moves = ETIME;
	compact(s, 2);
	seconds_pass(s, 60);
	assert_false(pool_status(&s->f).compacting);
	check(s);
}

/* Touches that find nothing are no reason to want more than there is. */
static void the_supply_has_a_bound(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 1000, 1064, 0);
	struct lend_vm *other = make_vm(&s->f, "b", 1000, 1064, 0);
	uint64_t most = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		touch(i & 1 ? other : vm, BOOT, i);
		touch(i & 1 ? vm : other, BOOT, i);
		if (i % 50 == 0)
			lender_events(s->f.l);
		if (pool_status(&s->f).supply_want_blocks > most)
			most = pool_status(&s->f).supply_want_blocks;
	}
	assert_in_range(most, 64, BLOCKS / 8);
	assert_true(status(vm).waiting + status(other).waiting > 0);
	check(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED_TEST(what_the_supply_holds_is_in_nobodys_way),
		SERVED_TEST(nothing_need_be_clean),
		SERVED_TEST(a_touch_goes_before_compaction),
		SERVED_TEST(what_cannot_be_moved_is_given_up),
		SERVED_TEST(what_cannot_be_moved_now_is_moved_later),
		SERVED_TEST(who_is_always_busy_is_left), SERVED_TEST(the_supply_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
