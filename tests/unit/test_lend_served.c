// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ on a source that serves touches by itself: the backend `reserved` over a
 * stand-in for the module. What the simulation does at random, one by one.
 */
#include "lend_rig.h"

#define FAKE_MUST(cond, ...) \
	do { \
		if (!(cond)) \
			fail_msg(__VA_ARGS__); \
	} while (0)
#include "../lib/fake_pool.h"

#define BASE 0x100000000ULL
#define BLOCKS 128	/* one of them the module's */

struct served {
	struct fixture f;
	struct fake_pool *pool;
	struct reserved_setup setup;
};

static struct served *made;

static void open_daemon(struct served *s)
{
	struct backend *b;

	assert_int_equal(backend_reserved_open(&b, &s->setup, fake_device(s->pool)), 0);
	assert_int_equal(lender_open_on(&s->f.l, &s->f.config, &s->f.hooks, b,
					LENDER_NO_ZEROING | LENDER_LEDGER_INLINE), 0);
}

/* As kill -9: nothing is written on the way out, but what memory has is in the files. */
static void kill_daemon(struct served *s)
{
	lender_close(s->f.l);
	s->f.l = NULL;
}

static void zero_some(struct served *s, uint32_t most)
{
	struct pool_user *u = pool_self(&s->f.l->pool);
	uint32_t block;

	while (most-- && pool_take_dirty(u, &block, 1)) {
		s->pool->content[block] = 0;
		pool_clean(u, block);
	}
	lender_events(s->f.l);
}

static void zero_all(struct served *s)
{
	zero_some(s, UINT32_MAX);
}

static int setup_served(void **state)
{
	struct served *s = calloc(1, sizeof(*s));
	struct fixture *f = &s->f;

	made = s;
	s->pool = calloc(1, sizeof(*s->pool));
	assert_int_equal(scratch_make(&f->scratch, 16), 0);
	f->boot_ns = 1000 * S_NS;
	f->wall_ms = START_MS;
	f->clock = (struct ml_clock){ fake_boot_ns, fake_wall_ms, f };
	f->config = (struct lender_config){
		.state_dir = f->scratch.state, .ledger_path = f->scratch.ledger,
		.period_s = PERIOD_S, .clock = &f->clock,
	};
	f->hooks = (struct lend_hooks){ on_served, on_config, on_guest_event, on_event, f };
	s->setup = (struct reserved_setup){
		.want = { { BASE, BLOCKS * MEMLEASE_BLOCK_BYTES, -1, 0 } }, .wants = 1,
		.mode = 0600, .clock = &f->clock,
	};
	open_daemon(s);
	zero_all(s);
	*state = s;
	return 0;
}

static int teardown_served(void **state)
{
	struct served *s = *state;

	lender_close(s->f.l);
	scratch_remove(&s->f.scratch);
	free(s->pool);
	free(s);
	return 0;
}

/* --- what guests do --- */

static struct fake_window *window_of(struct lend_vm *vm, enum memlease_region region)
{
	return fake_named(made->pool, lend_region_path(vm, region));
}

static enum fake_touched touch(struct lend_vm *vm, enum memlease_region region, uint32_t slot)
{
	uint32_t block;
	enum fake_touched t;

	made->pool->now_ns = made->f.boot_ns;
	t = fake_touch(made->pool, window_of(vm, region), slot, true, 77, &block);
	if (t == FAKE_RESIDENT)
		made->pool->content[block] = 0x1000 + slot;
	return t;
}

static uint64_t content(struct lend_vm *vm, enum memlease_region region, uint32_t slot)
{
	uint32_t word = window_of(vm, region)->word[slot];

	assert_int_equal(MEMLEASE_SLOT_STATE(word), MEMLEASE_SLOT_RESIDENT);
	return made->pool->content[MEMLEASE_SLOT_BLOCK(word)];
}

static void check(struct served *s)
{
	lender_validate(s->f.l);
}

/* --- tests --- */

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
		struct fake_window *w = NULL;
		uint32_t block;

		for (int i = 0; i < FAKE_WINDOWS_MAX; i++)
			if (s->pool->window[i].id && strstr(s->pool->window[i].name, "window"))
				w = &s->pool->window[i];
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

/* The last daemon had read that it waits; and all that is free is owed to it. */
static void who_waits_is_served_by_the_next_daemon(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 127, 128, 127);
	struct fake_window *w = window_of(vm, BOOT);

	for (uint32_t i = 0; i < 127; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	report(vm, BOOT, 0, 10);
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
	struct lend_vm *vm = make_vm(&s->f, "a", 127, 128, 127);
	struct fake_window *w = window_of(vm, BOOT);

	for (uint32_t i = 0; i < 127; i++) {
		touch(vm, BOOT, i);
		lender_events(s->f.l);
	}
	report(vm, BOOT, 0, 10);
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
	assert_true(s->f.l->resync);
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

/* The guest was not there to be told, and then the daemon was not. */
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

	lend_slice_blocks = 16;
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
	lend_slice_blocks = LEND_SLICE_BLOCKS;
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
	ret = compact_move(s->f.l, from, 0);
	/* All of this pool is one GiB: there may be nowhere to go. */
	assert_true(ret == 0 || ret == -ENOSPC);
	assert_int_equal(content(vm, BOOT, 3), 0x1003);
	check(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_served, teardown_served)
	const struct CMUnitTest tests[] = {
		T(a_touch_is_metered_from_when_it_was),
		T(given_back_blocks_are_zeroed_before_they_go_on), T(reports_take_what_is_unread),
		T(who_writes_outside_is_ended), T(a_guarantee_is_never_the_one_that_waits),
		T(the_last_blocks_are_not_in_the_supply), T(waiting_for_zeroing_costs_no_part),
		T(a_promise_takes_the_supply_back), T(vms_go_on_without_a_daemon),
		T(who_waits_is_served_by_the_next_daemon),
		T(a_wait_that_was_not_heard_of_is_told_again),
		T(a_table_that_is_lost_costs_zeroing_only), T(other_ranges_make_the_table_void),
		T(a_module_that_was_loaded_anew_makes_the_table_void),
		T(who_had_the_memory_in_between_makes_the_table_void),
		T(lost_events_are_made_good), T(lost_errors_are_made_good), T(memory_errors_retire),
		T(a_new_daemon_tells_guests_of_memory_errors), T(large_windows_are_emptied_in_slices),
		T(a_window_nobody_has_open_is_emptied),
		T(a_window_that_was_opened_again_keeps_what_it_has),
		T(what_the_module_did_not_commit_was_not_borrowed), T(an_end_leaves_nothing),
		T(blocks_move_under_a_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
