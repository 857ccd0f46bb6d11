// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-zero's program: how fast blocks of a pool become zero. A pool-like mapping of huge
 * pages, much larger than the caches, is zeroed block by block, in rounds in which each way
 * has its turn, in an order that is drawn anew for each round, so that none has always the
 * same one before it:
 *
 *   memlease	the way of the daemon: one worker thread of pool/zero.c takes dirty blocks,
 *		zeroes them with the loop chosen at start, hands them on as clean; no bound
 *   kernel	Linux' own: blocks of another mapping that get their memory (MADV_POPULATE_WRITE)
 *   memset	and every other store loop that the CPU can run, one block after the other
 *   bound-*	what does not zero, to see what bounds those that do: reading each line, and
 *		storing other bytes than zeros
 *
 * Before a turn the mapping is filled with other bytes, past the caches. Then the first half
 * of it is zeroed, which is not counted: it leaves the caches as this way leaves them. With
 * ordinary stores they are full of lines that are still to be written, and whoever comes next
 * would pay for those. The second half counts.
 *
 * Each is one thread, and what counts is its time on the CPU, for the machine may be shared;
 * memlease's is that of the whole process but the main thread, which sleeps. Still, who has
 * the CPU in between pays for writing back what ordinary stores have left in the cache, and
 * takes from the others what they have of it. So a turn is repeated, at most REPEATS times,
 * if its thread did not have a CPU nearly all the time, or the hypervisor below took one away
 * (steal).
 *
 * One line a round and way: "ROUND NAME CPU_NS WALL_NS BYTES STOLEN_TICKS REPEATED"; before
 * that what the mapping is.
 *
 *   zero MIB ROUNDS
 *
 * Run by tests/bench/zero.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "../../host/pool/zero_loops.h"
#include "../unit/zero_rig.h"

#define BLOCK (2UL << 20)
#define MIB (1UL << 20)
#define LINE 64
#define OTHER 0x5a	/* than zero */
#define REPEATS 6
#define NAP_NS 500000
#define ALONE(turn) ((turn)->cpu_ns * 10 >= (turn)->wall_ns * 9)
#define KERNEL_SHARE 4	/* of the mapping is what the kernel's has */

struct bench {
	struct toy toy;
	struct zero *zero;
	char *kernel;		/* memory that comes and goes, blocks / KERNEL_SHARE of them */
};

struct turn {
	uint64_t cpu_ns, wall_ns, bytes;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Ticks of all processors that the hypervisor below gave to others; 0 where nobody says. */
static unsigned long stolen_ticks(void)
{
	FILE *file = fopen("/proc/stat", "r");
	unsigned long ticks = 0;

	if (file && fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &ticks) != 1)
		ticks = 0;
	if (file)
		fclose(file);
	return ticks;
}

/* How much of the mapping is of huge pages, by the kernel's word; 0 if it does not say. */
static size_t huge_bytes(const struct toy *t)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from, to, kib, sum = 0;
	bool inside = false;
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from >= (uintptr_t)t->map && to <= (uintptr_t)t->map + t->map_bytes;
		else if (inside && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			sum += kib << 10;
	}
	if (file)
		fclose(file);
	return sum;
}

/* Other bytes than zeros, past the caches where that is possible. */
static void fill(void *data, size_t bytes)
{
#if defined(__x86_64__)
	__m128i value = _mm_set1_epi8(OTHER);

	for (__m128i *p = data; p < (__m128i *)((char *)data + bytes); p++)
		_mm_stream_si128(p, value);
	_mm_sfence();
#else
	memset(data, OTHER, bytes);
#endif
}

static void fill_memset(void *data, size_t bytes)
{
	memset(data, OTHER, bytes);
}

static void read_lines(void *data, size_t bytes)
{
	for (const volatile char *p = data; p < (char *)data + bytes; p += LINE)
		(void)*p;
}

static void populate(void *data, size_t bytes)
{
	if (madvise(data, bytes, MADV_POPULATE_WRITE)) {
		fprintf(stderr, "zero: the kernel (5.14 or later is needed) gives no memory: %s\n", strerror(errno));
		exit(1);
	}
}

