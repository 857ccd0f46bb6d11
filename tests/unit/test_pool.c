// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/: lending single blocks and runs, kinds, ranges, zeroing, supply, errors, moves. */
#include "pool_rig.h"

#define GIB POOL_AREA_BLOCKS

static uint32_t area_at(const struct pool_rig *r, uint32_t block)
{
	return pool_area_of(&r->pool, block);
}

static void every_block_once(void **state)
{
	struct pool_rig *r = *state;
	bool had[RIG_BLOCKS] = { false };

	for (uint32_t i = 0; i < RIG_BLOCKS; i++) {
		uint32_t b = pool_get(r->user, i & 1 ? fixed_owner(1, i) : owner_of(1, i));

		assert_true(b < RIG_BLOCKS);
		assert_false(had[b]);
		had[b] = true;
		pool_validate(&r->pool);
	}
	assert_int_equal(pool_get(r->user, owner_of(1, 0)), POOL_NO_BLOCK);
	assert_int_equal(pool_get(r->user, fixed_owner(1, 0)), POOL_NO_BLOCK);
	assert_int_equal(pool_free_blocks(&r->pool), 0);
	pool_put(r->user, 42);
	assert_int_equal(pool_get(r->user, owner_of(2, 9)), 42);
	assert_int_equal(table_word(&r->pool.table, 42).generation, 2);
	pool_validate(&r->pool);
}

static void kinds_do_not_mix(void **state)
{
	struct pool_rig *r = *state;
	uint32_t movable[2 * GIB], fixed[2 * GIB];

	rig_anew(r, 8 * GIB, true);
	for (uint32_t i = 0; i < 2 * GIB; i++) {
		movable[i] = pool_get(r->user, owner_of(1, i));
		fixed[i] = pool_get(r->user, fixed_owner(1, i));
	}
	for (uint32_t i = 0; i < 2 * GIB; i++) {
		for (uint32_t k = 0; k < 2 * GIB; k += GIB - 1)
			assert_int_not_equal(area_at(r, movable[i]), area_at(r, fixed[k]));
	}
	pool_validate(&r->pool);
	/* The same after the bitmaps have been rebuilt. */
	assert_int_equal(rig_reopen(r), 0);
	for (uint32_t i = 0; i < GIB; i++) {
		uint32_t m = pool_get(r->user, owner_of(1, i));

		assert_int_not_equal(area_at(r, m), area_at(r, fixed[0]));
		assert_int_not_equal(area_at(r, m), area_at(r, fixed[2 * GIB - 1]));
	}
}

static void whole_gibs_stay_whole(void **state)
{
	struct pool_rig *r = *state;
	uint32_t whole, clean, blocks[3 * GIB];
	uint64_t seed = 7;

	rig_anew(r, 16 * GIB, true);
	for (uint32_t i = 0; i < 3 * GIB; i++)
		blocks[i] = pool_get(r->user, owner_of(1, i));
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, 13);
	/* Churn at this level opens no other. */
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t k = rig_random(&seed, 3 * GIB);

		pool_put(r->user, blocks[k]);
		blocks[k] = pool_get(r->user, owner_of(1, i));
		assert_int_not_equal(blocks[k], POOL_NO_BLOCK);
	}
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, 13);
	for (uint32_t i = 0; i < 13; i++)
		assert_int_not_equal(pool_get_run(r->user, fixed_owner(2, i * GIB), 9), POOL_NO_BLOCK);
	assert_int_equal(pool_get_run(r->user, fixed_owner(2, 0), 9), POOL_NO_BLOCK);
	pool_validate(&r->pool);
}

static void runs_are_aligned(void **state)
{
	struct pool_rig *r = *state;

	rig_anew(r, 8 * GIB, true);
	for (unsigned int order = 0; order <= POOL_AREA_ORDER; order++) {
		uint32_t first = pool_get_run(r->user, owner_of(1, order * 1000), order);

		assert_int_not_equal(first, POOL_NO_BLOCK);
		assert_int_equal(first % (1U << order), 0);
		for (uint32_t i = 0; i < 1U << order; i++) {
			struct block_word w = table_word(&r->pool.table, first + i);

			assert_int_equal(w.state, BLOCK_LENT);
			assert_int_equal(w.owner.slot, order * 1000 + i);
		}
		pool_validate(&r->pool);
	}
	assert_int_equal(pool_get_run(r->user, owner_of(1, 0), POOL_AREA_ORDER + 1), POOL_NO_BLOCK);
}

