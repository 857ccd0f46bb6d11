// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/table: words, moves, and the file, of this version and of the one before. */
#include "pool_rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HEADER 4096

static void words_hold_their_fields(void **state)
{
	const struct block_word most = {
		.state = BLOCK_LENT, .generation = TABLE_GENERATION_MAX,
		.owner = { .vm = TABLE_VM_MAX, .region = 1, .fixed = true, .slot = TABLE_SLOT_MAX },
	};
	const struct block_word one = { .state = BLOCK_LENT, .owner = { .slot = 1 } };
	const struct block_word gold = {
		.state = BLOCK_MOVING, .generation = 0x1234,
		.owner = { .vm = 0xabcd, .region = 1, .fixed = false, .slot = 0x7654321 },
	};
	struct block_word w;

	(void)state;
	w = block_unpack(block_pack(&most));
	assert_int_equal(w.state, BLOCK_LENT);
	assert_int_equal(w.generation, TABLE_GENERATION_MAX);
	assert_int_equal(w.owner.vm, TABLE_VM_MAX);
	assert_int_equal(w.owner.region, 1);
	assert_true(w.owner.fixed);
	assert_int_equal(w.owner.slot, TABLE_SLOT_MAX);
	assert_true(block_pack(&most) == (UINT64_MAX & ~7ULL) + BLOCK_LENT);
	assert_true(block_pack(&one) == (BLOCK_LENT | 1ULL << 20));
	/* The file's words: these bytes stay. */
	assert_true(block_pack(&gold) == 0x24687654321abcdeULL);
	assert_int_equal(block_unpack(0).state, BLOCK_DIRTY);
}

static void legal_moves(void **state)
{
	/* From each state, with D(irty) Z(eroing) C(lean) L(ent) R(etired) O(ffered) M(oving). */
	static const char names[] = "DZCLROM";
	static const char *const to[BLOCK_STATES] = {
		[BLOCK_DIRTY] = "ZMR", [BLOCK_ZEROING] = "CDR", [BLOCK_CLEAN] = "LOMR",
		[BLOCK_LENT] = "DR", [BLOCK_RETIRED] = "", [BLOCK_OFFERED] = "LCDR",
		[BLOCK_MOVING] = "LDR",
	};

	(void)state;
	for (int a = 0; a < BLOCK_STATES; a++) {
		for (int b = 0; b < BLOCK_STATES; b++) {
			bool legal = strchr(to[a], names[b]) != NULL;
			bool only_zeroed = b == BLOCK_CLEAN &&
					   (a == BLOCK_DIRTY || a == BLOCK_LENT || a == BLOCK_MOVING);

			assert_int_equal(block_move_legal(a, b, false), legal);
			assert_int_equal(block_move_legal(a, b, true), legal || only_zeroed);
		}
		assert_false(block_move_legal(a, BLOCK_STATES, true));
	}
}

static void a_stale_word_moves_nothing(void **state)
{
	struct pool_rig *r = *state;
	struct table *t = &r->pool.table;
	uint64_t seen = table_raw(t, 0);

	assert_int_equal(table_move(t, 0, 0, seen, BLOCK_LENT, owner_of(3, 7)), 0);
	assert_int_equal(table_move(t, 0, 0, seen, BLOCK_LENT, owner_of(4, 8)), -EAGAIN);
	assert_int_equal(table_word(t, 0).owner.vm, 3);
	assert_int_equal(table_word(t, 0).owner.slot, 7);
	assert_int_equal(count_of(r, BLOCK_LENT), 1);
	table_validate(t);
	/* Nor does it when the block has come back meanwhile: no two loans look alike. */
	assert_int_equal(table_move(t, 0, 0, table_raw(t, 0), BLOCK_CLEAN, owner_of(0, 0)), 0);
	assert_int_equal(table_move(t, 0, 0, seen, BLOCK_LENT, owner_of(4, 8)), -EAGAIN);
}

/* A sum taken while other threads move a block may count that it left, and not that it came. */
static void a_count_is_never_below_none(void **state)
{
	struct pool_rig *r = *state;
	struct table *t = &r->pool.table;

	table_admit(t, 3);
	t->tally[3].count[BLOCK_ZEROING]--;
	assert_int_equal(count_of(r, BLOCK_ZEROING), 0);
	t->tally[2].count[BLOCK_ZEROING] += 2;
	assert_int_equal(count_of(r, BLOCK_ZEROING), 1);
}

