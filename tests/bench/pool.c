// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-pool's program: what getting and putting a block costs in a pool of 1 TiB of
 * which half is lent, all over the place; and how long opening it takes after a crash.
 *
 *   pool threads SYSTEM N DIR	SYSTEM with N threads: "GET_NS PUT_NS", medians
 *   pool recovery DIR		milliseconds, the median over crashes
 *
 * A thread gets a batch of blocks, then puts them back in random order; each batch is
 * timed by itself, and the median of many tells what it costs while the thread is not
 * interrupted. Systems:
 *
 *   memlease	host/pool: bitmap, then the block's word by compare-and-swap
 *   mutex_list	a list of free blocks under a mutex, and a plain store to the word
 *   cas	one compare-and-swap on each of as many words that nobody else touches, in the
 *		order of the getting and in that of the putting: what the above cannot go below
 *
 * Run by tests/bench/pool.py; DIR is for the table's file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../host/base/log.h"
#include "../../host/pool/pool.h"

#define BLOCKS (1U << 19)	/* of 2 MiB: 1 TiB */
#define BATCH 4096		/* 8 GiB */
#define CHUNK 512		/* after so many a thread shows that it is running */
#define ORDERS 8		/* random ones, made beforehand */
#define ROUNDS 400		/* batches of each thread that count */
#define LIMIT_NS 20e9		/* to get them */
#define THREADS_MAX (POOL_USERS_MAX - 1)
#define CRASHES 15
#define BOOT_ID "bench"

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL >> 32;
}

static void shuffle(uint32_t *what, uint32_t n, uint64_t *seed)
{
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t k = (uint32_t)(next_random(seed) % (i + 1)), t = what[i];

		what[i] = what[k];
		what[k] = t;
	}
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_size);
	return values[n / 2];
}

static void fail(const char *what, int err)
{
	fprintf(stderr, "bench-pool: %s: %s\n", what, strerror(err));
	exit(1);
}

/* --- the systems --- */

static struct pool_setup setup = { .blocks = BLOCKS, .zeroed_on_map = true, .boot_id = BOOT_ID };
static struct pool pool;

struct system {
	const char *name;
	void (*init)(const uint32_t *order);	/* lends every second of these blocks */
	/* A chunk of them; putting them in the order of the indices. */
	void (*get)(struct pool_user *u, uint32_t *blocks);
	void (*put)(struct pool_user *u, const uint32_t *blocks, const uint16_t *order);
};

static void open_pool(void)
{
	bool old_boot;
	uint32_t need;
	int ret = pool_open(&pool, &setup, &old_boot, &need);

	if (ret < 0)
		fail("cannot open a pool", -ret);
}

static struct block_owner owner_of(uint32_t i)
{
	return (struct block_owner){ .vm = 1, .region = 1, .slot = i };
}

static void memlease_init(const uint32_t *order)
{
	open_pool();
	for (uint32_t i = 0; i < BLOCKS; i++)
		pool_get(pool_self(&pool), owner_of(i));
	for (uint32_t i = 0; i < BLOCKS; i += 2)
		pool_put(pool_self(&pool), order[i]);
	pool_rest(pool_self(&pool));
}

static void memlease_get(struct pool_user *u, uint32_t *blocks)
{
	for (uint32_t i = 0; i < CHUNK; i++)
		blocks[i] = pool_get(u, owner_of(i));
}

static void memlease_put(struct pool_user *u, const uint32_t *blocks, const uint16_t *order)
{
	for (uint32_t i = 0; i < CHUNK; i++)
		pool_put(u, blocks[order[i]]);
}

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *list_next, list_head = POOL_NO_BLOCK;
static uint64_t *list_words;

static void list_init(const uint32_t *order)
{
	list_next = calloc(BLOCKS, sizeof(*list_next));
	list_words = calloc(BLOCKS, sizeof(*list_words));
	for (uint32_t i = 0; i < BLOCKS; i += 2) {
		list_next[order[i]] = list_head;
		list_head = order[i];
	}
}

static void list_get(struct pool_user *u, uint32_t *blocks)
{
	(void)u;
	for (uint32_t i = 0; i < CHUNK; i++) {
		uint32_t block;

		pthread_mutex_lock(&list_lock);
		block = list_head;
		if (block != POOL_NO_BLOCK) {
			list_head = list_next[block];
			list_words[block] = i | 1ULL << 32;
		}
		pthread_mutex_unlock(&list_lock);
		blocks[i] = block;
	}
}

