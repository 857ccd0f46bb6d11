/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pool in a scratch directory, for the unit tests of pool/. */
#ifndef ML_TESTS_UNIT_POOL_RIG_H
#define ML_TESTS_UNIT_POOL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../../host/pool/area.h"
#include "../../host/pool/pool.h"
#include "scratch.h"

#define RIG_BLOCKS 100
#define RIG_BOOT_ID "11111111-2222-3333-4444-555555555555"

struct pool_rig {
	struct scratch scratch;
	struct pool_setup setup;	/* of the next opening */
	struct pool pool;
	struct pool_user *user;
	bool old_boot;
	uint32_t need;
};

static inline int rig_open(struct pool_rig *r)
{
	int ret = pool_open(&r->pool, &r->setup, &r->old_boot, &r->need);

	r->user = ret == 0 ? pool_self(&r->pool) : NULL;
	return ret;
}

static inline int rig_reopen(struct pool_rig *r)
{
	pool_close(&r->pool);
	return rig_open(r);
}

/* Another size of pool: everything dirty or clean, as the backend has it. */
static inline void rig_anew(struct pool_rig *r, uint32_t blocks, bool zeroed_on_map)
{
	pool_close(&r->pool);
	unlinkat(r->setup.dirfd, "blocks", 0);
	r->setup.blocks = blocks;
	r->setup.zeroed_on_map = zeroed_on_map;
	assert_int_equal(rig_open(r), 0);
}

static inline int rig_setup(void **state)
{
	struct pool_rig *r = calloc(1, sizeof(*r));

	assert_int_equal(scratch_make(&r->scratch, 4), 0);
	r->setup = (struct pool_setup){
		.dirfd = open(r->scratch.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.blocks = RIG_BLOCKS, .zeroed_on_map = true, .boot_id = RIG_BOOT_ID,
	};
	assert_int_equal(rig_open(r), 0);
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct pool_rig *r = *state;

	pool_close(&r->pool);
	close(r->setup.dirfd);
	scratch_remove(&r->scratch);
	free(r);
	return 0;
}

static inline struct block_owner owner_of(uint16_t vm, uint32_t slot)
{
	return (struct block_owner){ .vm = vm, .region = 1, .slot = slot };
}

static inline struct block_owner fixed_owner(uint16_t vm, uint32_t slot)
{
	return (struct block_owner){ .vm = vm, .fixed = true, .slot = slot };
}

static inline uint32_t count_of(const struct pool_rig *r, enum block_state state)
{
	return table_count(&r->pool.table, state);
}

static inline enum block_state state_of(const struct pool_rig *r, uint32_t block)
{
	return table_word(&r->pool.table, block).state;
}

/* Zero all there is to zero, as the workers do. */
static inline void rig_zero_all(struct pool_rig *r)
{
	uint32_t blocks[64], n;

	while ((n = pool_take_dirty(r->user, blocks, 64)) > 0) {
		for (uint32_t i = 0; i < n; i++)
			pool_clean(r->user, blocks[i]);
	}
}

/* xorshift64*: the same numbers each time. */
static inline uint32_t rig_random(uint64_t *state, uint32_t below)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dULL >> 32) % below);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

#endif /* ML_TESTS_UNIT_POOL_RIG_H */
