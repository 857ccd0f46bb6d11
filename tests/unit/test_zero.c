// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/zero: the worker threads over a toy pool, with the CPU and with an engine that works beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "../../host/base/priority.h"
#include "zero_rig.h"

#define BLOCK (64UL << 10)
#define DIRT 0x5a

static struct zero_config config(struct toy *t)
{
	return (struct zero_config){
		.source = toy_source(t),
		.block_bytes = t->block_bytes,
		.bounds = { .least_clean = 8, .most_clean = UINT32_MAX, .horizon_ms = 0 },
		.clock = &ml_clock_real,
	};
}

static struct zero *start(const struct zero_config *c)
{
	struct zero *z = NULL;

	assert_int_equal(zero_start(&z, c), 0);
	return z;
}

/* Blocks are whole, clean ones hold zeros, and none was in two hands. */
static void check_toy(struct toy *t)
{
	uint32_t count[TOY_STATES] = { 0 };

	assert_int_equal(atomic_load(&t->illegal), 0);
	for (uint32_t b = 0; b < t->blocks; b++) {
		uint32_t state = atomic_load(&t->word[b]);

		count[state]++;
		if (state == TOY_CLEAN || state == TOY_USED)
			assert_true(toy_holds(t, b, 0));
	}
	for (int s = 0; s < TOY_STATES; s++)
		assert_int_equal(count[s], atomic_load(&t->count[s]));
}

/* --- the CPU --- */

static void keeps_as_many_clean_as_asked(void **state)
{
	struct toy t;
	struct zero_config c;
	struct zero *z;
	struct zero_stats s;

	(void)state;
	assert_int_equal(toy_make(&t, 32, BLOCK), 0);
	c = config(&t);
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 8));
	/* Down to low nobody stirs. */
	for (int i = 0; i < 4; i++)
		assert_int_not_equal(toy_any(&t, TOY_CLEAN, TOY_USED), ZERO_NO_BLOCK);
	zero_kick(z);
	usleep(20000);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]), 4);
	assert_int_not_equal(toy_any(&t, TOY_CLEAN, TOY_USED), ZERO_NO_BLOCK);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 8));
	zero_stats(z, &s);
	assert_int_equal(s.clean, 8);
	assert_int_equal(s.dirty, 32 - 8 - 5);
	assert_int_equal(s.zeroed_blocks, 13);
	assert_int_equal(s.low, 4);
	assert_int_equal(s.high, 8);
	assert_int_equal(s.backlog, 0);
	assert_int_equal(s.undone_blocks + s.bad_blocks, 0);
	assert_true(s.busy_ns > 0);
	assert_non_null(s.engine);
	zero_stop(z);
	check_toy(&t);
	for (uint32_t b = 0; b < t.blocks; b++) {
		if (atomic_load(&t.word[b]) == TOY_DIRTY)
			assert_true(toy_holds(&t, b, DIRT));
	}
	toy_free(&t);
}

static void use_asks_for_more(void **state)
{
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;

	(void)state;
	assert_int_equal(toy_make(&t, 256, BLOCK), 0);
	c = config(&t);
	c.bounds.horizon_ms = 1000;
	z = start(&c);
	/* Longer where others have the processors: what zeroes is of idle priority. */
	for (int i = 0; i < 40 || (i < 4000 && s.use_blocks_per_s <= 8); i++) {
		toy_any(&t, TOY_CLEAN, TOY_USED);
		zero_kick(z);
		usleep(5000);
		zero_stats(z, &s);
	}
	assert_true(s.use_blocks_per_s > 8);
	assert_true(s.high > 8);
	assert_int_equal(s.high, s.use_blocks_per_s);
	zero_stop(z);
	check_toy(&t);
	toy_free(&t);
}

static void the_bound_holds(void **state)
{
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;
	uint64_t began, took_ms;

	(void)state;
	assert_int_equal(toy_make(&t, 64, BLOCK), 0);
	c = config(&t);
	c.threads = 3;
	c.bounds.least_clean = 60;
	c.bytes_per_s = 200 * BLOCK;	/* and 4 saved up */
	began = toy_now_ns();
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 60));
	took_ms = (toy_now_ns() - began) / 1000000;
	assert_true(took_ms >= (60 - 4) * 1000 / 200);
	zero_stats(z, &s);
	assert_int_equal(s.bound_bytes_per_s, c.bytes_per_s);
	assert_true(s.throttled_ns > 0);
	zero_stop(z);
	check_toy(&t);
	toy_free(&t);
}