static const struct bound {
	const char *name;
	void (*run)(void *data, size_t bytes);
} bounds[] = {
	{ "bound-read", read_lines },
	{ "bound-memset-other", fill_memset },
	{ "bound-stream-other", fill },
};

#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

/* Both halves of so many blocks; the second counts. */
static void run_blocks(char *memory, uint32_t blocks, void (*run)(void *data, size_t bytes), struct turn *out)
{
	uint64_t wall = 0, cpu = 0;

	for (uint32_t b = 0; b < blocks; b++) {
		if (b == blocks / 2) {
			wall = clock_ns(CLOCK_MONOTONIC);
			cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		}
		run(memory + b * BLOCK, BLOCK);
	}
	out->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	out->wall_ns = clock_ns(CLOCK_MONOTONIC) - wall;
	out->bytes = (blocks - blocks / 2) * BLOCK;
}

/*
 * What was free for long may have nothing behind it if this machine is a VM, and that costs
 * much more than zeroing: so memory that was in use until now.
 */
static void run_kernel(struct bench *b, struct turn *out)
{
	uint32_t blocks = b->toy.blocks / KERNEL_SHARE;
	size_t bytes = blocks * BLOCK;

	populate(b->kernel, bytes);
	fill(b->kernel, bytes);
	madvise(b->kernel, bytes, MADV_DONTNEED);
	run_blocks(b->kernel, blocks, populate, out);
	madvise(b->kernel, bytes, MADV_DONTNEED);
}

static uint64_t others_cpu_ns(void)
{
	uint64_t own = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
}

/* Until so many blocks are clean: how many are, or 0 if it takes for ever. */
static uint32_t wait_clean(struct toy *t, uint32_t least)
{
	uint64_t began = clock_ns(CLOCK_MONOTONIC);
	uint32_t clean;

	while ((clean = atomic_load(&t->count[TOY_CLEAN])) < least) {
		if (clock_ns(CLOCK_MONOTONIC) - began > 120000000000ULL) {
			fprintf(stderr, "zero: %u of %u blocks are clean after two minutes\n", clean, t->blocks);
			return 0;
		}
		/* Seldom enough that the worker, on the same CPU perhaps, does not notice. */
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	}
	return clean;
}

static int run_worker(struct toy *t, struct zero *z, struct turn *out)
{
	uint64_t wall, cpu;
	uint32_t before;

	while (toy_any(t, TOY_CLEAN, TOY_USED) != ZERO_NO_BLOCK)
		;
	while (toy_any(t, TOY_USED, TOY_DIRTY) != ZERO_NO_BLOCK)
		;
	atomic_store(&t->cursor, 0);
	zero_kick(z);
	before = wait_clean(t, t->blocks / 2);
	wall = clock_ns(CLOCK_MONOTONIC);
	cpu = others_cpu_ns();
	if (!before || !wait_clean(t, t->blocks))
		return -1;
	out->cpu_ns = others_cpu_ns() - cpu;
	out->wall_ns = clock_ns(CLOCK_MONOTONIC) - wall;
	out->bytes = (t->blocks - before) * BLOCK;
	for (uint32_t b = 0; b < t->blocks; b++) {
		if (!toy_holds(t, b, 0)) {
			fprintf(stderr, "zero: block %u is clean and not zero\n", b);
			return -1;
		}
	}
	return 0;
}

/* Ways by number: memlease, kernel, the loops, the bounds. */
static const char *way_name(unsigned int way)
{
	if (way < 2)
		return way ? "kernel" : "memlease";
	way -= 2;
	return way < zero_loop_count ? zero_loops[way].name : bounds[way - zero_loop_count].name;
}

static int run_way(struct bench *b, unsigned int way, struct turn *out)
{
	struct toy *t = &b->toy;

	fill(t->memory, t->blocks * BLOCK);
	if (!way)
		return run_worker(t, b->zero, out);
	if (way == 1)
		run_kernel(b, out);
	else if (way - 2 < zero_loop_count)
		run_blocks(t->memory, t->blocks, zero_loops[way - 2].run, out);
	else
		run_blocks(t->memory, t->blocks, bounds[way - 2 - zero_loop_count].run, out);
	return 0;
}