static void generations_go_round(void **state)
{
	struct pool_rig *r = *state;
	struct table *t = &r->pool.table;

	for (uint32_t i = 1; i <= TABLE_GENERATION_MAX + 2; i++) {
		assert_int_equal(table_move(t, 0, 5, table_raw(t, 5), BLOCK_LENT, owner_of(1, 2)), 0);
		assert_int_equal(table_word(t, 5).generation, i & TABLE_GENERATION_MAX);
		assert_int_equal(table_word(t, 5).owner.slot, 2);
		assert_int_equal(table_move(t, 0, 5, table_raw(t, 5), BLOCK_CLEAN, owner_of(0, 0)), 0);
	}
}

static void an_illegal_move_ends_the_process(void **state)
{
	struct pool_rig *r = *state;
	struct table *t = &r->pool.table;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		sigaction(SIGABRT, &dfl, NULL);
		table_move(t, 0, 0, table_raw(t, 0), BLOCK_ZEROING, owner_of(0, 0));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void the_table_survives(void **state)
{
	struct pool_rig *r = *state;
	uint32_t b = pool_get(r->user, owner_of(7, 12345));
	struct block_word w;

	pool_get(r->user, fixed_owner(7, 12346));
	assert_int_equal(rig_reopen(r), 0);
	assert_false(r->old_boot);
	assert_int_equal(pool_free_blocks(&r->pool), RIG_BLOCKS - 2);
	w = table_word(&r->pool.table, b);
	assert_int_equal(w.state, BLOCK_LENT);
	assert_int_equal(w.owner.vm, 7);
	assert_int_equal(w.owner.slot, 12345);
	pool_validate(&r->pool);
	/* After a reboot of the machine nothing is lent. */
	r->setup.boot_id = "other";
	assert_int_equal(rig_reopen(r), 0);
	assert_true(r->old_boot);
	assert_int_equal(pool_free_blocks(&r->pool), RIG_BLOCKS);
}

static void half_zeroed_blocks_are_dirty(void **state)
{
	struct pool_rig *r = *state;
	uint32_t blocks[3];

	rig_anew(r, RIG_BLOCKS, false);
	assert_int_equal(count_of(r, BLOCK_DIRTY), RIG_BLOCKS);
	assert_int_equal(pool_take_dirty(r->user, blocks, 3), 3);
	pool_clean(r->user, blocks[0]);
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(count_of(r, BLOCK_ZEROING), 0);
	assert_int_equal(count_of(r, BLOCK_DIRTY), RIG_BLOCKS - 1);
	assert_int_equal(state_of(r, blocks[0]), BLOCK_CLEAN);
	pool_validate(&r->pool);
}

/*
 * For a backend that zeroes what it maps CLEAN means that the block will be zeroed, for others
 * that it is: so the first kind of CLEAN is DIRTY to the others.
 */
static void clean_for_one_backend_is_dirty_for_another(void **state)
{
	struct pool_rig *r = *state;
	uint32_t lent = pool_get(r->user, owner_of(1, 1));

	assert_int_equal(count_of(r, BLOCK_CLEAN), RIG_BLOCKS - 1);
	r->setup.zeroed_on_map = false;
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(count_of(r, BLOCK_CLEAN), 0);
	assert_int_equal(count_of(r, BLOCK_DIRTY), RIG_BLOCKS - 1);
	assert_int_equal(state_of(r, lent), BLOCK_LENT);
	rig_zero_all(r);
	r->setup.zeroed_on_map = true;
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(count_of(r, BLOCK_CLEAN), RIG_BLOCKS - 1);
	pool_validate(&r->pool);
}

static int reopen_as(struct pool_rig *r, uint32_t blocks)
{
	r->setup.blocks = blocks;
	return rig_reopen(r);
}

static void pools_change_size(void **state)
{
	struct pool_rig *r = *state;
	uint32_t most = 0;

	for (uint32_t i = 0; i < 10; i++) {
		uint32_t b = pool_get(r->user, owner_of(1, i));

		most = b > most ? b : most;
	}
	assert_int_equal(reopen_as(r, RIG_BLOCKS * 2), 0);
	assert_int_equal(pool_free_blocks(&r->pool), RIG_BLOCKS * 2 - 10);
	assert_int_equal(reopen_as(r, most), -EBUSY);
	assert_int_equal(r->need, most + 1);
	assert_int_equal(reopen_as(r, most + 1), 0);
	assert_int_equal(pool_free_blocks(&r->pool), most + 1 - 10);
	pool_validate(&r->pool);
	assert_int_equal(reopen_as(r, 0), -EINVAL);
	assert_int_equal(reopen_as(r, most + 1), 0);
}

static void damaged_tables_are_refused(void **state)
{
	struct pool_rig *r = *state;
	int fd = openat(r->setup.dirfd, "blocks", O_RDWR | O_CLOEXEC);

	/* An unknown state in the third word. */
	assert_int_equal(pwrite(fd, "\7\0\0\0\0\0\0", 8, HEADER + 16), 8);
	assert_int_equal(rig_reopen(r), -EUCLEAN);
	/* A version that is not yet. */
	assert_int_equal(pwrite(fd, "\3", 1, 8), 1);
	assert_int_equal(rig_reopen(r), -EUCLEAN);
	assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
	assert_int_equal(rig_reopen(r), -EUCLEAN);
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(rig_reopen(r), -EUCLEAN);
	close(fd);
}

/* The name was on the disk, and what was stored into the file was not. */
static void a_table_that_power_was_lost_on_is_made_anew(void **state)
{
	static const char zeros[HEADER + 8 * RIG_BLOCKS];
	struct pool_rig *r = *state;
	int fd;

	pool_get(r->user, owner_of(1, 1));
	fd = openat(r->setup.dirfd, "blocks", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	close(fd);
	r->setup.zeroed_on_map = false;
	assert_int_equal(rig_reopen(r), 0);
	assert_true(r->old_boot);
	assert_int_equal(count_of(r, BLOCK_DIRTY), RIG_BLOCKS);
	pool_validate(&r->pool);
}

/* As the daemon of version 1 wrote it: a generation of 16 bits, and none of the rest. */
static void make_v1(struct pool_rig *r, const uint64_t *words, uint32_t blocks)
{
	int fd = openat(r->setup.dirfd, "blocks", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const uint32_t version = 1;

	assert_int_equal(ftruncate(fd, HEADER + blocks * 8), 0);
	assert_int_equal(pwrite(fd, "ml table", 8, 0), 8);
	assert_int_equal(pwrite(fd, &version, 4, 8), 4);
	assert_int_equal(pwrite(fd, &blocks, 4, 12), 4);
	assert_int_equal(pwrite(fd, RIG_BOOT_ID, sizeof(RIG_BOOT_ID), 16), sizeof(RIG_BOOT_ID));
	assert_int_equal(pwrite(fd, words, blocks * 8, HEADER), blocks * 8);
	close(fd);
}

static void tables_of_version_1_are_taken_over(void **state)
{
	struct pool_rig *r = *state;
	const uint64_t words[4] = {
		BLOCK_LENT | 1ULL << 3 | 7ULL << 4 | 99ULL << 20 | 0x8005ULL << 48,
		BLOCK_RETIRED | 3ULL << 48, BLOCK_CLEAN | 0xffffULL << 48, BLOCK_DIRTY,
	};
	const uint64_t bad[4] = { BLOCK_OFFERED };
	struct block_word w;

	pool_close(&r->pool);
	make_v1(r, words, 4);
	r->setup.blocks = 4;
	assert_int_equal(rig_open(r), 0);
	assert_false(r->old_boot);
	w = table_word(&r->pool.table, 0);
	assert_int_equal(w.state, BLOCK_LENT);
	assert_int_equal(w.owner.vm, 7);
	assert_int_equal(w.owner.region, 1);
	assert_int_equal(w.owner.slot, 99);
	assert_false(w.owner.fixed);
	assert_int_equal(w.generation, 5);
	assert_int_equal(state_of(r, 1), BLOCK_RETIRED);
	assert_int_equal(count_of(r, BLOCK_CLEAN), 2);
	pool_validate(&r->pool);
	/* And now it is one of version 2. */
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(table_word(&r->pool.table, 0).owner.slot, 99);
	pool_close(&r->pool);
	make_v1(r, bad, 4);
	assert_int_equal(rig_open(r), -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_hold_their_fields), cmocka_unit_test(legal_moves),
		RIG_TEST(a_stale_word_moves_nothing), RIG_TEST(a_count_is_never_below_none),
		RIG_TEST(generations_go_round),
		RIG_TEST(an_illegal_move_ends_the_process), RIG_TEST(the_table_survives),
		RIG_TEST(half_zeroed_blocks_are_dirty),
		RIG_TEST(clean_for_one_backend_is_dirty_for_another),
		RIG_TEST(pools_change_size), RIG_TEST(damaged_tables_are_refused),
		RIG_TEST(a_table_that_power_was_lost_on_is_made_anew),
		RIG_TEST(tables_of_version_1_are_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