static void who_waits_lifts_the_bound(void **state)
{
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;

	(void)state;
	assert_int_equal(toy_make(&t, 64, BLOCK), 0);
	c = config(&t);
	c.bounds = (struct zero_bounds){ .least_clean = 60, .most_clean = UINT32_MAX };
	c.bytes_per_s = BLOCK / 3600;	/* one an hour */
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 1));
	usleep(20000);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]), 1);
	zero_stats(z, &s);
	assert_int_equal(s.backlog, 59);
	assert_false(s.urgent);
	/* As many as wait, and half of what is kept ready, without the bound; then it holds again. */
	zero_waiting(z, 2);
	assert_true(toy_until(&t, TOY_CLEAN, 32));
	usleep(20000);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]), 32);
	zero_waiting(z, 1);
	zero_stats(z, &s);
	assert_int_equal(s.waiting, 1);
	assert_false(s.urgent);
	assert_int_equal(s.waits, 1);
	assert_true(s.wait_ns > 0);
	zero_waiting(z, 0);
	zero_waiting(z, 0);
	zero_waiting(z, 5);
	zero_waiting(z, 0);
	zero_stats(z, &s);
	assert_false(s.urgent);
	assert_int_equal(s.waits, 2);
	assert_true(s.longest_wait_ns <= s.wait_ns);
	/* The bound holds again. */
	while (toy_any(&t, TOY_CLEAN, TOY_USED) != ZERO_NO_BLOCK)
		;
	zero_kick(z);
	usleep(20000);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]), 0);
	zero_stop(z);
	check_toy(&t);
	toy_free(&t);
}

static void who_waits_is_served_when_a_block_comes(void **state)
{
	struct toy t;
	struct zero_config c;
	struct zero *z;

	(void)state;
	assert_int_equal(toy_make(&t, 4, BLOCK), 0);
	for (int i = 0; i < 4; i++)
		toy_any(&t, TOY_DIRTY, TOY_USED);
	memset(t.memory, 0, 4 * BLOCK);
	c = config(&t);
	c.bounds = (struct zero_bounds){ .most_clean = 0, .horizon_ms = 1 };
	z = start(&c);
	zero_waiting(z, 1);
	usleep(5000);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]), 0);
	memset(t.memory, DIRT, BLOCK);
	assert_true(toy_move(&t, 0, TOY_USED, TOY_DIRTY));
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 1));
	zero_waiting(z, 0);
	zero_stop(z);
	check_toy(&t);
	toy_free(&t);
}

