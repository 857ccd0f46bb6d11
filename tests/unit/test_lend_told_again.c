// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ on a source that serves touches by itself: what the next daemon finds, what is
 * made good after lost events, memory errors and calls that failed.
 */
#include "served_rig.h"

static struct fake_window *window_named(const char *part)
{
	for (int i = 0; i < FAKE_WINDOWS_MAX; i++) {
		if (made->pool->window[i].id && strstr(made->pool->window[i].name, part))
			return &made->pool->window[i];
	}
	return NULL;
}

static void vms_go_on_without_a_daemon(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint64_t before;

	borrow(vm, 0, 8, &reason);
	touch(vm, WINDOW, 0);
	lender_events(s->f.l);
	before = (uint64_t)status(vm).resident_block_ns;
	kill_daemon(s);
	s->f.boot_ns += 5 * S_NS;
	s->f.wall_ms += 5000;
	vm = NULL;
	made->pool->now_ns = s->f.boot_ns;
	{
		struct fake_window *w = window_named("window");
		uint32_t block;

		w->opened = 1;
		assert_int_equal(fake_touch(s->pool, w, 3, true, 1, &block), FAKE_RESIDENT);
		s->pool->content[block] = 42;
	}
	s->f.boot_ns += 2 * S_NS;
	s->f.wall_ms += 2000;
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(content(vm, WINDOW, 3), 42);
	assert_int_equal(content(vm, WINDOW, 0), 0x1000);
	/* One block all the time, the other from when it was touched. */
	assert_int_equal((uint64_t)status(vm).resident_block_ns - before, 7 * S_NS + 2 * S_NS);
	check(s);
}

static void pass_s(struct served *s, uint64_t seconds)
{
	pass_ms(&s->f, seconds * 1000);
	s->pool->now_ns = s->f.boot_ns;
}

/* Its last touch is known to be its own; what came after it, memory errors too, nobody can say. */
static void who_ended_without_a_daemon_is_billed_to_its_last_touch(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 5);
	enum memlease_reason reason;
	struct fake_window *w;
	pid_t pid = start_process();
	uint32_t block;

	assert_int_equal(lend_vm_attach(vm, pid, -1), 0);
	borrow(vm, 0, 8, &reason);
	touch(vm, WINDOW, 0);
	lender_events(s->f.l);
	kill_daemon(s);
	pass_s(s, 5);
	w = window_named("window");
	assert_int_equal(fake_touch(s->pool, w, 3, true, (uint32_t)pid, &block), FAKE_RESIDENT);
	pass_s(s, 20);
	end_process(pid);
	pass_s(s, 30);
	assert_int_equal(fake_retire(s->pool, MEMLEASE_SLOT_BLOCK(w->word[0])), 0);
	pass_s(s, 100);
	open_daemon(s);
	assert_null(lend_vm_find(s->f.l, "a"));
	while (lender_has_work(s->f.l))
		lender_work(s->f.l);
	settle_ledger(&s->f);
	assert_int_equal(ledger_sum(&s->f, "resident_block_ns", "a"), 5 * S_NS);
	assert_int_equal(ledger_sum(&s->f, "committed_block_ns", "a"), 5 * 12 * S_NS);
	assert_int_equal(ledger_sum(&s->f, "guarantee_block_ns", "a"), 5 * 5 * S_NS);
	assert_int_equal(ledger_sum(&s->f, "ended_ms", "a"), START_MS + 5000);
	check(s);
}

/* It has all blocks but ten, which are dirty and its own by guarantee. */
static struct lend_vm *vm_that_is_owed_all(struct served *s)
{
	struct lend_vm *vm = make_vm(&s->f, "a", 127, 128, 127);

