// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/reserved.c and reserved_ring.c against a stand-in for the module. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../proto/memlease_abi.h"

#define FAKE_MUST(cond, ...) \
	do { \
		if (!(cond)) \
			fail_msg(__VA_ARGS__); \
	} while (0)
#include "../../host/pool/reserved_ring.h"
#include "../lib/fake_pool.h"

#define BASE 0x140000000ULL
#define BLOCKS 64
#define BLOCK MEMLEASE_BLOCK_BYTES

struct fixture {
	struct fake_pool *pool;
	struct reserved_setup setup;
	struct backend *b;
	struct backend_region r;
	uint64_t now_ns;
};

static uint64_t boot_ns(void *ctx)
{
	return *(uint64_t *)ctx;
}

static int64_t wall_ms(void *ctx)
{
	(void)ctx;
	return 0;
}

static struct ml_clock fake_clock = { boot_ns, wall_ms, NULL };

static void daemon_starts(struct fixture *f)
{
	assert_int_equal(backend_reserved_open(&f->b, &f->setup, fake_device(f->pool)), 0);
}

static void daemon_dies(struct fixture *f)
{
	f->b->ops->free(f->b);
	f->b = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->pool = calloc(1, sizeof(*f->pool));
	fake_clock.ctx = &f->now_ns;
	f->setup = (struct reserved_setup){
		.want = { { BASE, BLOCKS * BLOCK, -1, 0 } }, .wants = 1, .mode = 0600,
		.clock = &fake_clock,
	};
	daemon_starts(f);
	assert_int_equal(f->b->ops->create(f->b, "vm.window", 32), 0);
	assert_int_equal(f->b->ops->open(f->b, "vm.window", 32, &f->r), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->b) {
		if (f->r.path)
			f->b->ops->close(&f->r);
		daemon_dies(f);
	}
	free(f->pool);
	free(f);
	return 0;
}

static void commit_on(struct fixture *f, uint64_t first, uint64_t count)
{
	uint32_t blocks[BACKEND_RUN_MAX], taken = 9;

	assert_int_equal(f->b->ops->commit(&f->r, first, count, true, blocks, &taken), 0);
	assert_int_equal(taken, 0);
}

/* Zeroes them, too: what is supplied must be clean. */
static void supply(struct fixture *f, uint32_t first, uint32_t n)
{
	uint32_t blocks[MEMLEASE_POOL_SUPPLY];

	for (uint32_t i = 0; i < n; i++) {
		blocks[i] = first + i;
		f->pool->content[first + i] = 0;
	}
	assert_int_equal(f->b->ops->supply(f->b, blocks, n), 0);
}

static struct fake_window *window(struct fixture *f)
{
	return fake_named(f->pool, "vm.window");
}

static void ranges_are_claimed_once(void **state)
{
	struct fixture *f = *state;
	struct backend_region again = { 0 };

	assert_int_equal(f->b->blocks, BLOCKS);
	assert_int_equal(f->b->range_count, 1);
	assert_int_equal(f->b->ranges[0].base, BASE);
	f->b->ops->close(&f->r);
	daemon_dies(f);
	f->setup.want[1] = (struct reserved_want){ BASE + (1ULL << 32), 16 * BLOCK, 1, 2 };
	f->setup.wants = 2;
	daemon_starts(f);
	assert_int_equal(f->b->blocks, BLOCKS + 16);
	assert_int_equal(f->b->ranges[1].first_block, BLOCKS);
	assert_int_equal(f->b->ranges[1].node, 1);
	assert_int_equal(f->b->ranges[1].tier, 2);
	/* The window was found again. */
	assert_int_equal(f->b->ops->open(f->b, "vm.window", 31, &again), -EUCLEAN);
	assert_int_equal(f->b->ops->open(f->b, "vm.window", 32, &again), 0);
	f->b->ops->close(&again);
	daemon_dies(f);
	/* A range that overlaps one that is claimed is somebody's. */
	f->setup.want[0].bytes /= 2;
	assert_int_equal(backend_reserved_open(&f->b, &f->setup, fake_device(f->pool)), -EBUSY);
	f->b = NULL;
}