/* The scheduling policy of the worker's thread, or -1. */
static int worker_policy(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int policy = -1;

	while (dir && (entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (file && fgets(name, sizeof(name), file) && !strcmp(name, "ml-zero-0\n"))
			policy = sched_getscheduler(atoi(entry->d_name));
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
	return policy;
}

static bool policy_becomes(int policy)
{
	for (int i = 0; i < 5000; i++) {
		if (worker_policy() == policy)
			return true;
		usleep(1000);
	}
	return false;
}

static void priority_is_idle_until_somebody_waits(void **state)
{
	int before = sched_getscheduler(0);
	struct toy t;
	struct zero_config c;
	struct zero *z;

	(void)state;
	ml_priority_allow_return();
	if (!ml_priority_can_return()) {
		print_message("no right to come back from idle priority here\n");
		skip();
	}
	assert_int_equal(ml_priority_return(0), 0);
	assert_int_equal(toy_make(&t, 8, BLOCK), 0);
	c = config(&t);
	z = start(&c);
	assert_true(policy_becomes(SCHED_IDLE));
	zero_waiting(z, 1);
	/* Lifted by the owner, for which the thread need not get the CPU. */
	assert_int_equal(worker_policy(), SCHED_OTHER);
	zero_waiting(z, 0);
	zero_kick(z);
	while (atomic_load(&t.count[TOY_CLEAN]))
		toy_any(&t, TOY_CLEAN, TOY_DIRTY);
	zero_kick(z);
	assert_true(policy_becomes(SCHED_IDLE));
	zero_stop(z);
	toy_free(&t);
	if (before == SCHED_IDLE)
		ml_priority_idle();
}

/* --- an engine that works beside the CPU: takes some, answers late, in another order, with errors --- */

#define FAKE_DEPTH 6

struct fake_engine {
	struct zero_engine engine;
	_Atomic uint32_t opened, most_in_flight, submit_errors;
	uint32_t poisoned;	/* this block cannot be written */
	uint32_t flaky;		/* this one fails twice */
	_Atomic uint32_t flaky_left;
	_Atomic bool deaf;	/* answers nothing */
};

struct zero_queue {
	struct fake_engine *fake;
	struct zero_job *jobs[FAKE_DEPTH];
	uint32_t count;
	unsigned int turn;
};

static int fake_open(const struct zero_engine *engine, struct zero_queue **queue)
{
	*queue = calloc(1, sizeof(**queue));
	(*queue)->fake = (struct fake_engine *)engine;
	atomic_fetch_add(&(*queue)->fake->opened, 1);
	return 0;
}

static void fake_close(struct zero_queue *queue)
{
	assert_int_equal(queue->count, 0);
	atomic_fetch_sub(&queue->fake->opened, 1);
	free(queue);
}

static int fake_submit(struct zero_queue *queue, struct zero_job *const *jobs, unsigned int count)
{
	unsigned int n = 1 + queue->turn++ % count;
	uint32_t most;

	if (atomic_load(&queue->fake->submit_errors)) {
		atomic_fetch_sub(&queue->fake->submit_errors, 1);
		return -ENODEV;
	}
	for (unsigned int i = 0; i < n; i++) {
		assert_true(queue->count < FAKE_DEPTH);
		queue->jobs[queue->count++] = jobs[i];
	}
	most = atomic_load(&queue->fake->most_in_flight);
	if (queue->count > most)
		atomic_store(&queue->fake->most_in_flight, queue->count);
	return (int)n;
}

static int fake_outcome(struct fake_engine *fake, uint32_t block)
{
	if (block == fake->poisoned)
		return -EHWPOISON;
	if (block == fake->flaky && atomic_load(&fake->flaky_left)) {
		atomic_fetch_sub(&fake->flaky_left, 1);
		return -EIO;
	}
	return 0;
}

/* One of them, the last or the first by turns; half of the time none at all. */
static unsigned int fake_reap(struct zero_queue *queue, struct zero_job **done, unsigned int max,
			      uint64_t wait_ns)
{
	uint32_t at = queue->turn % 2 ? queue->count - 1 : 0;

	assert_true(max > 0 && wait_ns > 0);
	if (!queue->count || atomic_load(&queue->fake->deaf) || queue->turn++ % 2)
		return 0;
	done[0] = queue->jobs[at];
	queue->jobs[at] = queue->jobs[--queue->count];
	done[0]->error = fake_outcome(queue->fake, done[0]->block);
	if (!done[0]->error)
		memset(done[0]->data, 0, done[0]->bytes);
	else
		memset(done[0]->data, 0x77, done[0]->bytes / 2);
	return 1;
}

static const struct zero_engine_ops fake_ops = { fake_open, fake_close, fake_submit, fake_reap };

static void fake_init(struct fake_engine *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->engine = (struct zero_engine){ .ops = &fake_ops, .name = "fake", .depth = FAKE_DEPTH };
	fake->poisoned = fake->flaky = ZERO_NO_BLOCK;
}

static void an_engine_beside_the_cpu(void **state)
{
	struct fake_engine fake;
	struct toy t;
	struct zero_config c;
	struct zero *z;

	(void)state;
	fake_init(&fake);
	assert_int_equal(toy_make(&t, 40, BLOCK), 0);
	c = config(&t);
	c.engine = &fake.engine;
	c.bounds.least_clean = 40;
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 40));
	zero_stop(z);
	assert_int_equal(atomic_load(&fake.opened), 0);
	assert_in_range(atomic_load(&fake.most_in_flight), 2, FAKE_DEPTH);
	check_toy(&t);
	toy_free(&t);
}

static void errors_are_of_one_block(void **state)
{
	struct fake_engine fake;
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;

	(void)state;
	fake_init(&fake);
	fake.poisoned = 3;
	fake.flaky = 5;
	atomic_store(&fake.flaky_left, 2);
	assert_int_equal(toy_make(&t, 16, BLOCK), 0);
	c = config(&t);
	c.engine = &fake.engine;
	c.bounds.least_clean = 32;
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 15));
	zero_stats(z, &s);
	assert_int_equal(s.bad_blocks, 1);
	assert_int_equal(s.undone_blocks, 2);
	zero_stop(z);
	assert_int_equal(atomic_load(&t.word[3]), TOY_BAD);
	check_toy(&t);
	toy_free(&t);
}

static void an_engine_that_takes_nothing_loses_nothing(void **state)
{
	struct fake_engine fake;
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;

	(void)state;
	fake_init(&fake);
	atomic_store(&fake.submit_errors, 5);
	assert_int_equal(toy_make(&t, 16, BLOCK), 0);
	c = config(&t);
	c.engine = &fake.engine;
	c.bounds.least_clean = 16;
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_CLEAN, 16));
	zero_stats(z, &s);
	assert_int_equal(s.bad_blocks, 0);
	assert_true(s.undone_blocks >= 5);
	zero_stop(z);
	check_toy(&t);
	toy_free(&t);
}

