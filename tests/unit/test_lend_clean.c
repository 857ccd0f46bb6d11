// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/clean.c: a lender whose pool is zeroed by threads of the daemon. The module is the
 * stand-in; the memory of its pool is some of this process's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../host/base/bus.h"
#include "../../host/lend/clean.h"

#define BLOCKS 16
#include "served_rig.h"

#define POOL_BYTES (BLOCKS * (size_t)MEMLEASE_BLOCK_BYTES)
#define PATIENCE_MS 60000	/* until what must come has come, on however slow a machine */

static char *memory;

/* A daemon whose threads zero; the pool holds anything. */
static int setup_zeroing(void **state)
{
	struct served *s;
	struct backend *b;

	if (setup_served(state))
		return -1;
	s = *state;
	kill_daemon(s);
	memory = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	memset(memory, 0x5a, POOL_BYTES);
	/* In another directory there is no table that could say that something is clean. */
	strcat(s->f.scratch.state, "/b");
	s->f.config.zero_threads = 2;
	assert_int_equal(backend_reserved_open(&b, &s->setup, fake_device(s->pool)), 0);
	b->memory = memory;
	assert_int_equal(lender_open_on(&s->f.l, &s->f.config, &s->f.hooks, b,
					LENDER_LEDGER_INLINE), 0);
	return 0;
}

static int teardown_zeroing(void **state)
{
	struct served *s = *state;

	lender_close(s->f.l);
	*strrchr(s->f.scratch.state, '/') = '\0';
	munmap(memory, POOL_BYTES);
	scratch_remove(&s->f.scratch);
	free(s->pool);
	free(s);
	return 0;
}

/* As the event loop does, until so many are clean or in the supply. */
static void run_until_clean(struct served *s, uint64_t blocks)
{
	for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
		struct pool_status st = pool_status(&s->f);

		if (st.clean_blocks + st.supply_blocks >= blocks)
			return;
		poll(NULL, 0, 10);
		lender_tick(s->f.l);
	}
	fail_msg("%llu blocks do not get clean", (unsigned long long)blocks);
}

/* A guest uses a slot, which may have to wait until there is a clean block in the supply. */
static void use(struct served *s, struct lend_vm *vm, uint32_t slot)
{
	for (int ms = 0; touch(vm, BOOT, slot) != FAKE_RESIDENT; ms += 10) {
		assert_true(ms < PATIENCE_MS);
		poll(NULL, 0, 10);
		lender_tick(s->f.l);
	}
	lender_events(s->f.l);
	assert_true(lend_resident(vm, BOOT, slot));
}

static void what_is_dirty_is_zeroed(void **state)
{
	struct served *s = *state;
	struct pool_status st;

	run_until_clean(s, BLOCKS - 1);
	st = pool_status(&s->f);
	assert_non_null(st.zero_engine);
	assert_int_equal(st.zeroed_blocks, BLOCKS - 1);
	assert_int_equal(st.dirty_blocks + st.zeroing_blocks, 0);
	/* Block 0 is the module's own, and not for the daemon to write. */
	for (size_t i = 0; i < POOL_BYTES; i += 4096)
		assert_int_equal(memory[i], i < MEMLEASE_BLOCK_BYTES ? 0x5a : 0);
	check(s);
}

/* A touch that finds no clean block wakes the loop by a descriptor when there is one. */
static void who_waits_for_a_clean_block_is_served(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 8, 4);
	int fds[2], n = lender_event_fds(s->f.l, fds);
	int ret = lend_touch(vm, BOOT, 0);

	assert_true(n >= 1);
	while (ret == -EAGAIN) {
		struct pollfd p = { .fd = fds[n - 1], .events = POLLIN };

		if (s->f.seen.served)
			break;
		if (lender_has_work(s->f.l)) {
			lender_work(s->f.l);
			continue;
		}
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		lender_events(s->f.l);
	}
	assert_true(lend_resident(vm, BOOT, 0));
	assert_int_equal(status(vm).waiting, 0);
	check(s);
}

