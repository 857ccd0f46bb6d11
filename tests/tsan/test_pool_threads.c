// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pool under several threads, built with ThreadSanitizer. Each block has a plain
 * variable as its contents: a user that it was lent to writes there, a worker that zeroes it
 * clears it. So a block with two owners, one that is lent dirty, or a change that another thread may see
 * out of order is found, by an assertion or as a data race.
 */
#include "../unit/pool_rig.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#define THREADS 4
#define STEPS 40000
#define BLOCKS 1200
#define HAVE_MOST 48

/* Edges, a whole GiB and a small piece, so that threads meet. */
static const struct pool_range ranges[] = {
	{ .first = 0, .blocks = 60, .base = 0x3f80ULL << 21, .node = 0 },
	{ .first = 60, .blocks = 1100, .base = 4ULL << 40, .node = 1 },
	{ .first = 1160, .blocks = 40, .base = 8ULL << 40, .node = 0, .tier = 1 },
};

struct shared {
	struct pool_rig *rig;
	uint32_t content[BLOCKS];
	_Atomic uint32_t owner[BLOCKS];
	_Atomic uint32_t lent, retired, stop;
};

struct worker {
	struct shared *s;
	struct pool_user *user;
	uint64_t seed;
	uint32_t id, n, steps;
	uint32_t have[HAVE_MOST + POOL_AREA_BLOCKS];
	uint32_t offered[16], offers;
	pthread_t thread;
};

/* Not cmocka's, which is for one thread. */
#define MUST(cond) \
	do { \
		if (!(cond)) { \
			printf("# %s:%d: %s\n", __func__, __LINE__, #cond); \
			fflush(stdout); \
			abort(); \
		} \
	} while (0)

static void took(struct worker *w, uint32_t block)
{
	uint32_t nobody = 0;

	MUST(atomic_compare_exchange_strong(&w->s->owner[block], &nobody, w->id));
	MUST(w->s->content[block] == 0);
	w->s->content[block] = w->id;
	w->have[w->n++] = block;
}

static void give_back(struct worker *w, uint32_t i)
{
	uint32_t block = w->have[i];

	MUST(w->s->content[block] == w->id);
	w->have[i] = w->have[--w->n];
	atomic_store(&w->s->owner[block], 0);
	if (w->s->rig->setup.zeroed_on_map)
		w->s->content[block] = 0;	/* the next one maps it */
	pool_put(w->user, block);
}

static struct block_owner some_owner(struct worker *w)
{
	return rig_random(&w->seed, 3) ? owner_of((uint16_t)w->id, 1) : fixed_owner((uint16_t)w->id, 1);
}

static void step_get(struct worker *w)
{
	uint32_t b;

	if (w->n >= HAVE_MOST)
		return;
	b = pool_get(w->user, some_owner(w));
	if (b != POOL_NO_BLOCK)
		took(w, b);
}

static void step_run(struct worker *w)
{
	unsigned int order = 1 + rig_random(&w->seed, 9);
	uint32_t b;

	if (w->n >= HAVE_MOST)
		return;
	b = pool_get_run(w->user, some_owner(w), order);
	for (uint32_t i = 0; b != POOL_NO_BLOCK && i < 1U << order; i++)
		took(w, b + i);
}

static void step_zero(struct worker *w)
{
	uint32_t blocks[8], n = pool_take_dirty(w->user, blocks, 1 + rig_random(&w->seed, 8));

	for (uint32_t i = 0; i < n; i++) {
		if (rig_random(&w->seed, 8) == 0) {
			pool_undo_dirty(w->user, blocks[i]);
			continue;
		}
		w->s->content[blocks[i]] = 0;
		pool_clean(w->user, blocks[i]);
	}
}

static void step_offer(struct worker *w)
{
	uint32_t block;

	if (!w->offers) {
		w->offers = pool_offer(w->user, w->offered, 16);
		return;
	}
	block = w->offered[--w->offers];
	if (rig_random(&w->seed, 2) || w->n >= HAVE_MOST) {
		MUST(w->s->content[block] == 0);
		pool_unoffer(w->user, block);
	} else if (pool_taken(w->user, block, owner_of((uint16_t)w->id, 7)) == 0) {
		took(w, block);
	}
}

/* A block of the worker's own moves, as compaction does it. */
static void step_move(struct worker *w)
{
	uint32_t i, from, to;

	if (!w->n)
		return;
	i = rig_random(&w->seed, w->n);
	from = w->have[i];
	to = pool_move_begin(w->user, from, rig_random(&w->seed, 6));
	if (to == POOL_NO_BLOCK)
		return;
	MUST(w->s->content[to] == 0 || !w->s->rig->setup.zeroed_on_map);
	w->s->content[to] = w->id;
	if (rig_random(&w->seed, 4) == 0) {
		if (w->s->rig->setup.zeroed_on_map)
			w->s->content[to] = 0;
		pool_move_undo(w->user, to);
		return;
	}
	w->have[i] = w->have[--w->n];
	atomic_store(&w->s->owner[from], 0);
	if (w->s->rig->setup.zeroed_on_map)
		w->s->content[from] = 0;
	w->s->content[to] = 0;
	took(w, to);
	w->s->content[to] = w->id;
	pool_move_end(w->user, from, to);
}

static void step_area(struct worker *w)
{
	uint32_t area = rig_random(&w->seed, w->s->rig->pool.area_count);

	if (pool_area_close(&w->s->rig->pool, area) == 0)
		pool_area_open(&w->s->rig->pool, area);
	else if (rig_random(&w->seed, 4) == 0)
		pool_rest(w->user);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < w->steps; i++) {
		uint32_t what = rig_random(&w->seed, 100);

		if (what < 40)
			step_get(w);
		else if (what < 70 && w->n)
			give_back(w, rig_random(&w->seed, w->n));
		else if (what < 72)
			step_run(w);
		else if (what < 88)
			step_zero(w);
		else if (what < 94)
			step_offer(w);
		else if (what < 98)
			step_move(w);
		else
			step_area(w);
		while (w->n > HAVE_MOST)
			give_back(w, rig_random(&w->seed, w->n));
	}
	return NULL;
}