static int run_turn(struct bench *b, unsigned int round, unsigned int way)
{
	unsigned int repeated = 0;
	unsigned long stolen;
	struct turn turn;

	if (way >= 2 && way - 2 < zero_loop_count && !zero_loops[way - 2].usable())
		return 0;
	for (;; repeated++) {
		stolen = stolen_ticks();
		if (run_way(b, way, &turn) < 0)
			return -1;
		stolen = stolen_ticks() - stolen;
		if ((!stolen && ALONE(&turn)) || repeated == REPEATS)
			break;
	}
	printf("%u %s %llu %llu %llu %lu %u\n", round, way_name(way), (unsigned long long)turn.cpu_ns,
	       (unsigned long long)turn.wall_ns, (unsigned long long)turn.bytes, stolen, repeated);
	fflush(stdout);
	return 0;
}

/* The same in each run, for whoever wants to repeat one. */
static void shuffle(unsigned int *order, unsigned int n)
{
	static uint64_t state = 0x9e3779b97f4a7c15ULL;

	for (unsigned int i = 0; i < n; i++)
		order[i] = i;
	for (unsigned int i = n - 1; i > 0; i--) {
		unsigned int k, was = order[i];

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		k = (unsigned int)((state >> 32) % (i + 1));
		order[i] = order[k];
		order[k] = was;
	}
}

static int run(struct bench *b, unsigned int rounds)
{
	struct toy *t = &b->toy;
	const struct zero_config config = {
		.source = toy_source(t),
		.block_bytes = BLOCK,
		.threads = 1,
		.bounds = { .least_clean = t->blocks, .most_clean = UINT32_MAX },
		.clock = &ml_clock_real,
	};
	unsigned int order[2 + ZERO_LOOPS_MAX + BOUNDS], ways = 2 + zero_loop_count + BOUNDS;
	struct zero_stats stats;
	int ret = 0;

	if (zero_start(&b->zero, &config) < 0)
		return -1;
	zero_stats(b->zero, &stats);
	printf("engine %s\n", stats.engine);
	if (!wait_clean(t, t->blocks))	/* it has begun at once */
		ret = -1;
	for (unsigned int round = 0; round < rounds && !ret; round++) {
		shuffle(order, ways);
		for (unsigned int i = 0; i < ways && !ret; i++)
			ret = run_turn(b, round + 1, order[i]);
	}
	zero_stop(b->zero);
	if (!ret && atomic_load(&t->illegal))
		ret = -1;
	return ret;
}

/* Of huge pages, like the toy's, and with nothing behind it. */
static char *kernel_map(uint32_t blocks)
{
	void *map = mmap(NULL, (blocks + 1) * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *data;

	if (map == MAP_FAILED)
		return NULL;
	data = (char *)(((uintptr_t)map + BLOCK - 1) & ~(BLOCK - 1));
	madvise(data, blocks * BLOCK, MADV_HUGEPAGE);
	return data;
}

int main(int argc, char **argv)
{
	unsigned long mib = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct bench b;
	int ret;

	if (mib < 4 * KERNEL_SHARE || mib > 1 << 20 || !rounds || rounds > 10000) {
		fprintf(stderr, "usage: zero MIB ROUNDS\n");
		return 2;
	}
	b.kernel = kernel_map((uint32_t)(mib * MIB / BLOCK / KERNEL_SHARE));
	if (!b.kernel || toy_make(&b.toy, (uint32_t)(mib * MIB / BLOCK), BLOCK) < 0) {
		fprintf(stderr, "zero: no memory for a mapping of %lu MiB: %s\n", mib, strerror(errno));
		return 1;
	}
	printf("mapping %lu MiB, huge %zu MiB\n", mib, huge_bytes(&b.toy) / MIB);
	ret = run(&b, (unsigned int)rounds);
	toy_free(&b.toy);
	return ret ? 1 : 0;
}