static void list_put(struct pool_user *u, const uint32_t *blocks, const uint16_t *order)
{
	(void)u;
	for (uint32_t i = 0; i < CHUNK; i++) {
		uint32_t block = blocks[order[i]];

		pthread_mutex_lock(&list_lock);
		list_words[block] = 0;
		list_next[block] = list_head;
		list_head = block;
		pthread_mutex_unlock(&list_lock);
	}
}

static _Alignas(64) _Atomic uint64_t cas_words[THREADS_MAX][BATCH];
static _Atomic unsigned int cas_threads;
static __thread _Atomic uint64_t *cas_mine;
static __thread uint32_t cas_at;

static void cas_init(const uint32_t *order)
{
	(void)order;
}

static void cas_get(struct pool_user *u, uint32_t *blocks)
{
	(void)u;
	if (!cas_mine)
		cas_mine = cas_words[atomic_fetch_add(&cas_threads, 1)];
	for (uint32_t i = 0; i < CHUNK; i++, cas_at++) {
		uint64_t seen = atomic_load_explicit(&cas_mine[cas_at % BATCH], memory_order_relaxed);

		atomic_compare_exchange_strong(&cas_mine[cas_at % BATCH], &seen, seen + 1);
		blocks[i] = cas_at % BATCH;
	}
}

static void cas_put(struct pool_user *u, const uint32_t *blocks, const uint16_t *order)
{
	(void)u;
	for (uint32_t i = 0; i < CHUNK; i++) {
		_Atomic uint64_t *word = &cas_mine[blocks[order[i]]];
		uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

		atomic_compare_exchange_strong(word, &seen, seen + 1);
	}
}

static const struct system systems[] = {
	{ "memlease", memlease_init, memlease_get, memlease_put },
	{ "mutex_list", list_init, list_get, list_put },
	{ "cas", cas_init, cas_get, cas_put },
};

/* --- threads --- */

struct thread {
	_Alignas(64) _Atomic uint32_t progress;	/* chunks */
	_Alignas(64) pthread_t thread;
	const struct system *system;
	struct pool_user *user;
	int cpu;
	unsigned int got, put;	/* batches that count */
	double get_ns[ROUNDS], put_ns[ROUNDS];
};

static struct thread *threads;
static unsigned int thread_count;
static uint16_t orders[ORDERS][BATCH];
static pthread_barrier_t barrier;
static _Atomic unsigned int through;

/*
 * A batch counts only if all other threads were running meanwhile: where the machine does
 * other things too, a thread may well be alone for a while.
 */
struct span {
	double began;
	uint32_t progress[THREADS_MAX];
};

static void span_begin(struct span *s)
{
	for (unsigned int i = 0; i < thread_count; i++)
		s->progress[i] = atomic_load_explicit(&threads[i].progress, memory_order_relaxed);
	s->began = now_ns();
}

static void span_end(const struct span *s, double *ns, unsigned int *n)
{
	double took = now_ns() - s->began;

	for (unsigned int i = 0; i < thread_count; i++) {
		if (atomic_load_explicit(&threads[i].progress, memory_order_relaxed) -
		    s->progress[i] < BATCH / CHUNK / 2)
			return;
	}
	if (*n < ROUNDS)
		ns[(*n)++] = took / BATCH;
}

static void show_progress(struct thread *t)
{
	atomic_store_explicit(&t->progress, t->progress + 1, memory_order_relaxed);
}

