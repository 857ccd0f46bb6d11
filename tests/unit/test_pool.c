// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/: the block table's words, moves and file, and the pool over it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../../host/pool/pool.h"
#include "scratch.h"

#define BLOCKS 100
#define BOOT_ID "11111111-2222-3333-4444-555555555555"

struct fixture {
	struct scratch scratch;
	int dirfd;
	struct pool pool;
	bool old_boot;
	uint32_t need;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_make(&f->scratch, 4), 0);
	f->dirfd = open(f->scratch.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(pool_open(&f->pool, f->dirfd, BLOCKS, true, BOOT_ID, &f->old_boot,
				   &f->need), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pool_close(&f->pool);
	close(f->dirfd);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

static int reopen(struct fixture *f, uint32_t blocks, const char *boot_id)
{
	pool_close(&f->pool);
	return pool_open(&f->pool, f->dirfd, blocks, true, boot_id, &f->old_boot, &f->need);
}

static void words_hold_their_fields(void **state)
{
	const struct block_word most = { .state = BLOCK_LENT, .vm = TABLE_VM_MAX, .region = 1,
					 .slot = TABLE_SLOT_MAX, .generation = 0xffff };
	struct block_word one = { .state = BLOCK_LENT, .slot = 1 }, w;

	(void)state;
	w = block_unpack(block_pack(&most));
	assert_int_equal(w.state, BLOCK_LENT);
	assert_int_equal(w.vm, TABLE_VM_MAX);
	assert_int_equal(w.region, 1);
	assert_int_equal(w.slot, TABLE_SLOT_MAX);
	assert_int_equal(w.generation, 0xffff);
	assert_true(block_pack(&one) == (BLOCK_LENT | 1ULL << 20));
	assert_int_equal(block_unpack(0).state, BLOCK_DIRTY);
}

static void legal_moves(void **state)
{
	(void)state;
	assert_true(block_move_legal(BLOCK_CLEAN, BLOCK_LENT));
	assert_true(block_move_legal(BLOCK_LENT, BLOCK_DIRTY));
	assert_true(block_move_legal(BLOCK_ZEROING, BLOCK_DIRTY));
	/* The two rules: no dirty block is lent, no lent block becomes clean unseen. */
	assert_false(block_move_legal(BLOCK_DIRTY, BLOCK_LENT));
	assert_false(block_move_legal(BLOCK_ZEROING, BLOCK_LENT));
	assert_false(block_move_legal(BLOCK_LENT, BLOCK_CLEAN));
	assert_false(block_move_legal(BLOCK_LENT, BLOCK_LENT));
	for (int to = 0; to < BLOCK_STATES; to++)
		assert_false(block_move_legal(BLOCK_RETIRED, (enum block_state)to));
}

static void a_stale_word_moves_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = table_raw(&f->pool.table, 0);

	assert_int_equal(table_move(&f->pool.table, 0, seen, BLOCK_LENT, 3, 1, 7), 0);
	assert_int_equal(table_move(&f->pool.table, 0, seen, BLOCK_LENT, 4, 0, 8), -EAGAIN);
	assert_int_equal(table_word(&f->pool.table, 0).vm, 3);
	assert_int_equal(table_word(&f->pool.table, 0).slot, 7);
	assert_int_equal(table_count(&f->pool.table, BLOCK_LENT), 1);
	table_validate(&f->pool.table);
}

static void an_illegal_move_ends_the_process(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		sigaction(SIGABRT, &dfl, NULL);
		table_move(&f->pool.table, 0, table_raw(&f->pool.table, 0), BLOCK_ZEROING, 0, 0, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void every_block_once(void **state)
{
	struct fixture *f = *state;
	bool had[BLOCKS] = { false };

	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint32_t b = pool_get(&f->pool, 1, 0, i);

		assert_true(b < BLOCKS);
		assert_false(had[b]);
		had[b] = true;
	}
	assert_int_equal(pool_get(&f->pool, 1, 0, BLOCKS), POOL_NO_BLOCK);
	assert_int_equal(pool_free_blocks(&f->pool), 0);
	pool_put(&f->pool, 42);
	assert_int_equal(pool_get(&f->pool, 2, 1, 9), 42);
	assert_int_equal(table_word(&f->pool.table, 42).generation, 2);
	pool_validate(&f->pool);
}

static void the_table_survives(void **state)
{
	struct fixture *f = *state;
	uint32_t b = pool_get(&f->pool, 7, 1, 12345);
	struct block_word w;

	pool_get(&f->pool, 7, 1, 12346);
	assert_int_equal(reopen(f, BLOCKS, BOOT_ID), 0);
	assert_false(f->old_boot);
	assert_int_equal(pool_free_blocks(&f->pool), BLOCKS - 2);
	w = table_word(&f->pool.table, b);
	assert_int_equal(w.state, BLOCK_LENT);
	assert_int_equal(w.vm, 7);
	assert_int_equal(w.slot, 12345);
	pool_validate(&f->pool);
	/* After a reboot of the machine nothing is lent. */
	assert_int_equal(reopen(f, BLOCKS, "other"), 0);
	assert_true(f->old_boot);
	assert_int_equal(pool_free_blocks(&f->pool), BLOCKS);
}

static void half_zeroed_blocks_are_dirty(void **state)
{
	struct fixture *f = *state;
	struct table *t = &f->pool.table;
	uint32_t b = pool_get(&f->pool, 1, 0, 0);

	assert_int_equal(table_move(t, b, table_raw(t, b), BLOCK_DIRTY, 0, 0, 0), 0);
	assert_int_equal(table_move(t, b, table_raw(t, b), BLOCK_ZEROING, 0, 0, 0), 0);
	/* Where the backend does not zero, they are not free. */
	pool_close(&f->pool);
	assert_int_equal(pool_open(&f->pool, f->dirfd, BLOCKS, false, BOOT_ID, &f->old_boot,
				   &f->need), 0);
	assert_int_equal(pool_free_blocks(&f->pool), BLOCKS - 1);
	assert_int_equal(reopen(f, BLOCKS, BOOT_ID), 0);
	assert_int_equal(pool_free_blocks(&f->pool), BLOCKS);
	pool_validate(&f->pool);
}

static void pools_change_size(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 10; i++)
		pool_get(&f->pool, 1, 0, i);
	assert_int_equal(reopen(f, BLOCKS * 2, BOOT_ID), 0);
	assert_int_equal(pool_free_blocks(&f->pool), BLOCKS * 2 - 10);
	assert_int_equal(reopen(f, 9, BOOT_ID), -EBUSY);
	assert_int_equal(f->need, 10);
	assert_int_equal(reopen(f, 10, BOOT_ID), 0);
	assert_int_equal(pool_free_blocks(&f->pool), 0);
	pool_validate(&f->pool);
	assert_int_equal(reopen(f, 0, BOOT_ID), -EINVAL);
	assert_int_equal(reopen(f, 10, BOOT_ID), 0);
}

static void damaged_tables_are_refused(void **state)
{
	struct fixture *f = *state;
	int fd = openat(f->dirfd, "blocks", O_RDWR | O_CLOEXEC);

	pool_close(&f->pool);
	/* An unknown state in the third word. */
	assert_int_equal(pwrite(fd, "\7\0\0\0\0\0\0", 8, 4096 + 16), 8);
	assert_int_equal(pool_open(&f->pool, f->dirfd, BLOCKS, true, BOOT_ID, &f->old_boot,
				   &f->need), -EUCLEAN);
	assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
	assert_int_equal(pool_open(&f->pool, f->dirfd, BLOCKS, true, BOOT_ID, &f->old_boot,
				   &f->need), -EUCLEAN);
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(pool_open(&f->pool, f->dirfd, BLOCKS, true, BOOT_ID, &f->old_boot,
				   &f->need), -EUCLEAN);
	close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_hold_their_fields), cmocka_unit_test(legal_moves),
		T(a_stale_word_moves_nothing), T(an_illegal_move_ends_the_process),
		T(every_block_once), T(the_table_survives), T(half_zeroed_blocks_are_dirty),
		T(pools_change_size), T(damaged_tables_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