/* Runs and single blocks at random: what is had is had once, and all comes back. */
static void runs_and_blocks_at_random(void **state)
{
	struct pool_rig *r = *state;
	struct { uint32_t first; unsigned int order; } had[64] = { { 0 } };
	uint8_t *owned = calloc(4, GIB);
	uint64_t seed = 20260101;
	uint32_t used = 0;

	rig_anew(r, 4 * GIB, true);
	for (uint32_t i = 0; i < 64; i++)
		had[i].first = POOL_NO_BLOCK;
	for (uint32_t step = 0; step < 20000; step++) {
		uint32_t k = rig_random(&seed, 64), n;

		if (had[k].first == POOL_NO_BLOCK) {
			unsigned int order = rig_random(&seed, POOL_AREA_ORDER + 1);
			bool fixed = rig_random(&seed, 2);

			n = 1U << order;
			had[k].order = order;
			had[k].first = pool_get_run(r->user, fixed ? fixed_owner(1, k) : owner_of(1, k),
						    order);
			if (had[k].first == POOL_NO_BLOCK)
				continue;
			assert_int_equal(had[k].first % n, 0);
			for (uint32_t i = 0; i < n; i++) {
				assert_int_equal(owned[had[k].first + i], 0);
				owned[had[k].first + i] = 1;
			}
			used += n;
			continue;
		}
		n = 1U << had[k].order;
		for (uint32_t i = 0; i < n; i++) {
			owned[had[k].first + i] = 0;
			pool_put(r->user, had[k].first + i);
		}
		had[k].first = POOL_NO_BLOCK;
		used -= n;
		assert_int_equal(pool_free_blocks(&r->pool), 4 * GIB - used);
		if (step % 500 == 0)
			pool_validate(&r->pool);
	}
	pool_validate(&r->pool);
	free(owned);
}

/* A GiB of physical memory is what counts, not 512 blocks from the first one on. */
static void ranges_lie_where_they_lie(void **state)
{
	struct pool_rig *r = *state;
	const struct pool_range ranges[] = {
		{ .first = 0, .blocks = 700, .base = (4ULL << 30) + 256 * (2ULL << 20), .node = 0 },
		{ .first = 700, .blocks = 1024, .base = 64ULL << 30, .node = 1 },
		{ .first = 1724, .blocks = 512, .base = 128ULL << 30, .node = 0, .tier = 1 },
	};
	struct pool_range wrong[2] = { ranges[0], ranges[1] };
	struct pool_user *u;
	uint32_t b, n = 0;

	r->setup.ranges = ranges;
	r->setup.range_count = 3;
	rig_anew(r, 2236, true);
	assert_int_equal(r->pool.area_count, 5);
	pool_validate(&r->pool);
	u = pool_join(&r->pool, 0);
	/* Node 0 first, of it what is no whole GiB; then its GiB is left for node 1's... no: 444. */
	b = pool_get_run(u, owner_of(1, 0), 8);
	assert_true(b == 0);
	b = pool_get_run(u, owner_of(1, 0), 9);
	assert_int_equal(b, 700);	/* the one of node 0 is 444 blocks long */
	while ((b = pool_get(u, owner_of(1, n))) < 700)
		n++;
	assert_int_equal(n, 700 - 256);
	assert_true(b >= 1212 && b < 1724);	/* a fast tier elsewhere before a slow one here */
	for (n = 1; (b = pool_get(u, owner_of(1, n))) < 1724; n++)
		;
	assert_int_equal(n, 512);
	/* Only the range that was named. */
	pool_put(u, 5);
	pool_prefer(u, (const uint8_t[]){ 2 }, 1);
	for (n = 0; pool_get(u, owner_of(1, n)) != POOL_NO_BLOCK; n++)
		;
	assert_int_equal(n, 511);
	pool_leave(u);
	pool_validate(&r->pool);
	r->setup.ranges = wrong;
	r->setup.range_count = 2;
	assert_int_equal(rig_reopen(r), -EINVAL);	/* of 2236 blocks 1724 */
	wrong[1].first = 701;
	assert_int_equal(rig_reopen(r), -EINVAL);
	r->setup.range_count = 0;
	assert_int_equal(rig_reopen(r), -EINVAL);
}

