// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ on a source that serves touches by itself: what guests do, one by one, of what
 * the simulation does at random. Daemons that come and go, and what went wrong, are in
 * test_lend_told_again.c.
 */
#include "served_rig.h"

static void a_touch_is_metered_from_when_it_was(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint64_t before;

	assert_int_equal(touch(vm, BOOT, 1), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 1);
	assert_int_equal(borrow(vm, 0, 8, &reason), 8);
	before = (uint64_t)status(vm).resident_block_ns;
	assert_int_equal(touch(vm, WINDOW, 5), FAKE_RESIDENT);
	s->f.boot_ns += 700;
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal((uint64_t)status(vm).resident_block_ns - before, 2 * 700);
	assert_int_equal(status(vm).touches, 2);
	check(s);
}

static void given_back_blocks_are_zeroed_before_they_go_on(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	borrow(vm, 0, 40, &reason);
	for (uint32_t i = 0; i < 40; i++) {
		assert_int_equal(touch(vm, WINDOW, i), FAKE_RESIDENT);
		lender_events(s->f.l);
	}
	/* The touches of these are unread. */
	assert_int_equal(report(vm, WINDOW, 0, 40), 40);
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal(status(vm).reported_blocks, 40);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 40);
	check(s);
	zero_all(s);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 0);
	assert_int_equal(touch(vm, WINDOW, 0), FAKE_RESIDENT);
	check(s);
}

static void reports_take_what_is_unread(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint64_t done;

	borrow(vm, 0, 4, &reason);
	touch(vm, WINDOW, 0);
	touch(vm, WINDOW, 1);
	assert_int_equal(lend_return(vm, 0, 2, &done, &reason), 0);
	assert_int_equal(window_of(vm, WINDOW)->word[0], MEMLEASE_SLOT_VACANT);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 2);
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 0);
	check(s);
}

static void who_writes_outside_is_ended(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0), *other = make_vm(&s->f, "b", 4, 64, 0);

	assert_int_equal(touch(other, BOOT, 0), FAKE_RESIDENT);
	assert_int_equal(touch(vm, WINDOW, 9), FAKE_FAILS);
	lender_events(s->f.l);
	assert_int_equal(s->f.seen.events[LEND_EV_VM_STOPPED], 1);
	assert_non_null(strstr(status(vm).broken_text, "slot 9 of the window"));
	assert_string_equal(status(other).broken_text, "");
	assert_int_equal(content(other, BOOT, 0), 0x1000);
	check(s);
}

/* Touches slots from `first` on until one waits, though the daemon has looked; which one. */
static uint32_t touch_all(struct served *s, struct lend_vm *vm, uint32_t first)
{
	uint32_t i = first;

	for (; i < lend_region_blocks(vm, WINDOW); i++) {
		enum fake_touched t = touch(vm, WINDOW, i);

		lender_events(s->f.l);
		if (t == FAKE_WAITS)
			t = touch(vm, WINDOW, i);
		if (t != FAKE_RESIDENT)
			break;
	}
	lender_events(s->f.l);
	return i;
}