static void one_batch(struct thread *t, const uint16_t *order)
{
	uint32_t blocks[BATCH];
	struct span s;

	span_begin(&s);
	for (uint32_t i = 0; i < BATCH; i += CHUNK) {
		t->system->get(t->user, blocks + i);
		show_progress(t);
	}
	span_end(&s, t->get_ns, &t->got);
	span_begin(&s);
	for (uint32_t i = 0; i < BATCH; i += CHUNK) {
		t->system->put(t->user, blocks, order + i);
		show_progress(t);
	}
	span_end(&s, t->put_ns, &t->put);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	bool counted = false;
	cpu_set_t cpus;
	double began;

	CPU_ZERO(&cpus);
	CPU_SET(t->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	pthread_barrier_wait(&barrier);
	began = now_ns();
	/* Until all are through, so that none of them is alone at its end. */
	for (unsigned int i = 0; atomic_load(&through) < thread_count; i++) {
		one_batch(t, orders[i % ORDERS]);
		if (!counted && ((t->got == ROUNDS && t->put == ROUNDS) ||
				 now_ns() - began > LIMIT_NS)) {
			counted = true;
			atomic_fetch_add(&through, 1);
		}
	}
	return NULL;
}

static void make_orders(void)
{
	uint32_t order[BATCH];
	uint64_t seed = 5;

	for (int o = 0; o < ORDERS; o++) {
		for (uint32_t i = 0; i < BATCH; i++)
			order[i] = i;
		shuffle(order, BATCH, &seed);
		for (uint32_t i = 0; i < BATCH; i++)
			orders[o][i] = (uint16_t)order[i];
	}
}

static int bench_threads(const struct system *system, unsigned int n)
{
	uint32_t *order = calloc(BLOCKS, sizeof(*order));
	double *get_ns = calloc(n, sizeof(threads->get_ns));
	double *put_ns = calloc(n, sizeof(threads->put_ns));
	unsigned int got = 0, put = 0;
	uint64_t seed = 1;

	threads = aligned_alloc(64, n * sizeof(*threads));
	memset(threads, 0, n * sizeof(*threads));
	thread_count = n;
	for (uint32_t i = 0; i < BLOCKS; i++)
		order[i] = i;
	shuffle(order, BLOCKS, &seed);
	make_orders();
	system->init(order);
	pthread_barrier_init(&barrier, NULL, n);
	for (unsigned int i = 0; i < n; i++) {
		threads[i].system = system;
		threads[i].user = pool.users ? pool_join(&pool, POOL_ANY_NODE) : NULL;
		threads[i].cpu = (int)(i % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN));
		if (pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]))
			fail("cannot start a thread", errno);
	}
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(threads[i].thread, NULL);
		memcpy(get_ns + got, threads[i].get_ns, threads[i].got * sizeof(*get_ns));
		memcpy(put_ns + put, threads[i].put_ns, threads[i].put * sizeof(*put_ns));
		got += threads[i].got;
		put += threads[i].put;
	}
	if (pool.users)
		pool_validate(&pool);
	if (got < n * ROUNDS / 4 || put < n * ROUNDS / 4) {
		fprintf(stderr, "bench-pool: %u threads ran at the same time in %u and %u batches only: the machine is too busy\n",
			n, got, put);
		return 3;
	}
	printf("%.2f %.2f\n", median(get_ns, got), median(put_ns, put));
	return 0;
}

/* --- recovery --- */

/* Works on until it is killed. */
static void live(uint64_t seed)
{
	uint32_t blocks[BATCH];

	open_pool();
	for (;;) {
		for (uint32_t i = 0; i < BATCH; i++)
			blocks[i] = pool_get(pool_self(&pool), owner_of(i));
		shuffle(blocks, BATCH, &seed);
		for (uint32_t i = 0; i < BATCH; i++)
			pool_put(pool_self(&pool), blocks[i]);
	}
}

static int bench_recovery(void)
{
	uint32_t *order = calloc(BLOCKS, sizeof(*order));
	double ms[CRASHES];
	uint64_t seed = 1;

	for (uint32_t i = 0; i < BLOCKS; i++)
		order[i] = i;
	shuffle(order, BLOCKS, &seed);
	memlease_init(order);
	pool_close(&pool);
	for (int i = 0; i < CRASHES; i++) {
		pid_t pid = fork();

		if (pid == 0)
			live(seed + (uint64_t)i);
		usleep(20000 + (useconds_t)(next_random(&seed) % 20000));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		ms[i] = now_ns();
		open_pool();
		ms[i] = (now_ns() - ms[i]) / 1e6;
		pool_validate(&pool);
		pool_close(&pool);
	}
	printf("%.3f\n", median(ms, CRASHES));
	return 0;
}

int main(int argc, char **argv)
{
	const char *dir = argc > 2 ? argv[argc - 1] : "";
	unsigned int n = argc == 5 ? (unsigned int)strtoul(argv[3], NULL, 10) : 0;

	setup.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (setup.dirfd < 0)
		fail(dir, errno);
	if (argc == 3 && strcmp(argv[1], "recovery") == 0)
		return bench_recovery();
	for (size_t i = 0; argc == 5 && n && n <= THREADS_MAX && i < 3; i++) {
		if (strcmp(argv[2], systems[i].name) == 0)
			return bench_threads(&systems[i], n);
	}
	fprintf(stderr, "usage: pool threads memlease|mutex_list|cas N DIR, or pool recovery DIR\n");
	return 2;
}