/* What a VM gives back is dirty, and zeroed again before anybody has it. */
static void what_comes_back_is_zeroed_again(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 8, 0);
	uint64_t zeroed;

	run_until_clean(s, BLOCKS - 1);
	use(s, vm, 1);
	zeroed = pool_status(&s->f).zeroed_blocks;
	report(vm, BOOT, 1, 1);
	run_until_clean(s, BLOCKS - 1);
	assert_int_equal(pool_status(&s->f).zeroed_blocks, zeroed + 1);
	check(s);
}

/* In place of the block's memory: a file with nothing in it, which gives a bus error. */
static void spoil(uint32_t block)
{
	char *at = memory + block * (size_t)MEMLEASE_BLOCK_BYTES;
	int fd = memfd_create("spoilt", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_ptr_equal(mmap(at, MEMLEASE_BLOCK_BYTES, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, fd, 0), at);
	close(fd);
}

/* A block cannot be written: its zeroing fails, and nothing else does. */
static void what_cannot_be_zeroed_is_retired(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 8, 0);
	uint32_t block;

	/* Here, for cmocka has handlers of its own around each function that it calls. */
	assert_int_equal(ml_bus_init(), 0);
	run_until_clean(s, BLOCKS - 1);
	use(s, vm, 1);
	block = MEMLEASE_SLOT_BLOCK(window_of(vm, BOOT)->word[1]);
	spoil(block);
	report(vm, BOOT, 1, 1);
	for (int ms = 0; ms < PATIENCE_MS && !pool_status(&s->f).retired_blocks; ms += 10) {
		poll(NULL, 0, 10);
		lender_tick(s->f.l);
	}
	assert_int_equal(pool_status(&s->f).retired_blocks, 1);
	run_until_clean(s, BLOCKS - 2);
	/* The source was told, too: it does not hand the block out. */
	lender_tick(s->f.l);
	assert_int_equal(s->pool->owner[block], FAKE_RETIRED);
	check(s);
}

/*
 * The table has a block for free that a VM has, against all rules. The module does not let the
 * daemon write to it; then it is not the memory that is broken, and the VM keeps what it has.
 */
static void what_a_vm_has_is_neither_zeroed_nor_retired(void **state)
{
	struct served *s = *state;
	struct lend_vm *vm = make_vm(&s->f, "a", 4, 8, 0);
	struct zero_stats zeroing;
	uint32_t block, word;
	int ms = 0;

	assert_int_equal(ml_bus_init(), 0);
	run_until_clean(s, BLOCKS - 1);
	use(s, vm, 1);
	word = window_of(vm, BOOT)->word[1];
	block = MEMLEASE_SLOT_BLOCK(word);
	spoil(block);
	pool_put(pool_self(&s->f.l->pool), block);
	do {
		assert_true((ms += 10) < PATIENCE_MS);
		poll(NULL, 0, 10);
		lender_tick(s->f.l);
		assert_true(clean_stats(s->f.l, &zeroing));
	} while (!zeroing.bad_blocks);
	lender_tick(s->f.l);
	assert_int_equal(window_of(vm, BOOT)->word[1], word);
	assert_int_equal(pool_status(&s->f).retired_blocks, 0);
	/* As the next daemon finds it: behind the slot, and so it is lent. */
	assert_int_equal(table_word(&s->f.l->pool.table, block).state, BLOCK_ZEROING);
}

#define ZEROING_TEST(name) cmocka_unit_test_setup_teardown(name, setup_zeroing, teardown_zeroing)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ZEROING_TEST(what_is_dirty_is_zeroed),
		ZEROING_TEST(who_waits_for_a_clean_block_is_served),
		ZEROING_TEST(what_comes_back_is_zeroed_again),
		ZEROING_TEST(what_cannot_be_zeroed_is_retired),
		ZEROING_TEST(what_a_vm_has_is_neither_zeroed_nor_retired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