static void a_guarantee_is_never_the_one_that_waits(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *greedy = make_vm(&s->f, "greedy", 1, 128, 0);
	struct lend_vm *sure = make_vm(&s->f, "sure", 1, 65, 40);
	uint32_t i;

	borrow(greedy, 0, 127, &reason);
	borrow(sure, 0, 64, &reason);
	/* 127 blocks, 40 promised, the last 3 shared out: one of them for each VM. */
	assert_int_equal(touch_all(s, greedy, 0), 85);
	assert_int_equal(status(greedy).waiting, 1);
	assert_int_equal(s->f.seen.events[LEND_EV_POOL_SHORT], 1);
	assert_int_equal(pool_status(&s->f).supply_blocks, 0);
	s->f.boot_ns += S_NS;
	for (i = 0; i < 40; i++) {
		/* The supply is empty: the daemon serves it by itself. */
		assert_int_equal(touch(sure, WINDOW, i), FAKE_WAITS);
		lender_events(s->f.l);
		assert_int_equal(touch(sure, WINDOW, i), FAKE_RESIDENT);
	}
	/* And its part of the last blocks. */
	assert_int_equal(touch_all(s, sure, 40), 41);
	assert_int_equal(status(sure).waiting, 1);
	check(s);
	/* What is given back above a guarantee makes up for the last blocks first. */
	report(greedy, WINDOW, 0, 1);
	zero_all(s);
	assert_int_equal(pool_status(&s->f).free_blocks, 2);
	assert_int_equal(status(greedy).waiting, 1);
	/* More: who waits longest has it, then the other. */
	report(greedy, WINDOW, 1, 2);
	zero_all(s);
	assert_int_equal(status(greedy).waiting, 0);
	assert_int_equal(status(sure).waiting, 0);
	assert_int_equal(touch(greedy, WINDOW, 85), FAKE_RESIDENT);
	check(s);
}

/* Who comes first has what the supply holds; it never holds the last blocks. */
static void the_last_blocks_are_not_in_the_supply(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *first = make_vm(&s->f, "first", 1, 128, 0);
	struct lend_vm *late = make_vm(&s->f, "late", 1, 65, 0);

	borrow(first, 0, 127, &reason);
	borrow(late, 0, 64, &reason);
	assert_int_equal(touch_all(s, first, 0), 125);
	assert_int_equal(pool_status(&s->f).free_blocks, 2);
	assert_int_equal(pool_status(&s->f).supply_blocks, 0);
	/* It could free nothing if it had none. */
	assert_int_equal(touch_all(s, late, 0), 1);
	assert_int_equal(pool_status(&s->f).free_blocks, 1);
	check(s);
	/* When there are more again, there are last blocks again for both. */
	report(first, WINDOW, 0, 20);
	zero_all(s);
	assert_int_equal(status(first).waiting + status(late).waiting, 0);
	assert_true(pool_status(&s->f).supply_blocks > 0);
	touch_all(s, first, 0);
	assert_int_equal(status(first).waiting, 1);
	assert_int_equal(touch_all(s, late, 1), 3);
	check(s);
}

/* Who waits for a block to be zeroed has not drawn upon the last ones each time it is looked at. */
static void waiting_for_zeroing_costs_no_part(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 1, 128, 0);

	borrow(vm, 0, 127, &reason);
	/* The only VM: all of the last ones are its own. */
	assert_int_equal(touch_all(s, vm, 0), 127);
	report(vm, WINDOW, 0, 4);
	zero_some(s, 1);
	assert_int_equal(touch(vm, WINDOW, 0), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 3);
	assert_int_equal(touch(vm, WINDOW, 1), FAKE_WAITS);
	for (int i = 0; i < 8; i++)
		lender_tick(s->f.l);
	assert_int_equal(status(vm).waiting, 1);
	zero_all(s);
	assert_int_equal(status(vm).waiting, 0);
	assert_int_equal(touch_all(s, vm, 0), 127);
	check(s);
}

/* A guest above its target that asks all the same is refused while others wait for memory, not for zeroing. */
static void waiting_for_zeroing_refuses_nobody(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 1, 128, 0), *other = make_vm(&s->f, "b", 1, 65, 0);
	struct ml_why why = { "" };

	borrow(vm, 0, 120, &reason);
	assert_int_equal(touch_all(s, vm, 0), 120);
	touch(other, BOOT, 0);
	lender_events(s->f.l);
	report(vm, WINDOW, 0, 100);
	/* What was clean is used up, all else is dirty. */
	for (uint32_t i = 0; i < 100 && !status(vm).waiting; i++) {
		touch(vm, WINDOW, i);
		lender_events(s->f.l);
	}
	assert_int_equal(status(vm).waiting, 1);
	assert_int_equal(s->f.seen.events[LEND_EV_POOL_SHORT], 0);
	assert_int_equal(lend_set_target(other, 1, 1000, &why), 0);
	assert_int_equal(borrow(other, 0, 8, &reason), 8);
	assert_int_equal(reason, MEMLEASE_WHY_OK);
	zero_all(s);
	assert_int_equal(status(vm).waiting, 0);
	check(s);
}