static void a_touch_takes_of_the_supply_and_tells(void **state)
{
	struct fixture *f = *state;
	struct backend_event e;
	uint64_t bytes;
	uint32_t block = 0;

	commit_on(f, 3, 2);
	supply(f, 10, 2);
	assert_int_equal(f->b->ops->supply_level(f->b), 2);
	f->pool->now_ns = 77;
	assert_int_equal(fake_touch(f->pool, window(f), 3, true, 5, &block), FAKE_RESIDENT);
	assert_int_equal(f->b->ops->supply_level(f->b), 1);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.type, BACKEND_TAKEN);
	assert_ptr_equal(e.region, &f->r);
	assert_int_equal(e.slot, 3);
	assert_int_equal(e.block, 10);
	assert_int_equal(e.boot_ns, 77);
	assert_int_equal(f->b->ops->resident_bytes(&f->r, &bytes), 0);
	assert_int_equal(bytes, BLOCK);
	/* Died over it: the next daemon gets it again. */
	f->b->ops->close(&f->r);
	daemon_dies(f);
	daemon_starts(f);
	assert_int_equal(f->b->ops->open(f->b, "vm.window", 32, &f->r), 0);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.block, 10);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 0);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 0);
}

static void what_cannot_be_touched(void **state)
{
	struct fixture *f = *state;
	struct backend_event e;
	uint32_t block;

	assert_int_equal(fake_touch(f->pool, window(f), 7, false, 5, &block), FAKE_ZEROS);
	assert_int_equal(fake_touch(f->pool, window(f), 7, true, 5, &block), FAKE_FAILS);
	commit_on(f, 7, 1);
	assert_int_equal(fake_touch(f->pool, window(f), 7, true, 6, &block), FAKE_WAITS);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.type, BACKEND_VIOLATION);
	assert_int_equal(e.pid, 5);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.type, BACKEND_WAITING);
	assert_int_equal(e.slot, 7);
	f->pool->content[9] = 0;
	assert_int_equal(f->b->ops->map(&f->r, 7, 9), 0);
	assert_int_equal(f->b->ops->map(&f->r, 7, 10), -EEXIST);
	assert_int_equal(f->b->ops->map(&f->r, 8, 9), -EPERM);
	commit_on(f, 8, 1);
	assert_int_equal(f->b->ops->map(&f->r, 8, 9), -EBUSY);
}