static struct shared *start(struct pool_rig *r, struct worker *w, bool zeroed_on_map)
{
	struct shared *s = calloc(1, sizeof(*s));

	r->setup.ranges = ranges;
	r->setup.range_count = 3;
	rig_anew(r, BLOCKS, zeroed_on_map);
	s->rig = r;
	for (uint32_t i = 0; i < BLOCKS && !zeroed_on_map; i++)
		s->content[i] = UINT32_MAX;
	memset(w, 0, sizeof(*w) * THREADS);
	for (uint32_t i = 0; i < THREADS; i++) {
		w[i].s = s;
		w[i].id = i + 1;
		w[i].seed = 77 * (i + 1);
		w[i].steps = STEPS;
		w[i].user = pool_join(&r->pool, (int)(i & 1));
		assert_non_null(w[i].user);
	}
	return s;
}

/* All that is lent is somebody's, and all comes back. */
static void finish(struct pool_rig *r, struct worker *w)
{
	uint32_t lent = 0, offered = 0;

	for (uint32_t i = 0; i < THREADS; i++) {
		lent += w[i].n;
		offered += w[i].offers;
	}
	pool_validate(&r->pool);
	assert_int_equal(count_of(r, BLOCK_LENT), lent);
	assert_int_equal(count_of(r, BLOCK_OFFERED), offered);
	assert_int_equal(count_of(r, BLOCK_MOVING) + count_of(r, BLOCK_ZEROING), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		while (w[i].n)
			give_back(&w[i], 0);
		while (w[i].offers)
			pool_unoffer(w[i].user, w[i].offered[--w[i].offers]);
		pool_leave(w[i].user);
	}
	assert_int_equal(count_of(r, BLOCK_DIRTY) + count_of(r, BLOCK_CLEAN) +
			 count_of(r, BLOCK_RETIRED), BLOCKS);
	pool_validate(&r->pool);
}

static void all_at_once(struct pool_rig *r, bool zeroed_on_map)
{
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct shared *s = start(r, w, zeroed_on_map);

	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	finish(r, w);
	free(w);
	free(s);
}

static void threads_on_a_backend_that_zeroes(void **state)
{
	all_at_once(*state, true);
}

static void threads_on_one_that_does_not(void **state)
{
	all_at_once(*state, false);
}

/* One after the other gives the bits of the smallest range to the next. */
static void *only_gets_and_puts(void *arg)
{
	struct worker *w = arg;

	pool_prefer(w->user, (const uint8_t[]){ 2 }, 1);
	for (uint32_t i = 0; i < w->steps; i++) {
		step_get(w);
		while (w->n > 12 || (w->n && rig_random(&w->seed, 2)))
			give_back(w, rig_random(&w->seed, w->n));
	}
	return NULL;
}

static void threads_share_a_few_blocks(void **state)
{
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct shared *s = start(*state, w, true);

	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, only_gets_and_puts, &w[i]), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	finish(*state, w);
	free(w);
	free(s);
}