static void dirty_blocks_are_not_lent(void **state)
{
	struct pool_rig *r = *state;
	uint32_t blocks[64], n, b;

	rig_anew(r, 2 * GIB, false);
	assert_int_equal(pool_get(r->user, owner_of(1, 0)), POOL_NO_BLOCK);
	n = pool_take_dirty(r->user, blocks, 8);
	assert_int_equal(n, 8);
	for (uint32_t i = 1; i < n; i++)
		assert_int_equal(blocks[i], blocks[0] + i);
	pool_undo_dirty(r->user, blocks[0]);
	for (uint32_t i = 1; i < n; i++)
		pool_clean(r->user, blocks[i]);
	for (uint32_t i = 1; i < n; i++) {
		b = pool_get(r->user, owner_of(1, i));
		assert_int_equal(table_word(&r->pool.table, b).generation, 1);
	}
	assert_int_equal(pool_get(r->user, owner_of(1, 0)), POOL_NO_BLOCK);
	pool_put(r->user, blocks[3]);
	assert_int_equal(state_of(r, blocks[3]), BLOCK_DIRTY);
	assert_int_equal(pool_get(r->user, owner_of(1, 0)), POOL_NO_BLOCK);
	pool_validate(&r->pool);
	rig_zero_all(r);
	assert_int_equal(pool_free_blocks(&r->pool), 2 * GIB - 6);
	pool_validate(&r->pool);
}

/* A run that has only to be zeroed is zeroed before anything else. */
static void wishes_are_zeroed_first(void **state)
{
	struct pool_rig *r = *state;
	uint32_t blocks[4 * GIB], one[1];

	rig_anew(r, 4 * GIB, false);
	rig_zero_all(r);
	for (uint32_t i = 0; i < 4 * GIB; i++)
		blocks[i] = pool_get(r->user, owner_of(1, i));
	pool_rest(r->user);
	for (uint32_t i = 0; i < 4 * GIB; i++) {
		if (area_at(r, blocks[i]) == 2 || blocks[i] % 2)
			pool_put(r->user, blocks[i]);
	}
	/* Areas in use come before one that is wholly free. */
	assert_int_equal(pool_take_dirty(r->user, one, 1), 1);
	assert_int_not_equal(area_at(r, one[0]), 2);
	pool_undo_dirty(r->user, one[0]);
	assert_int_equal(pool_get_run(r->user, owner_of(1, 0), 9), POOL_NO_BLOCK);
	for (uint32_t i = 0; i < GIB; i++) {
		assert_int_equal(pool_take_dirty(r->user, one, 1), 1);
		assert_int_equal(area_at(r, one[0]), 2);
		pool_clean(r->user, one[0]);
	}
	assert_int_equal(area_at(r, pool_get_run(r->user, owner_of(1, 0), 9)), 2);
	pool_validate(&r->pool);
}

static void supply_of_the_module(void **state)
{
	struct pool_rig *r = *state;
	uint32_t ring[16];

	rig_anew(r, GIB, false);
	assert_int_equal(pool_offer(r->user, ring, 16), 0);
	rig_zero_all(r);
	assert_int_equal(pool_offer(r->user, ring, 16), 16);
	assert_int_equal(count_of(r, BLOCK_OFFERED), 16);
	assert_int_equal(pool_taken(r->user, ring[0], owner_of(3, 5)), 0);
	assert_int_equal(table_word(&r->pool.table, ring[0]).owner.slot, 5);
	assert_int_equal(pool_taken(r->user, ring[0], owner_of(3, 6)), -EAGAIN);
	pool_unoffer(r->user, ring[1]);
	assert_int_equal(state_of(r, ring[1]), BLOCK_CLEAN);
	pool_put(r->user, ring[2]);
	assert_int_equal(state_of(r, ring[2]), BLOCK_DIRTY);
	pool_put(r->user, ring[0]);
	pool_validate(&r->pool);
	assert_int_equal(count_of(r, BLOCK_DIRTY), 2);
	assert_int_equal(count_of(r, BLOCK_OFFERED), 13);
}

static void retired_blocks_are_never_lent_again(void **state)
{
	struct pool_rig *r = *state;
	uint32_t lent, taken[1], n = 0, whole, clean;

	rig_anew(r, 2 * GIB, false);
	pool_take_dirty(r->user, taken, 1);
	pool_retire(r->user, 300);			/* dirty */
	rig_zero_all(r);
	lent = pool_get(r->user, owner_of(9, 77));
	pool_retire(r->user, 400);			/* clean */
	assert_int_equal(pool_retire(r->user, lent).owner.slot, 77);
	assert_int_equal(pool_retire(r->user, lent).state, BLOCK_RETIRED);
	pool_put(r->user, lent);			/* its slot was emptied */
	pool_retire(r->user, taken[0]);			/* zeroing */
	pool_clean(r->user, taken[0]);
	pool_validate(&r->pool);
	assert_int_equal(count_of(r, BLOCK_RETIRED), 4);
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(count_of(r, BLOCK_RETIRED), 4);
	pool_validate(&r->pool);
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, area_at(r, lent) == area_at(r, 300) ? 1 : 0);
	for (uint32_t b; (b = pool_get(r->user, owner_of(1, n))) != POOL_NO_BLOCK; n++) {
		assert_int_not_equal(b, lent);
		assert_int_not_equal(b, 300);
		assert_int_not_equal(b, 400);
	}
	assert_int_equal(n, 2 * GIB - 4);
}