	for (uint32_t i = 0; i < 127; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	report(vm, BOOT, 0, 10);
	return vm;
}

/* The last daemon had read that it waits; and all that is free is owed to it. */
static void who_waits_is_served_by_the_next_daemon(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = vm_that_is_owed_all(s);
	struct fake_window *w = window_of(vm, BOOT);

	assert_int_equal(touch(vm, BOOT, 3), FAKE_WAITS);
	lender_events(s->f.l);
	assert_int_equal(status(vm).waiting, 1);
	kill_daemon(s);
	open_daemon(s);
	fake_waiters_look(s->pool);
	zero_all(s);
	assert_int_equal(MEMLEASE_SLOT_STATE(w->word[3]), MEMLEASE_SLOT_RESIDENT);
	check(s);
}

/* So is one whose record found no room. */
static void a_wait_that_was_not_heard_of_is_told_again(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = vm_that_is_owed_all(s);
	struct fake_window *w = window_of(vm, BOOT);

	s->pool->touches_max = 1;
	touch(vm, BOOT, 3);
	touch(vm, BOOT, 4);
	lender_events(s->f.l);
	assert_int_equal(status(vm).waiting, 1);
	fake_waiters_look(s->pool);
	zero_all(s);
	assert_int_equal(MEMLEASE_SLOT_STATE(w->word[4]), MEMLEASE_SLOT_RESIDENT);
	check(s);
}

static void a_table_that_is_lost_costs_zeroing_only(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	char path[128];

	touch(vm, BOOT, 2);
	lender_events(s->f.l);
	kill_daemon(s);
	snprintf(path, sizeof(path), "%s/blocks", s->f.scratch.state);
	assert_int_equal(unlink(path), 0);
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	assert_int_equal(status(vm).resident_blocks, 1);
	assert_int_equal(content(vm, BOOT, 2), 0x1002);
	assert_int_equal(pool_status(&s->f).supply_blocks, 0);
	assert_int_equal(pool_status(&s->f).dirty_blocks, BLOCKS - 2);
	check(s);
}

static void other_ranges_make_the_table_void(void **state)
{
	struct served *s = *state;

	kill_daemon(s);
	/* The module was unloaded, and is loaded again for other memory. */
	memset(s->pool, 0, sizeof(*s->pool));
	s->setup.want[0].base += 1ULL << 32;
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).dirty_blocks, BLOCKS - 1);
	check(s);
}

static void a_module_that_was_loaded_anew_makes_the_table_void(void **state)
{
	struct served *s = *state;

	assert_true(pool_status(&s->f).clean_blocks > 0);
	kill_daemon(s);
	/* What the memory holds by now nobody knows. */
	memset(s->pool, 0, sizeof(*s->pool));
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).dirty_blocks, BLOCKS - 1);
	check(s);
	kill_daemon(s);
	open_daemon(s);
	zero_all(s);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 0);
	check(s);
}

static void who_had_the_memory_in_between_makes_the_table_void(void **state)
{
	struct served *s = *state;
	char other[sizeof(s->f.scratch.state) + 8];
	struct lend_vm *vm;

	kill_daemon(s);
	snprintf(other, sizeof(other), "%s/b", s->f.scratch.state);
	s->f.config.state_dir = other;
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).dirty_blocks, BLOCKS - 1);
	zero_all(s);
	vm = make_vm(&s->f, "b", 100, 110, 0);
	for (uint32_t i = 0; i < 100; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	assert_int_equal(lend_vm_delete(vm), 0);
	kill_daemon(s);
	s->f.config.state_dir = s->f.scratch.state;
	/* A block is clean by this table only if nobody wrote to it since: the stand-in looks. */
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).clean_blocks + pool_status(&s->f).supply_blocks, 0);
	vm = make_vm(&s->f, "a", 100, 110, 0);
	zero_all(s);
	for (uint32_t i = 0; i < 100; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	check(s);
}

static void lost_events_are_made_good(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	borrow(vm, 0, 8, &reason);
	s->pool->touches_max = 2;
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(touch(vm, WINDOW, i), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 6);
	check(s);
	/* All slots are not read more often than so, but what matters is seen to. */
	for (uint32_t i = 6; i < 8; i++) {
		assert_int_equal(touch(vm, WINDOW, i), FAKE_RESIDENT);
		fake_record(s->pool, MEMLEASE_TOUCH_CLOSED, 0, 0, 0, 0);
	}
	report(vm, WINDOW, 0, 6);
	borrow(vm, 8, 20, &reason);
	for (uint32_t i = 8; i < 12; i++)
		assert_int_equal(touch(vm, WINDOW, i), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_true(s->f.l->due & DUE_RESYNC);
	assert_true(status(vm).resident_blocks < 6);
	assert_int_equal(lend_touch(vm, WINDOW, 11), 0);
	assert_true(lend_resident(vm, WINDOW, 11));
	assert_true(lender_next_tick_boot_ns(s->f.l) <= s->f.boot_ns + LEND_RESYNC_NS);
	s->f.boot_ns += LEND_RESYNC_NS;
	lender_tick(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 6);
	check(s);
}

static void memory_errors_retire(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint32_t block;

	lend_vm_set_user(vm, s);
	borrow(vm, 0, 8, &reason);
	touch(vm, WINDOW, 4);
	lender_events(s->f.l);
	block = MEMLEASE_SLOT_BLOCK(window_of(vm, WINDOW)->word[4]);
	assert_int_equal(fake_retire(s->pool, block), 0);
	assert_int_equal(fake_retire(s->pool, BLOCKS - 1), 0);
	lender_events(s->f.l);
	assert_int_equal(pool_status(&s->f).retired_blocks, 2);
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal(s->f.seen.events[LEND_EV_RETIRED], 2);
	assert_int_equal(touch(vm, WINDOW, 4), FAKE_FAILS);
	/* Given back, it can be had anew, with another block. */
	report(vm, WINDOW, 4, 1);
	assert_int_equal(touch(vm, WINDOW, 4), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_int_not_equal(MEMLEASE_SLOT_BLOCK(window_of(vm, WINDOW)->word[4]), block);
	check(s);
	kill_daemon(s);
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).retired_blocks, 2);
	check(s);
}