/* Memory errors meanwhile: a block that is retired, free or not, is never lent again. */
static void *retires(void *arg)
{
	struct shared *s = arg;
	struct pool_user *u = pool_join(&s->rig->pool, POOL_ANY_NODE);
	uint64_t seed = 4711;

	while (!atomic_load(&s->stop)) {
		uint32_t b = rig_random(&seed, BLOCKS);

		if (s->retired < 200 && pool_retire(u, b).state != BLOCK_RETIRED)
			atomic_fetch_add(&s->retired, 1);
	}
	pool_leave(u);
	return NULL;
}

/* Blocks that a worker has, by the table and not by its list: those that were not retired. */
static void drop_retired(struct pool_rig *r, struct worker *w)
{
	for (uint32_t i = 0; i < w->n;) {
		if (state_of(r, w->have[i]) == BLOCK_RETIRED)
			give_back(w, i);
		else
			i++;
	}
	for (uint32_t i = 0; i < w->offers;) {
		if (state_of(r, w->offered[i]) == BLOCK_RETIRED)
			w->offered[i] = w->offered[--w->offers];
		else
			i++;
	}
}

static void errors_meanwhile(void **state)
{
	struct pool_rig *r = *state;
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct shared *s = start(r, w, false);
	pthread_t errors;

	assert_int_equal(pthread_create(&errors, NULL, retires, s), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	atomic_store(&s->stop, 1);
	pthread_join(errors, NULL);
	for (uint32_t i = 0; i < THREADS; i++)
		drop_retired(r, &w[i]);
	assert_int_equal(count_of(r, BLOCK_RETIRED), s->retired);
	finish(r, w);
	free(w);
	free(s);
}

/* Claims 448 blocks each time, and gives them back, for the run of 512 lacks one. */
static void *looks_for_a_gib(void *arg)
{
	struct shared *s = arg;
	struct pool_user *u = pool_join(&s->rig->pool, POOL_ANY_NODE);

	while (!atomic_load(&s->stop))
		MUST(pool_get_run(u, owner_of(1, 0), POOL_AREA_ORDER) == POOL_NO_BLOCK);
	pool_leave(u);
	return NULL;
}

static void errors_while_a_run_is_sought(void **state)
{
	struct pool_rig *r = *state;

	for (int round = 0; round < 300; round++) {
		struct shared s = { .rig = r };
		pthread_t thread;

		rig_anew(r, POOL_AREA_BLOCKS, true);
		for (uint32_t i = 0; i < POOL_AREA_BLOCKS; i++)
			pool_get(r->user, owner_of(1, i));
		for (uint32_t b = 0; b < POOL_AREA_BLOCKS - 1; b++)
			pool_put(r->user, b);
		pool_rest(r->user);
		assert_int_equal(pthread_create(&thread, NULL, looks_for_a_gib, &s), 0);
		/* The last ones first: what is claimed begins with the first. */
		for (int word = 6; word >= 0; word--) {
			usleep(30);
			pool_retire(r->user, (uint32_t)word * 64 + 9);
		}
		atomic_store(&s.stop, 1);
		pthread_join(thread, NULL);
		pool_validate(&r->pool);
	}
}

/* --- a thread that is stopped anywhere holds up nobody --- */

/* Rounds: the last one asked for, the one in which the thread stands, the last one that is over. */
static _Atomic int asked, stopped, over;

static void stop_here(int signal)
{
	int round = atomic_load(&asked);

	(void)signal;
	atomic_store(&stopped, round);
	while (atomic_load(&over) < round)
		;
}

static void *works_until_told(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&w->s->stop))
		work(w);
	return NULL;
}

static void nobody_waits_for_a_stopped_thread(void **state)
{
	struct sigaction stop = { .sa_handler = stop_here }, before;
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct shared *s = start(*state, w, false);

	sigaction(SIGUSR1, &stop, &before);
	for (uint32_t i = 0; i < THREADS; i++)
		w[i].steps = i ? 1000 : 10;
	assert_int_equal(pthread_create(&w[0].thread, NULL, works_until_told, &w[0]), 0);
	for (int round = 1; round <= 50; round++) {
		atomic_store(&asked, round);
		pthread_kill(w[0].thread, SIGUSR1);
		while (atomic_load(&stopped) < round)
			;
		for (uint32_t i = 1; i < THREADS; i++)
			work(&w[i]);
		atomic_store(&over, round);
		usleep(200);
	}
	atomic_store(&s->stop, 1);
	pthread_join(w[0].thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
	finish(*state, w);
	free(w);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(threads_on_a_backend_that_zeroes),
		RIG_TEST(threads_on_one_that_does_not),
		RIG_TEST(threads_share_a_few_blocks), RIG_TEST(errors_meanwhile),
		RIG_TEST(errors_while_a_run_is_sought),
		RIG_TEST(nobody_waits_for_a_stopped_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