static void users_come_and_go(void **state)
{
	struct pool_rig *r = *state;
	struct pool_user *u[POOL_USERS_MAX];
	uint32_t b, whole, clean;

	rig_anew(r, 4 * GIB, true);
	for (uint32_t i = 1; i < POOL_USERS_MAX; i++) {
		u[i] = pool_join(&r->pool, 0);
		assert_non_null(u[i]);
	}
	assert_null(pool_join(&r->pool, 0));
	/* Two that do not share while there is room; a third one leaves the last GiBs whole. */
	b = pool_get(u[1], owner_of(1, 1));
	assert_int_not_equal(area_at(r, b), area_at(r, pool_get(u[2], owner_of(1, 2))));
	pool_get(u[3], owner_of(1, 3));
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, 2);
	/* One gets, another puts. */
	pool_put(u[9], b);
	for (uint32_t i = 1; i < POOL_USERS_MAX; i++)
		pool_leave(u[i]);
	assert_int_equal(count_of(r, BLOCK_LENT), 2);
	pool_validate(&r->pool);
	u[1] = pool_join(&r->pool, 0);
	assert_non_null(u[1]);
	pool_leave(u[1]);
}

static void areas_are_emptied(void **state)
{
	struct pool_rig *r = *state;
	uint32_t blocks[2 * GIB], left[GIB], n, into, whole, clean;

	rig_anew(r, 4 * GIB, false);
	rig_zero_all(r);
	for (uint32_t i = 0; i < 2 * GIB; i++)
		blocks[i] = pool_get(r->user, owner_of(1, i));
	assert_int_equal(pool_area_close(&r->pool, area_at(r, blocks[2 * GIB - 1])), -EBUSY);
	pool_rest(r->user);
	for (uint32_t i = 0; i < 2 * GIB; i += 2)
		pool_put(r->user, blocks[i]);
	rig_zero_all(r);
	into = area_at(r, blocks[0]);
	assert_int_equal(pool_area_close(&r->pool, area_at(r, blocks[2 * GIB - 1])), 0);
	assert_int_equal(pool_area_close(&r->pool, area_at(r, blocks[2 * GIB - 1])), -EBUSY);
	n = pool_area_lent(&r->pool, area_at(r, blocks[2 * GIB - 1]), left, GIB);
	assert_int_equal(n, GIB / 2);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t to = pool_move_begin(r->user, left[i], i % 2 ? into : POOL_NO_AREA);

		assert_int_equal(area_at(r, to), into);
		assert_int_equal(state_of(r, to), BLOCK_MOVING);
		assert_int_equal(state_of(r, left[i]), BLOCK_LENT);
		if (i == 0) {
			pool_move_undo(r->user, to);
			assert_int_equal(state_of(r, to), BLOCK_DIRTY);
			rig_zero_all(r);
			to = pool_move_begin(r->user, left[i], into);
		}
		pool_move_end(r->user, left[i], to);
		assert_int_equal(state_of(r, to), BLOCK_LENT);
		assert_int_equal(state_of(r, left[i]), BLOCK_DIRTY);
	}
	/* No more room but in whole areas, and those are not for this. */
	assert_int_equal(pool_move_begin(r->user, blocks[1], POOL_NO_AREA), POOL_NO_BLOCK);
	pool_area_open(&r->pool, area_at(r, blocks[2 * GIB - 1]));
	rig_zero_all(r);
	pool_whole_areas(&r->pool, &whole, &clean);
	assert_int_equal(whole, 3);
	assert_int_equal(clean, 3);
	pool_validate(&r->pool);
	/* Fixed loans do not move. */
	n = pool_get(r->user, fixed_owner(1, 0));
	assert_int_equal(pool_move_begin(r->user, n, POOL_NO_AREA), POOL_NO_BLOCK);
}

/* What a module would say: where each block stands. */
struct told {
	enum pool_truth truth[RIG_BLOCKS];
	struct block_owner owner[RIG_BLOCKS];
};

static enum pool_truth tell(void *ctx, uint32_t block, struct block_owner *owner)
{
	const struct told *t = ctx;

	*owner = t->owner[block];
	return t->truth[block];
}