static void unmapping_says_which_blocks(void **state)
{
	uint32_t blocks[BACKEND_RUN_MAX], taken, block;
	struct fixture *f = *state;
	struct backend_slot_word words[32];

	commit_on(f, 0, 32);
	supply(f, 1, 8);
	for (uint32_t i = 0; i < 8; i++)
		fake_touch(f->pool, window(f), i * 2, true, 1, &block);
	assert_int_equal(f->b->ops->unmap(&f->r, 0, 8, blocks, &taken), 0);
	assert_int_equal(taken, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(blocks[i], 1 + i);
	assert_int_equal(f->b->ops->commit(&f->r, 8, 8, false, blocks, &taken), 0);
	assert_int_equal(taken, 4);
	assert_int_equal(f->b->ops->slots(&f->r, 0, 32, words), 0);
	assert_int_equal(words[2].state, BACKEND_COMMITTED);
	assert_int_equal(words[10].state, BACKEND_VACANT);
	assert_int_equal(f->b->ops->unmap(&f->r, 30, 3, blocks, &taken), -EINVAL);
}

static void supply_is_taken_back(void **state)
{
	struct fixture *f = *state;
	uint32_t blocks[16], block;

	commit_on(f, 0, 8);
	supply(f, 20, 6);
	fake_touch(f->pool, window(f), 0, true, 1, &block);
	assert_int_equal(block, 20);
	assert_int_equal(f->b->ops->unsupply(f->b, blocks, 2), 2);
	assert_int_equal(blocks[0], 24);
	assert_int_equal(blocks[1], 25);
	assert_int_equal(f->b->ops->supply_level(f->b), 3);
	assert_int_equal(f->b->ops->unsupply(f->b, blocks, 16), 3);
	assert_int_equal(f->b->ops->unsupply(f->b, blocks, 16), 0);
	assert_int_equal(fake_touch(f->pool, window(f), 1, true, 1, &block), FAKE_WAITS);
	supply(f, 30, 1);
	assert_int_equal(fake_touch(f->pool, window(f), 1, true, 1, &block), FAKE_RESIDENT);
	assert_int_equal(block, 30);
}

/* The module took blocks between the lowering of the head and the look at the tail. */
static struct fixture *racing;

static int ioctl_with_race(struct reserved_device *d, unsigned long request, void *arg)
{
	struct fake_pool *p = racing->pool;

	if (request == MEMLEASE_POOL_SUPPLIED) {
		p->supply_tail += 3;
		p->rings.supply_tail = p->supply_tail;
		return 0;
	}
	return fake_ioctl(d, request, arg);
}

static void taking_back_races_with_touches(void **state)
{
	struct fixture *f = *state;
	struct reserved_device *d = fake_device(f->pool);
	struct reserved_ring ring;
	uint32_t blocks[16];

	supply(f, 20, 4);
	racing = f;
	d->ioctl = ioctl_with_race;
	reserved_ring_init(&ring, d);
	assert_int_equal(reserved_ring_take_back(&ring, blocks, 3), 1);
	assert_int_equal(blocks[0], 23);
	assert_int_equal(reserved_ring_level(&ring), 0);
	d->close(d);
}

static void a_head_behind_the_tail_is_no_supply(void **state)
{
	struct fixture *f = *state;
	uint32_t blocks[16];

	supply(f, 20, 4);
	f->pool->supply_tail = f->pool->rings.supply_tail = 3;
	f->pool->rings.supply_head = 1;		/* died while it took back */
	assert_int_equal(f->b->ops->supply_level(f->b), 0);
	assert_int_equal(f->b->ops->read_supply(f->b, blocks, 16), 0);
	assert_int_equal(f->pool->rings.supply_head, 3);
	supply(f, 20, 2);
	assert_int_equal(f->b->ops->read_supply(f->b, blocks, 16), 2);
	assert_int_equal(blocks[1], 21);
}

static void the_supply_has_an_end(void **state)
{
	struct fixture *f = *state;
	uint32_t *blocks = calloc(MEMLEASE_POOL_SUPPLY, sizeof(*blocks));

	for (int round = 0; round < 3; round++) {
		assert_int_equal(f->b->ops->supply(f->b, blocks, MEMLEASE_POOL_SUPPLY - 1), 0);
		assert_int_equal(f->b->ops->supply(f->b, blocks, 2), -ENOSPC);
		assert_int_equal(f->b->ops->supply(f->b, blocks, 1), 0);
		f->pool->supply_tail = f->pool->rings.supply_tail = f->pool->rings.supply_head;
	}
	free(blocks);
}

static void lost_events_are_told_of_once(void **state)
{
	struct fixture *f = *state;
	struct backend_event e;
	uint32_t block;

	commit_on(f, 0, 8);
	supply(f, 1, 8);
	f->pool->touches_max = 3;
	for (uint32_t i = 0; i < 6; i++)
		fake_touch(f->pool, window(f), i, true, 1, &block);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(f->b->ops->next_event(f->b, &e), -EOVERFLOW);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 0);
	fake_touch(f->pool, window(f), 6, true, 1, &block);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.slot, 6);
}

