// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool/zero under ThreadSanitizer: several workers, several threads that use up clean blocks
 * and dirty them again, an owner that kicks, waits and looks. Every block that a thread gets
 * holds zeros, and no other thread writes into it meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "../unit/zero_rig.h"

#define BLOCK (16UL << 10)
#define BLOCKS 48
#define USERS 3
#define WORKERS 3
#define USES 1500	/* of each user */

struct user {
	pthread_t thread;
	struct toy *toy;
	struct zero *zero;
	_Atomic uint32_t *waiting;
	uint32_t seed;
	uint32_t dirty_seen;	/* blocks that did not hold zeros */
	uint32_t used;
};

/* A block that is clean; a thread that finds none counts as waiting until there is one. */
static uint32_t get(struct user *u)
{
	uint32_t block = toy_any(u->toy, TOY_CLEAN, TOY_USED);

	if (block != ZERO_NO_BLOCK)
		return block;
	atomic_fetch_add(u->waiting, 1);
	while ((block = toy_any(u->toy, TOY_CLEAN, TOY_USED)) == ZERO_NO_BLOCK)
		usleep(50);
	atomic_fetch_sub(u->waiting, 1);
	return block;
}

static void *use(void *arg)
{
	struct user *u = arg;

	for (; u->used < USES; u->used++) {
		uint32_t block = get(u);
		char byte = (char)(1 + (u->seed + u->used) % 250);

		if (!toy_holds(u->toy, block, 0))
			u->dirty_seen++;
		memset(toy_address(u->toy, block), byte, u->toy->block_bytes);
		if (!toy_holds(u->toy, block, byte))
			u->dirty_seen++;
		if (!toy_move(u->toy, block, TOY_USED, TOY_DIRTY))
			u->dirty_seen++;
		zero_kick(u->zero);
	}
	return NULL;
}

/* An engine whose stores ThreadSanitizer sees, with half of its answers late. */
struct zero_queue {
	struct zero_job *jobs[4];
	unsigned int count, turn;
};

static int late_open(const struct zero_engine *engine, struct zero_queue **queue)
{
	(void)engine;
	*queue = calloc(1, sizeof(**queue));
	return *queue ? 0 : -ENOMEM;
}

static void late_close(struct zero_queue *queue)
{
	free(queue);
}

static int late_submit(struct zero_queue *queue, struct zero_job *const *jobs, unsigned int count)
{
	if (queue->turn++ % 64 == 63)
		return -EAGAIN;
	for (unsigned int i = 0; i < count; i++)
		queue->jobs[queue->count++] = jobs[i];
	return (int)count;
}

static unsigned int late_reap(struct zero_queue *queue, struct zero_job **done, unsigned int max,
			      uint64_t wait_ns)
{
	(void)max;
	(void)wait_ns;
	if (!queue->count || queue->turn++ % 2)
		return 0;
	done[0] = queue->jobs[--queue->count];
	done[0]->error = queue->turn % 100 == 7 ? -EIO : 0;
	memset(done[0]->data, done[0]->error ? 0x66 : 0, done[0]->bytes);
	return 1;
}

static const struct zero_engine_ops late_ops = { late_open, late_close, late_submit, late_reap };
static const struct zero_engine late = { .ops = &late_ops, .name = "late", .depth = 4 };

static void crowd(uint64_t bytes_per_s)
{
	_Atomic uint32_t waiting = 0;
	struct user users[USERS];
	struct zero_stats stats;
	struct zero_config c;
	struct zero *z = NULL;
	struct toy toy;
	bool over;

	assert_int_equal(toy_make(&toy, BLOCKS, BLOCK), 0);
	c = (struct zero_config){
		.source = toy_source(&toy),
		.engine = &late,
		.block_bytes = BLOCK,
		.threads = WORKERS,
		.bytes_per_s = bytes_per_s,
		.bounds = { .least_clean = 6, .most_clean = UINT32_MAX, .horizon_ms = 5 },
		.clock = &ml_clock_real,
	};
	assert_int_equal(zero_start(&z, &c), 0);
	for (uint32_t i = 0; i < USERS; i++) {
		users[i] = (struct user){ .toy = &toy, .zero = z, .waiting = &waiting, .seed = i * 77 };
		assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
	}
	/* The owner: says how many threads wait, and looks, until all have had what they wanted. */
	do {
		zero_waiting(z, atomic_load(&waiting));
		zero_kick(z);
		zero_stats(z, &stats);
		over = stats.zeroed_blocks >= (uint64_t)USERS * USES;
		usleep(100);
	} while (!over);
	for (uint32_t i = 0; i < USERS; i++) {
		pthread_join(users[i].thread, NULL);
		assert_int_equal(users[i].dirty_seen, 0);
		assert_int_equal(users[i].used, USES);
	}
	zero_stop(z);
	assert_int_equal(atomic_load(&toy.illegal), 0);
	assert_int_equal(atomic_load(&toy.count[TOY_ZEROING]), 0);
	assert_int_equal(atomic_load(&toy.count[TOY_CLEAN]) + atomic_load(&toy.count[TOY_DIRTY]), BLOCKS);
	toy_free(&toy);
}

static void a_crowd_without_a_bound(void **state)
{
	(void)state;
	crowd(0);
}

/* Everybody waits most of the time, and every wait lifts the bound. */
static void a_crowd_under_a_bound(void **state)
{
	(void)state;
	crowd(BLOCK * 10);
}

/* Started and stopped while others kick: nothing is left in anybody's hand. */
static void starting_and_stopping(void **state)
{
	struct zero_config c;
	struct toy toy;

	(void)state;
	assert_int_equal(toy_make(&toy, BLOCKS, BLOCK), 0);
	c = (struct zero_config){
		.source = toy_source(&toy),
		.engine = &late,
		.block_bytes = BLOCK,
		.threads = WORKERS,
		.bounds = { .least_clean = BLOCKS, .most_clean = UINT32_MAX },
		.clock = &ml_clock_real,
	};
	for (int i = 0; i < 60; i++) {
		struct zero *z = NULL;

		assert_int_equal(zero_start(&z, &c), 0);
		for (int k = 0; k < i % 8; k++) {
			zero_kick(z);
			zero_waiting(z, (uint32_t)k % 2);
			while (k % 3 == 2 && toy_any(&toy, TOY_CLEAN, TOY_DIRTY) != ZERO_NO_BLOCK)
				;
		}
		zero_stop(z);
		assert_int_equal(atomic_load(&toy.count[TOY_ZEROING]), 0);
		assert_int_equal(atomic_load(&toy.illegal), 0);
	}
	toy_free(&toy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crowd_without_a_bound),
		cmocka_unit_test(a_crowd_under_a_bound),
		cmocka_unit_test(starting_and_stopping),
	};

	return cmocka_run_group_tests_name("zero_threads", tests, NULL, NULL);
}
