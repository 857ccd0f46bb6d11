/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lender on a source that serves touches by itself: the backend `reserved` over a
 * stand-in for the module, whose guests are here, too. For unit tests.
 */
#ifndef ML_TESTS_UNIT_SERVED_RIG_H
#define ML_TESTS_UNIT_SERVED_RIG_H

#include "lend_rig.h"

#define FAKE_MUST(cond, ...) \
	do { \
		if (!(cond)) \
			fail_msg(__VA_ARGS__); \
	} while (0)
#include "../lib/fake_pool.h"

#define BASE 0x100000000ULL
#ifndef BLOCKS
#define BLOCKS 128	/* one of them the module's */
#endif

struct served {
	struct fixture f;
	struct fake_pool *pool;
	struct reserved_setup setup;
};

static struct served *made;	/* the one that there is */

static inline void open_daemon(struct served *s)
{
	struct backend *b;

	assert_int_equal(backend_reserved_open(&b, &s->setup, fake_device(s->pool)), 0);
	assert_int_equal(lender_open_on(&s->f.l, &s->f.config, &s->f.hooks, b,
					LENDER_NO_ZEROING | LENDER_LEDGER_INLINE), 0);
}

/* As kill -9: nothing is written on the way out, but what memory has is in the files. */
static inline void kill_daemon(struct served *s)
{
	lender_close(s->f.l);
	s->f.l = NULL;
}

static inline void zero_some(struct served *s, uint32_t most)
{
	struct pool_user *u = pool_self(&s->f.l->pool);
	uint32_t block;

	while (most-- && pool_take_dirty(u, &block, 1)) {
		s->pool->content[block] = 0;
		pool_clean(u, block);
	}
	lender_events(s->f.l);
}

static inline void zero_all(struct served *s)
{
	zero_some(s, UINT32_MAX);
}

static inline int setup_served(void **state)
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

static inline int teardown_served(void **state)
{
	struct served *s = *state;

	lender_close(s->f.l);
	scratch_remove(&s->f.scratch);
	free(s->pool);
	free(s);
	return 0;
}

/* --- what guests do --- */

static inline struct fake_window *window_of(struct lend_vm *vm, enum memlease_region region)
{
	return fake_named(made->pool, lend_region_path(vm, region));
}

static inline enum fake_touched touch(struct lend_vm *vm, enum memlease_region region, uint32_t slot)
{
	uint32_t block;
	enum fake_touched t;

	made->pool->now_ns = made->f.boot_ns;
	window_of(vm, region)->opened = 1;
	t = fake_touch(made->pool, window_of(vm, region), slot, true, 77, &block);
	if (t == FAKE_RESIDENT)
		made->pool->content[block] = 0x1000 + slot;
	return t;
}

static inline uint64_t content(struct lend_vm *vm, enum memlease_region region, uint32_t slot)
{
	uint32_t word = window_of(vm, region)->word[slot];

	assert_int_equal(MEMLEASE_SLOT_STATE(word), MEMLEASE_SLOT_RESIDENT);
	return made->pool->content[MEMLEASE_SLOT_BLOCK(word)];
}

static inline void check(struct served *s)
{
	lender_validate(s->f.l);
}

#define SERVED_TEST(name) cmocka_unit_test_setup_teardown(name, setup_served, teardown_served)

#endif /* ML_TESTS_UNIT_SERVED_RIG_H */