static void errors_and_moves(void **state)
{
	struct fixture *f = *state;
	struct backend_slot_word word;
	struct backend_event e;
	uint8_t states[BLOCKS];
	uint32_t block, to = 40;

	commit_on(f, 0, 1);
	supply(f, 5, 1);
	fake_touch(f->pool, window(f), 0, true, 1, &block);
	f->b->ops->next_event(f->b, &e);
	f->pool->content[5] = 123;
	assert_int_equal(f->b->ops->move(&f->r, 0, &to), 0);
	assert_int_equal(to, 5);
	assert_int_equal(f->pool->content[40], 123);
	to = 41;
	assert_int_equal(f->b->ops->move(&f->r, 1, &to), -EAGAIN);
	assert_int_equal(f->b->ops->retire(f->b, 40), 0);
	assert_int_equal(f->b->ops->next_event(f->b, &e), 1);
	assert_int_equal(e.type, BACKEND_ERROR);
	assert_int_equal(e.block, 40);
	assert_ptr_equal(e.region, &f->r);
	assert_int_equal(f->b->ops->slots(&f->r, 0, 1, &word), 0);
	assert_int_equal(word.state, BACKEND_LOST);
	assert_int_equal(f->b->ops->blocks(f->b, 0, BLOCKS, states), 0);
	assert_int_equal(states[0], BACKEND_OWN);
	assert_int_equal(states[40], BACKEND_RETIRED);
	assert_int_equal(states[41], BACKEND_UNUSED);
}

static void windows_go_when_nobody_has_them_open(void **state)
{
	struct fixture *f = *state;

	window(f)->opened = 1;
	f->b->ops->close(&f->r);
	assert_int_equal(f->b->ops->remove(f->b, "vm.window"), 0);
	assert_non_null(window(f));
	assert_int_equal(f->b->ops->remove(f->b, "vm.window"), -ENOENT);
	f->b->ops->tick(f->b);
	assert_non_null(window(f));
	window(f)->opened = 0;
	f->b->ops->tick(f->b);
	assert_null(window(f));
}

static int count_name(void *ctx, const char *name)
{
	(void)name;
	++*(int *)ctx;
	return 0;
}

static void count_block(void *ctx, uint32_t block)
{
	(void)block;
	++*(int *)ctx;
}

/* What no VM opens is left over: it is counted, and taken away with what it has. */
static void windows_that_are_left_over(void **state)
{
	struct fixture *f = *state;
	struct backend_left left;
	int names = 0, gone = 0;
	uint32_t taken, block;

	assert_int_equal(f->b->ops->commit(&f->r, 0, 8, true, NULL, &taken), 0);
	supply(f, 3, 2);
	assert_int_equal(fake_touch(f->pool, window(f), 1, true, 7, &block), FAKE_RESIDENT);
	f->b->ops->close(&f->r);
	assert_int_equal(f->b->ops->each(f->b, count_name, &names), 0);
	assert_int_equal(names, 1);
	assert_int_equal(f->b->ops->left(f->b, "other.window", &left), -ENOENT);
	window(f)->opened = 1;
	assert_int_equal(f->b->ops->left(f->b, "vm.window", &left), 0);
	assert_true(left.open && left.slots == 32 && left.blocks == 1);
	window(f)->opened = 0;
	assert_int_equal(f->b->ops->left(f->b, "vm.window", &left), 0);
	assert_false(left.open);
	assert_int_equal(f->b->ops->discard(f->b, "vm.window", count_block, &gone), 0);
	assert_int_equal(gone, 1);
	assert_null(window(f));
	/* For the teardown, which closes it. */
	assert_int_equal(f->b->ops->create(f->b, "vm.window", 32), 0);
	assert_int_equal(f->b->ops->open(f->b, "vm.window", 32, &f->r), 0);
}

static void figures_for_people(void **state)
{
	struct fixture *f = *state;
	struct backend_figures figures;

	supply(f, 3, 2);
	f->b->ops->figures(f->b, &figures);
	assert_int_equal(figures.supply, 2);
	assert_int_equal(figures.supply_most, MEMLEASE_POOL_SUPPLY);
	assert_int_equal(figures.metadata_bytes, BLOCKS * 8);
	assert_string_equal(f->b->name, "reserved: 1 range");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(ranges_are_claimed_once), T(a_touch_takes_of_the_supply_and_tells),
		T(what_cannot_be_touched), T(unmapping_says_which_blocks), T(supply_is_taken_back),
		T(taking_back_races_with_touches), T(a_head_behind_the_tail_is_no_supply),
		T(the_supply_has_an_end), T(lost_events_are_told_of_once), T(errors_and_moves),
		T(windows_go_when_nobody_has_them_open), T(windows_that_are_left_over),
		T(figures_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
