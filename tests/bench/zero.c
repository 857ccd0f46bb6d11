// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-zero's program: how fast blocks of a pool become zero. A pool-like mapping of huge
 * pages, much larger than the caches, is zeroed block by block, in rounds in which each way
 * has its turn, in rotating order:
 *
 *   memlease	the way of the daemon: one worker thread of pool/zero.c takes dirty blocks,
 *		zeroes them with the loop chosen at start, hands them on as clean; no bound
 *   memset	and every other store loop that the CPU can run, one block after the other
 *
 * Each is one thread, and what counts is its time on the CPU, for the machine may be shared;
 * memlease's is that of the whole process but the main thread, which sleeps. One line a
 * round and way: "round NAME CPU_NS WALL_NS BYTES"; before that what the mapping is.
 *
 *   zero MIB ROUNDS
 *
 * Run by tests/bench/zero.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../host/pool/zero_loops.h"
#include "../unit/zero_rig.h"

#define BLOCK (2UL << 20)
#define MIB (1UL << 20)

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void tell(unsigned int round, const char *name, uint64_t cpu_ns, uint64_t wall_ns, uint64_t bytes)
{
	printf("%u %s %llu %llu %llu\n", round, name, (unsigned long long)cpu_ns,
	       (unsigned long long)wall_ns, (unsigned long long)bytes);
	fflush(stdout);
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

static void run_loop(struct toy *t, unsigned int round, const struct zero_loop *loop)
{
	uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (uint32_t b = 0; b < t->blocks; b++)
		loop->run(toy_address(t, b), BLOCK);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	tell(round, loop->name, cpu, clock_ns(CLOCK_MONOTONIC) - wall, t->blocks * BLOCK);
}

static uint64_t others_cpu_ns(void)
{
	uint64_t own = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
}

static int run_worker(struct toy *t, unsigned int round, struct zero *z)
{
	uint64_t wall, cpu;

	while (toy_any(t, TOY_CLEAN, TOY_USED) != ZERO_NO_BLOCK)
		;
	for (uint32_t b = 0; b < t->blocks; b++) {
		*(volatile char *)toy_address(t, b) = 1;
		if (atomic_load(&t->word[b]) == TOY_USED)
			toy_move(t, b, TOY_USED, TOY_DIRTY);
	}
	atomic_store(&t->cursor, 0);
	wall = clock_ns(CLOCK_MONOTONIC);
	cpu = others_cpu_ns();
	zero_kick(z);
	while (atomic_load(&t->count[TOY_CLEAN]) != t->blocks) {
		if (clock_ns(CLOCK_MONOTONIC) - wall > 120000000000ULL) {
			fprintf(stderr, "zero: %u of %u blocks are clean after two minutes\n",
				atomic_load(&t->count[TOY_CLEAN]), t->blocks);
			return -1;
		}
		toy_nap();
	}
	tell(round, "memlease", others_cpu_ns() - cpu, clock_ns(CLOCK_MONOTONIC) - wall, t->blocks * BLOCK);
	for (uint32_t b = 0; b < t->blocks; b++) {
		if (*(volatile char *)toy_address(t, b)) {
			fprintf(stderr, "zero: block %u is clean and not zero\n", b);
			return -1;
		}
	}
	return 0;
}

/* Ways by number: memlease, then the loops. */
static int run_way(struct toy *t, unsigned int round, unsigned int way, struct zero *z)
{
	const struct zero_loop *loop = &zero_loops[way - !!way];

	if (!way)
		return run_worker(t, round, z);
	if (loop->usable())
		run_loop(t, round, loop);
	return 0;
}

static int run(struct toy *t, unsigned int rounds)
{
	const struct zero_config config = {
		.source = toy_source(t),
		.block_bytes = BLOCK,
		.threads = 1,
		.bounds = { .least_clean = t->blocks, .most_clean = UINT32_MAX },
		.clock = &ml_clock_real,
	};
	unsigned int ways = zero_loop_count + 1;
	struct zero_stats stats;
	struct zero *z;
	int ret = 0;

	if (zero_start(&z, &config) < 0)
		return -1;
	zero_stats(z, &stats);
	printf("engine %s\n", stats.engine);
	for (unsigned int round = 0; round < rounds && !ret; round++) {
		for (unsigned int i = 0; i < ways && !ret; i++)
			ret = run_way(t, round + 1, (round + i) % ways, z);
	}
	zero_stop(z);
	if (!ret && atomic_load(&t->illegal))
		ret = -1;
	return ret;
}

int main(int argc, char **argv)
{
	unsigned long mib = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct toy t;
	int ret;

	if (mib < 2 || mib > 1 << 20 || !rounds || rounds > 10000) {
		fprintf(stderr, "usage: zero MIB ROUNDS\n");
		return 2;
	}
	if (toy_make(&t, (uint32_t)(mib * MIB / BLOCK), BLOCK) < 0) {
		fprintf(stderr, "zero: no memory for a mapping of %lu MiB: %s\n", mib, strerror(errno));
		return 1;
	}
	printf("mapping %lu MiB, huge %zu MiB\n", mib, huge_bytes(&t) / MIB);
	ret = run(&t, (unsigned int)rounds);
	toy_free(&t);
	return ret ? 1 : 0;
}