static void a_promise_takes_the_supply_back(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 1, 128, 0), *b;

	borrow(vm, 0, 127, &reason);
	assert_true(pool_status(&s->f).supply_blocks > 0);
	b = make_vm(&s->f, "b", 1, 128, 127);
	assert_int_equal(pool_status(&s->f).supply_blocks, 0);
	assert_int_equal(touch(vm, WINDOW, 0), FAKE_WAITS);
	lender_events(s->f.l);
	assert_int_equal(status(vm).waiting, 1);
	assert_int_equal(touch(b, BOOT, 0), FAKE_WAITS);
	lender_events(s->f.l);
	assert_int_equal(touch(b, BOOT, 0), FAKE_RESIDENT);
	check(s);
}

/* Its record was read by who wanted to know something else: it does not wait for the next second. */
static void who_is_heard_of_by_the_way_is_served(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 1, 128, 127);

	assert_int_equal(pool_status(&s->f).supply_blocks, 0);
	assert_int_equal(touch(vm, BOOT, 0), FAKE_WAITS);
	assert_false(lender_has_work(s->f.l));
	loan_read_all(s->f.l);
	assert_int_equal(status(vm).waiting, 1);
	assert_true(lender_has_work(s->f.l));
	lender_work(s->f.l);
	assert_int_equal(touch(vm, BOOT, 0), FAKE_RESIDENT);
	assert_false(lender_has_work(s->f.l));
	check(s);
	/* So is who wrote where it must not. */
	assert_int_equal(touch(vm, WINDOW, 0), FAKE_FAILS);
	loan_read_all(s->f.l);
	assert_true(lender_has_work(s->f.l));
	lender_work(s->f.l);
	assert_int_equal(s->f.seen.events[LEND_EV_VM_STOPPED], 1);
	assert_false(lender_has_work(s->f.l));
}

/* A touch by the daemon itself, of a pool that is still to be zeroed: the next turn looks again. */
static void the_daemons_own_touch_is_served_in_the_next_turn(void **state)
{
	struct served *s = *state;
	char other[sizeof(s->f.scratch.state) + 8];
	struct lend_vm *vm;

	kill_daemon(s);
	snprintf(other, sizeof(other), "%s/b", s->f.scratch.state);
	s->f.config.state_dir = other;
	open_daemon(s);
	vm = make_vm(&s->f, "a", 4, 8, 0);
	assert_int_equal(pool_status(&s->f).clean_blocks, 0);
	assert_int_equal(lend_touch(vm, BOOT, 0), -EAGAIN);
	assert_true(lender_has_work(s->f.l));
	lender_work(s->f.l);
	assert_false(lender_has_work(s->f.l));
	assert_int_equal(s->f.seen.events[LEND_EV_POOL_SHORT], 0);
	zero_some(s, 8);
	assert_int_equal(s->f.seen.served, 1);
	assert_int_equal(status(vm).waiting, 0);
	check(s);
}

static void a_window_nobody_has_open_is_emptied(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	touch(vm, BOOT, 0);
	fake_closed(s->pool, window_of(vm, BOOT));
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 0);
	check(s);
}