static void *answer_at_last(void *arg)
{
	struct fake_engine *fake = arg;

	usleep(30000);
	atomic_store(&fake->deaf, false);
	return NULL;
}

static void stopping_waits_for_what_is_in_flight(void **state)
{
	struct fake_engine fake;
	struct toy t;
	struct zero_config c;
	struct zero_stats s;
	struct zero *z;
	pthread_t thread;

	(void)state;
	fake_init(&fake);
	atomic_store(&fake.deaf, true);
	assert_int_equal(toy_make(&t, 16, BLOCK), 0);
	c = config(&t);
	c.engine = &fake.engine;
	c.bounds.least_clean = 16;
	z = start(&c);
	zero_kick(z);
	assert_true(toy_until(&t, TOY_ZEROING, FAKE_DEPTH));
	zero_stats(z, &s);
	assert_int_equal(s.zeroing, FAKE_DEPTH);
	assert_int_equal(s.backlog, 10);
	assert_int_equal(pthread_create(&thread, NULL, answer_at_last, &fake), 0);
	zero_stop(z);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&t.count[TOY_ZEROING]), 0);
	assert_int_equal(atomic_load(&t.count[TOY_CLEAN]) + atomic_load(&t.count[TOY_DIRTY]), 16);
	check_toy(&t);
	toy_free(&t);
}

/* --- what cannot be --- */

static int no_queue(const struct zero_engine *engine, struct zero_queue **queue)
{
	struct fake_engine *fake = (struct fake_engine *)engine;

	if (atomic_load(&fake->opened) == 2)
		return -ENOMEM;
	return fake_open(engine, queue);
}

static void what_cannot_start_leaves_nothing(void **state)
{
	struct zero_engine_ops ops = fake_ops;
	struct fake_engine fake;
	struct toy t;
	struct zero_config c;
	struct zero *z = NULL;

	(void)state;
	zero_stop(NULL);
	fake_init(&fake);
	assert_int_equal(toy_make(&t, 4, BLOCK), 0);
	c = config(&t);
	c.block_bytes = 100;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	c = config(&t);
	c.block_bytes = 0;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	c = config(&t);
	c.threads = ZERO_THREADS_MAX + 1;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	c = config(&t);
	c.source.undo = NULL;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	c = config(&t);
	c.engine = &fake.engine;
	fake.engine.depth = 0;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	fake.engine.depth = ZERO_DEPTH_MAX + 1;
	assert_int_equal(zero_start(&z, &c), -EINVAL);
	fake.engine.depth = 1;
	ops.open = no_queue;
	fake.engine.ops = &ops;
	c.threads = 3;
	assert_int_equal(zero_start(&z, &c), -ENOMEM);
	assert_int_equal(atomic_load(&fake.opened), 0);
	assert_null(z);
	assert_int_equal(atomic_load(&t.count[TOY_DIRTY]), 4);
	toy_free(&t);
}

/* A source that counts what it does not hand out must not make the thread spin. */
static uint32_t take_nothing(void *ctx)
{
	atomic_fetch_add((_Atomic uint32_t *)ctx, 1);
	return ZERO_NO_BLOCK;
}

static void count_what_is_not_there(void *ctx, struct zero_counts *out)
{
	(void)ctx;
	*out = (struct zero_counts){ .clean = 0, .dirty = 5 };
}

static void a_source_that_promises_too_much(void **state)
{
	_Atomic uint32_t asked = 0;
	struct toy t;
	struct zero_config c;
	struct zero *z;

	(void)state;
	assert_int_equal(toy_make(&t, 4, BLOCK), 0);
	c = config(&t);
	c.source.take = take_nothing;
	c.source.counts = count_what_is_not_there;
	c.source.ctx = &asked;
	z = start(&c);
	zero_waiting(z, 1);
	usleep(100000);
	zero_stop(z);
	assert_in_range(atomic_load(&asked), 1, 500);
	toy_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_as_many_clean_as_asked),
		cmocka_unit_test(use_asks_for_more),
		cmocka_unit_test(the_bound_holds),
		cmocka_unit_test(who_waits_lifts_the_bound),
		cmocka_unit_test(who_waits_is_served_when_a_block_comes),
		cmocka_unit_test(priority_is_idle_until_somebody_waits),
		cmocka_unit_test(an_engine_beside_the_cpu),
		cmocka_unit_test(errors_are_of_one_block),
		cmocka_unit_test(an_engine_that_takes_nothing_loses_nothing),
		cmocka_unit_test(stopping_waits_for_what_is_in_flight),
		cmocka_unit_test(what_cannot_start_leaves_nothing),
		cmocka_unit_test(a_source_that_promises_too_much),
	};

	return cmocka_run_group_tests_name("zero", tests, NULL, NULL);
}