static void settling_believes_the_slots(void **state)
{
	struct pool_rig *r = *state;
	const struct pool_range halves[] = { { .blocks = RIG_BLOCKS / 2 },
					     { .first = RIG_BLOCKS / 2, .blocks = RIG_BLOCKS / 2 } };
	struct told t = { 0 };
	uint32_t lent, gone, ring[3], to;

	r->setup.ranges = halves;
	r->setup.range_count = 2;
	rig_anew(r, RIG_BLOCKS, false);
	rig_zero_all(r);
	lent = pool_get(r->user, owner_of(1, 1));
	gone = pool_get(r->user, owner_of(1, 2));
	pool_offer(r->user, ring, 3);
	to = pool_move_begin(r->user, lent, 1);
	/* The move came as far as the slot; one of the ring was taken, one is there, one was drawn back. */
	t.truth[to] = POOL_BEHIND;
	t.owner[to] = owner_of(1, 1);
	t.truth[ring[0]] = POOL_BEHIND;
	t.owner[ring[0]] = owner_of(2, 8);
	t.truth[ring[1]] = POOL_IN_RING;
	assert_int_equal(rig_reopen(r), 0);
	assert_int_equal(pool_settle(&r->pool, tell, &t), 0);
	assert_int_equal(state_of(r, lent), BLOCK_DIRTY);
	assert_int_equal(state_of(r, to), BLOCK_LENT);
	assert_int_equal(state_of(r, gone), BLOCK_DIRTY);
	assert_int_equal(state_of(r, ring[0]), BLOCK_LENT);
	assert_int_equal(table_word(&r->pool.table, ring[0]).owner.slot, 8);
	assert_int_equal(state_of(r, ring[1]), BLOCK_OFFERED);
	assert_int_equal(state_of(r, ring[2]), BLOCK_DIRTY);
	pool_validate(&r->pool);
	assert_int_equal(pool_settle(&r->pool, tell, &t), 0);
	/* Damage: free by the table and mapped; dirty and in the ring; another's. */
	t.truth[lent] = POOL_BEHIND;
	t.owner[lent] = owner_of(4, 4);
	t.truth[gone] = POOL_IN_RING;
	t.owner[to] = owner_of(5, 5);
	assert_int_equal(pool_settle(&r->pool, tell, &t), 3);
	assert_int_equal(table_word(&r->pool.table, lent).owner.vm, 4);
	assert_int_equal(state_of(r, lent), BLOCK_LENT);
	assert_int_equal(state_of(r, gone), BLOCK_RETIRED);
	assert_int_equal(table_word(&r->pool.table, to).owner.vm, 5);
	pool_validate(&r->pool);
}

/* Two users get and put at random: each finds again what it has put back, none what the other has. */
static void users_keep_to_their_own(void **state)
{
	enum { AREAS = 64, BATCH = 1000 };
	struct pool_rig *r = *state;
	struct pool_user *u[2];
	bool seen[2][AREAS] = { { 0 } };
	static uint32_t blocks[BATCH];
	uint64_t seed = 3;

	rig_anew(r, AREAS * GIB, true);
	for (uint32_t i = 0; i < AREAS * GIB; i++)
		assert_int_not_equal(pool_get(r->user, owner_of(1, i)), POOL_NO_BLOCK);
	for (uint32_t b = 0; b < AREAS * GIB; b++) {
		if (rig_random(&seed, 2))
			pool_put(r->user, b);
	}
	pool_rest(r->user);
	for (int k = 0; k < 2; k++)
		u[k] = pool_join(&r->pool, 0);
	for (int round = 0; round < 40; round++) {
		for (int k = 0; k < 2; k++) {
			for (uint32_t i = 0; i < BATCH; i++) {
				blocks[i] = pool_get(u[k], owner_of(2, i));
				seen[k][area_at(r, blocks[i])] = true;
			}
			for (uint32_t i = 0; i < BATCH; i++)
				pool_put(u[k], blocks[i]);
		}
	}
	for (uint32_t a = 0; a < AREAS; a++)
		assert_false(seen[0][a] && seen[1][a]);
	pool_validate(&r->pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(every_block_once), RIG_TEST(kinds_do_not_mix),
		RIG_TEST(whole_gibs_stay_whole), RIG_TEST(runs_are_aligned),
		RIG_TEST(runs_and_blocks_at_random), RIG_TEST(ranges_lie_where_they_lie),
		RIG_TEST(dirty_blocks_are_not_lent), RIG_TEST(wishes_are_zeroed_first),
		RIG_TEST(supply_of_the_module), RIG_TEST(retired_blocks_are_never_lent_again),
		RIG_TEST(users_come_and_go), RIG_TEST(users_keep_to_their_own), RIG_TEST(areas_are_emptied),
		RIG_TEST(settling_believes_the_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