/* Nothing that a guest or a QEMU can cause takes the event loop for long. */
static void large_windows_are_emptied_in_slices(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 1, 100, 0);
	uint64_t before, turns = 0;

	set_slices(&s->f, 16);
	borrow(vm, 0, 99, &reason);
	assert_int_equal(touch_all(s, vm, 0), 99);
	fake_closed(s->pool, window_of(vm, WINDOW));
	lender_events(s->f.l);
	do {
		before = status(vm).resident_blocks;
		check(s);
		lender_work(s->f.l);
		assert_true(before - status(vm).resident_blocks <= 16);
		turns++;
	} while (lender_has_work(s->f.l));
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_true(turns >= 6);
	zero_all(s);
	assert_int_equal(touch_all(s, vm, 0), 99);
	before = pool_status(&s->f).lent_blocks;
	assert_int_equal(lend_vm_delete(vm), 0);
	for (turns = 1; lender_has_work(s->f.l); turns++) {
		assert_true(before - pool_status(&s->f).lent_blocks <= 16);
		before = pool_status(&s->f).lent_blocks;
		lender_work(s->f.l);
	}
	assert_int_equal(pool_status(&s->f).lent_blocks, 0);
	assert_true(turns >= 6);
}

/* One QEMU did not start, the next does: what it has written before the daemon hears of the first is its own. */
static void a_window_that_was_opened_again_keeps_what_it_has(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	touch(vm, BOOT, 0);
	fake_closed(s->pool, window_of(vm, BOOT));
	window_of(vm, BOOT)->opened = 1;
	touch(vm, BOOT, 1);
	lender_events(s->f.l);
	assert_int_equal(content(vm, BOOT, 1), 0x1001);
	assert_int_equal(status(vm).resident_blocks, 2);
	fake_closed(s->pool, window_of(vm, BOOT));
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 0);
	check(s);
}

static void an_end_leaves_nothing(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	struct fake_window *w = window_of(vm, WINDOW);
	uint32_t block;

	borrow(vm, 0, 60, &reason);
	for (uint32_t i = 0; i < 5; i++)
		touch(vm, WINDOW, i);
	w->opened = 1;
	assert_int_equal(lend_vm_delete(vm), 0);
	/* Somebody has it open still: he gets nothing more. */
	assert_int_equal(fake_touch(s->pool, w, 1, true, 1, &block), FAKE_FAILS);
	assert_int_equal(fake_resident(w), 0);
	w->opened = 0;
	lender_tick(s->f.l);
	assert_int_equal(w->id, 0);
	assert_int_equal(pool_status(&s->f).lent_blocks, 0);
	check(s);
}

static void blocks_move_under_a_vm(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint32_t from;
	int ret;

	touch(vm, BOOT, 3);
	lender_events(s->f.l);
	from = MEMLEASE_SLOT_BLOCK(window_of(vm, BOOT)->word[3]);
	ret = loan_move(s->f.l, from, 0);
	/* All of this pool is one GiB: there may be nowhere to go. */
	assert_true(ret == 0 || ret == -ENOSPC);
	assert_int_equal(content(vm, BOOT, 3), 0x1003);
	check(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED_TEST(a_touch_is_metered_from_when_it_was),
		SERVED_TEST(given_back_blocks_are_zeroed_before_they_go_on),
		SERVED_TEST(reports_take_what_is_unread),
		SERVED_TEST(who_writes_outside_is_ended),
		SERVED_TEST(a_guarantee_is_never_the_one_that_waits),
		SERVED_TEST(the_last_blocks_are_not_in_the_supply),
		SERVED_TEST(waiting_for_zeroing_costs_no_part),
		SERVED_TEST(waiting_for_zeroing_refuses_nobody),
		SERVED_TEST(a_promise_takes_the_supply_back),
		SERVED_TEST(who_is_heard_of_by_the_way_is_served),
		SERVED_TEST(the_daemons_own_touch_is_served_in_the_next_turn),
		SERVED_TEST(a_window_nobody_has_open_is_emptied),
		SERVED_TEST(large_windows_are_emptied_in_slices),
		SERVED_TEST(a_window_that_was_opened_again_keeps_what_it_has),
		SERVED_TEST(an_end_leaves_nothing),
		SERVED_TEST(blocks_move_under_a_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