/* The last daemon had read that nobody has it open, and died. */
static void a_new_daemon_empties_what_nobody_has_open(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	touch(vm, BOOT, 0);
	touch(vm, BOOT, 3);
	fake_closed(s->pool, window_of(vm, BOOT));
	loan_read_all(s->f.l);
	kill_daemon(s);
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	lender_tick(s->f.l);
	while (lender_has_work(s->f.l))
		lender_work(s->f.l);
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal(pool_status(&s->f).dirty_blocks, 2);
	check(s);
}

/* The guest was not there to be told, and then the daemon was not. */
static void seconds_pass(struct served *s, unsigned int n)
{
	s->f.boot_ns += n * S_NS;
	s->f.wall_ms += n * 1000;
	s->pool->now_ns = s->f.boot_ns;
}

/* Behind this slot of whatever window, which only one has. */
static uint32_t block_at(struct served *s, uint32_t slot)
{
	for (uint32_t b = 1; b < BLOCKS; b++) {
		if (s->pool->owner[b] < FAKE_MODULE && s->pool->owner[b] && (uint32_t)s->pool->owner[b] == slot)
			return b;
	}
	fail();
	return 0;
}

/* While no daemon ran: what is lost was there until then, or, if nobody can say when, until now. */
static void a_lost_block_is_billed_until_its_error(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint64_t before;

	touch(vm, BOOT, 1);
	touch(vm, BOOT, 2);
	lender_events(s->f.l);
	before = (uint64_t)status(vm).resident_block_ns;
	kill_daemon(s);
	seconds_pass(s, 5);
	assert_int_equal(fake_retire(s->pool, block_at(s, 1)), 0);
	seconds_pass(s, 7);
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	assert_int_equal(status(vm).resident_blocks, 1);
	assert_int_equal((uint64_t)status(vm).resident_block_ns - before, (5 + 12) * S_NS);
	check(s);
	kill_daemon(s);
	seconds_pass(s, 2);
	assert_int_equal(fake_retire(s->pool, block_at(s, 2)), 0);
	s->pool->rings.touches_tail = s->pool->touches_head;
	seconds_pass(s, 1);
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal((uint64_t)status(vm).resident_block_ns - before, (5 + 12 + 3) * S_NS);
	check(s);
}

static void a_new_daemon_tells_guests_of_memory_errors(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);

	borrow(vm, 0, 8, &reason);
	touch(vm, WINDOW, 4);
	touch(vm, WINDOW, 6);
	lender_events(s->f.l);
	assert_int_equal(fake_retire(s->pool, MEMLEASE_SLOT_BLOCK(window_of(vm, WINDOW)->word[4])), 0);
	lender_events(s->f.l);
	assert_int_equal(s->f.seen.retired, 0);
	/* The second one nobody has read of. */
	assert_int_equal(fake_retire(s->pool, MEMLEASE_SLOT_BLOCK(window_of(vm, WINDOW)->word[6])), 0);
	kill_daemon(s);
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).retired_blocks, 2);
	lender_tick(s->f.l);
	assert_int_equal(s->f.seen.retired, 0);
	vm = lend_vm_find(s->f.l, "a");
	lend_vm_set_user(vm, s);
	lender_tick(s->f.l);
	assert_int_equal(s->f.seen.retired, 2);
	lender_tick(s->f.l);
	lender_events(s->f.l);
	assert_int_equal(s->f.seen.retired, 2);
	check(s);
	/* What it has given up it is not told of again. */
	report(vm, WINDOW, 4, 1);
	kill_daemon(s);
	open_daemon(s);
	vm = lend_vm_find(s->f.l, "a");
	lend_vm_set_user(vm, s);
	lender_tick(s->f.l);
	assert_int_equal(s->f.seen.retired, 3);
	assert_int_equal(s->f.seen.retired_slot, 6);
	check(s);
}

/* Its event is among those that were lost. */
static void lost_errors_are_made_good(void **state)
{
	struct served *s = *state;
	enum memlease_reason reason;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	uint32_t block;

	lend_vm_set_user(vm, s);
	borrow(vm, 0, 8, &reason);
	s->pool->touches_max = 1;
	touch(vm, WINDOW, 0);
	touch(vm, WINDOW, 1);
	block = MEMLEASE_SLOT_BLOCK(window_of(vm, WINDOW)->word[1]);
	assert_int_equal(fake_retire(s->pool, block), 0);
	lender_events(s->f.l);
	assert_int_equal(s->f.seen.retired, 1);
	assert_int_equal(s->f.seen.retired_slot, 1);
	assert_int_equal(s->f.seen.events[LEND_EV_RETIRED], 1);
	assert_int_equal(pool_status(&s->f).retired_blocks, 1);
	check(s);
}

static void what_the_module_did_not_commit_was_not_borrowed(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	enum memlease_reason reason;
	uint64_t done;

	borrow(vm, 0, 4, &reason);
	s->pool->fail_next = ENOMEM;
	assert_true(lend_borrow(vm, 2, 10, &done, &reason) < 0);
	assert_int_equal(done, 0);
	assert_int_equal(status(vm).window_committed_blocks, 4);
	check(s);
}

/*
 * Its record is gone; its process is not. It keeps what it has, and gets more, and nobody else
 * gets any of that.
 */
static void what_a_vm_without_a_record_has_is_nobody_elses(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 64, 0);
	struct fake_window *w = window_of(vm, BOOT);
	char path[160];
	uint32_t block, first;

	touch(vm, BOOT, 0);
	touch(vm, BOOT, 1);
	lender_events(s->f.l);
	touch(vm, BOOT, 2);	/* nobody hears of it */
	first = MEMLEASE_SLOT_BLOCK(w->word[0]);
	snprintf(path, sizeof(path), "%s/%s.vm", s->f.scratch.state, status(vm).uuid);
	kill_daemon(s);
	assert_int_equal(truncate(path, 100), 0);
	open_daemon(s);
	assert_int_equal(s->f.seen.events[LEND_EV_SET_ASIDE], 1);
	assert_int_equal(s->f.seen.events[LEND_EV_ORPHAN], 1);
	assert_int_equal(pool_status(&s->f).orphaned_blocks, 3);
	assert_int_equal(pool_status(&s->f).lent_blocks, 0);
	assert_int_equal(MEMLEASE_SLOT_BLOCK(w->word[0]), first);
	assert_int_equal(s->pool->content[first], 0x1000);
	check(s);
	zero_all(s);
	assert_int_equal(fake_touch(s->pool, w, 3, true, 77, &block), FAKE_RESIDENT);
	lender_events(s->f.l);
	assert_int_equal(pool_status(&s->f).orphaned_blocks, 4);
	check(s);
	kill_daemon(s);
	open_daemon(s);
	assert_int_equal(pool_status(&s->f).orphaned_blocks, 4);
	check(s);
	fake_closed(s->pool, w);
	lender_events(s->f.l);
	pass_ms(&s->f, 1000);
	lender_tick(s->f.l);
	assert_int_equal(s->f.seen.events[LEND_EV_ORPHAN_ENDED], 1);
	assert_int_equal(pool_status(&s->f).orphaned_blocks, 0);
	assert_int_equal(pool_status(&s->f).free_blocks, BLOCKS - 1);
	check(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED_TEST(vms_go_on_without_a_daemon),
		SERVED_TEST(who_ended_without_a_daemon_is_billed_to_its_last_touch),
		SERVED_TEST(who_waits_is_served_by_the_next_daemon),
		SERVED_TEST(a_wait_that_was_not_heard_of_is_told_again),
		SERVED_TEST(a_table_that_is_lost_costs_zeroing_only),
		SERVED_TEST(other_ranges_make_the_table_void),
		SERVED_TEST(a_module_that_was_loaded_anew_makes_the_table_void),
		SERVED_TEST(who_had_the_memory_in_between_makes_the_table_void),
		SERVED_TEST(lost_events_are_made_good),
		SERVED_TEST(memory_errors_retire),
		SERVED_TEST(a_new_daemon_empties_what_nobody_has_open),
		SERVED_TEST(a_lost_block_is_billed_until_its_error),
		SERVED_TEST(a_new_daemon_tells_guests_of_memory_errors),
		SERVED_TEST(lost_errors_are_made_good),
		SERVED_TEST(what_the_module_did_not_commit_was_not_borrowed),
		SERVED_TEST(what_a_vm_without_a_record_has_is_nobody_elses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
