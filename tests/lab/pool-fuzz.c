// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-fuzz BASE BYTES SECONDS [SEED]: calls of the control device with numbers,
 * sizes, pointers and values that nobody meant, from some threads, while others open,
 * map and touch whatever windows there are, and the rings are scribbled over. It
 * claims nothing but the carve-out. The test is that the kernel has nothing to say
 * and everything can be removed in the end.
 */
#include "pool.h"

#include <dirent.h>
#include <pthread.h>

#define CALLERS 3
#define MAX_SLOTS 300
#define RETIRED_FROM 240	/* blocks from here on may break */

static volatile bool stop;
static volatile long calls, accepted;
static uint64_t base, bytes;
static char *edge;		/* the end of what can be read, a page before what cannot */

static __thread uint64_t random_state;

static uint64_t random64(void)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return random_state ^ random_state >> 29;
}

static uint32_t below(uint32_t n)
{
	return (random64() >> 20) % n;
}

/* Numbers at which things tend to break. */
static uint64_t odd_number(void)
{
	static const uint64_t odd[] = { 0, 1, 2, 255, 256, 257, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff,
					0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff };

	switch (below(4)) {
	case 0:
		return odd[below(sizeof(odd) / sizeof(odd[0]))];
	case 1:
		return random64();
	default:
		return below(MAX_SLOTS);
	}
}

static uint64_t odd_pointer(void)
{
	static __thread uint64_t buffer[4096];

	switch (below(8)) {
	case 0:
		return 0;
	case 1:
		return 0xffff888000000000ULL + (random64() & 0xffffff);	/* the kernel's */
	case 2:
		return random64();
	case 3:
		return (uintptr_t)edge - below(64);
	case 4:
		return (uintptr_t)lab_rings + below(sizeof(*lab_rings));
	case 5:
		return (uintptr_t)lab_view + below(1 << 30);
	default:
		return (uintptr_t)buffer;
	}
}

/* A window that there is, most of the time. */
static uint32_t some_window(void)
{
	struct memlease_pool_window w = { .id = below(64) ? 0 : below(1000) };

	for (uint32_t i = below(4); i != LAB_NONE; i--) {
		if (call(MEMLEASE_POOL_WINDOW, &w))
			break;
	}
	return w.id;
}

static uint64_t fuzz_claim(void)
{
	/* Never what could be a device's: the carve-out, Linux' own, or nonsense. */
	struct memlease_pool_range range = { .base = below(2) ? base + (uint64_t)below(512) * LAB_BLOCK / 2 :
					     (uint64_t)below(64) << 20 << 2, .index = odd_number() };

	range.bytes = below(2) ? LAB_BLOCK : odd_number();
	if (range.base < base && (range.base > 0x70000000 || range.bytes > 0x1000000))
		range.base |= 4096;
	return call(MEMLEASE_POOL_CLAIM, &range);
}

static uint64_t fuzz_create(void)
{
	struct memlease_pool_window w = { .slots = below(8) ? 1 + below(MAX_SLOTS) : odd_number(),
					  .mode = below(8) ? 0600 : odd_number(), .uid = below(8) ? 0 : odd_number(),
					  .gid = below(8) ? 0 : odd_number(), .id = odd_number() };
	int n = below(8) ? 3 : below(sizeof(w.name) + 1);

	for (int i = 0; i < n; i++)
		w.name[i] = below(16) ? 'a' + below(4) : random64();
	if (w.slots > 1 << 20)
		w.slots |= 1 << 30;	/* nor all of the machine's memory */
	return call(MEMLEASE_POOL_CREATE, &w);
}

static uint64_t fuzz_slots_op(void)
{
	static __thread struct memlease_pool_extent x[MEMLEASE_POOL_MAX_EXTENTS];
	static __thread uint32_t blocks[MEMLEASE_POOL_MAX_EXTENTS * MAX_SLOTS];
	struct memlease_pool_slots_op op = { .window = some_window(), .extents = 1 + below(4), .on = below(2),
					     .extent_ptr = (uintptr_t)x, .blocks_ptr = (uintptr_t)blocks };

	for (uint32_t i = 0; i < 4; i++)
		x[i] = (struct memlease_pool_extent){ below(16) ? below(64) : odd_number(),
						      below(16) ? 1 + below(16) : odd_number() };
	if (!below(16))
		op.extents = odd_number();
	if (!below(16))
		op.extent_ptr = odd_pointer();
	if (!below(16))
		op.blocks_ptr = odd_pointer();
	return call(below(2) ? MEMLEASE_POOL_COMMIT : MEMLEASE_POOL_UNMAP, &op);
}

static uint64_t fuzz_map(void)
{
	struct memlease_pool_map map = { .window = some_window(), .slot = below(16) ? below(64) : odd_number(),
					 .block = odd_number(), .reserved = !below(32) };

	return call(below(2) ? MEMLEASE_POOL_MAP : MEMLEASE_POOL_MOVE, &map);
}

static uint64_t fuzz_read(void)
{
	struct memlease_pool_slots slots = { .window = some_window(), .first = odd_number(), .count = odd_number(),
					     .words_ptr = odd_pointer() };
	struct memlease_pool_blocks blocks = { .first = odd_number(), .count = odd_number(),
					       .states_ptr = odd_pointer() };

	return below(2) ? call(MEMLEASE_POOL_SLOTS, &slots) : call(MEMLEASE_POOL_BLOCKS, &blocks);
}

static uint64_t fuzz_number(void)
{
	uint32_t number = some_window();

	if (below(4))
		return call(MEMLEASE_POOL_DESTROY, &number);
	number = RETIRED_FROM + below(100);
	return call(MEMLEASE_POOL_RETIRE, &number);
}

/* Any number at all, but what would break what the others need. */
static uint64_t fuzz_any(void)
{
	unsigned int nr = below(20), size = below(4) ? 8 * below(16) : below(1 << 14);

	if (nr == _IOC_NR(MEMLEASE_POOL_CLAIM) || nr == _IOC_NR(MEMLEASE_POOL_RETIRE))
		nr = 0;
	return call(_IOC(below(4), below(16) ? MEMLEASE_POOL_IOC : below(256), nr, size), (void *)odd_pointer());
}

static void *caller(void *arg)
{
	static uint64_t (*const kinds[])(void) = { fuzz_claim, fuzz_create, fuzz_slots_op, fuzz_slots_op, fuzz_map,
						   fuzz_map, fuzz_read, fuzz_number, fuzz_any };

	random_state = (uintptr_t)arg;
	while (!stop) {
		accepted += !kinds[below(sizeof(kinds) / sizeof(kinds[0]))]();
		calls++;
	}
	return NULL;
}

/* Nonsense in the rings; now and then what lets a task go on. */
static void *scribbler(void *arg)
{
	random_state = (uintptr_t)arg;
	while (!stop) {
		switch (below(5)) {
		case 0:
			lab_rings->supply_head = lab_rings->supply_tail + odd_number();
			break;
		case 1:
			lab_rings->touches_tail = odd_number();
			break;
		case 2:
			((volatile uint8_t *)lab_rings)[below(below(2) ? 128 : sizeof(*lab_rings))] = random64();
			break;
		default:
			lab_rings->supply[lab_rings->supply_tail % MEMLEASE_POOL_SUPPLY] = below(300);
			lab_rings->supply_head = lab_rings->supply_tail + 1;
		}
		call(MEMLEASE_POOL_SUPPLIED, NULL);
		usleep(100);
	}
	return NULL;
}

/* Opens any window, maps a part of it and touches that. */
static void toucher(int seed)
{
	char path[sizeof(MEMLEASE_POOL_WINDOWS) + 256];
	struct dirent *entry;
	DIR *dir;

	random_state = seed;
	alarm(1 + below(3));	/* nothing that it waits for need ever come */
	while ((dir = opendir(MEMLEASE_POOL_WINDOWS))) {
		while ((entry = readdir(dir))) {
			int fd = -1;
			char *p;

			snprintf(path, sizeof(path), MEMLEASE_POOL_WINDOWS "%s", entry->d_name);
			if (entry->d_name[0] != '.' && !below(3))
				fd = open(path, O_RDWR);
			if (fd < 0)
				continue;
			p = mmap(NULL, below(8) * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, below(8) * LAB_BLOCK);
			for (int i = 0; p != MAP_FAILED && i < 8; i++)
				lab_write(p + below(4) * LAB_BLOCK + 4096 * below(512), 1);
			lseek(fd, odd_number(), below(5));
			if (below(4))
				close(fd);
		}
		closedir(dir);
		usleep(1000);
	}
	_exit(0);
}

static void *spawner(void *arg)
{
	random_state = (uintptr_t)arg;
	while (!stop) {
		pid_t pid = fork();

		if (!pid)
			toucher(random64());
		usleep(200000);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	return NULL;
}

static void remove_all(void)
{
	struct memlease_pool_window w = { .id = 0 };
	int removed = 0, rc;

	while (!call(MEMLEASE_POOL_WINDOW, &w)) {
		rc = lab_remove(w.id, w.slots);
		if (rc)
			ok(false, "window %s (%u, %u open) stays: %s", w.name, w.id, w.opened, strerror(-rc));
		removed++;
	}
	ok(removed, "%d windows were left, and are removed", removed);
}

int main(int argc, char **argv)
{
	pthread_t threads[CALLERS + 2];
	struct memlease_pool_info info;
	uint64_t seed;

	if (argc < 4)
		lab_die("usage: pool-fuzz BASE BYTES SECONDS [SEED]");
	base = strtoull(argv[1], NULL, 0);
	bytes = strtoull(argv[2], NULL, 0);
	seed = argc > 4 ? strtoull(argv[4], NULL, 0) : (uint64_t)(lab_seconds() * 1e6) ^ getpid();
	printf("seed %llu\n", (unsigned long long)seed);
	lab_catch_bus();
	lab_open();
	lab_claim(base, bytes);
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	edge += 4096;
	for (int i = 0; i < CALLERS; i++)
		pthread_create(&threads[i], NULL, caller, (void *)(uintptr_t)(seed + i));
	pthread_create(&threads[CALLERS], NULL, scribbler, (void *)(uintptr_t)(seed + CALLERS));
	pthread_create(&threads[CALLERS + 1], NULL, spawner, (void *)(uintptr_t)(seed + CALLERS + 1));
	sleep(atoi(argv[3]));
	stop = true;
	for (int i = 0; i < CALLERS + 2; i++)
		pthread_join(threads[i], NULL);
	while (wait(NULL) > 0)
		;
	ok(calls > 1000 && accepted > 100, "%ld calls, %ld of them accepted", calls, accepted);
	memset(lab_rings, 0, 128);
	is(call(MEMLEASE_POOL_INFO, &info), 0, "INFO");
	ok(info.blocks == lab_blocks, "no block was added or lost");
	remove_all();
	is(call(MEMLEASE_POOL_INFO, &info), 0, "INFO");
	ok(!info.windows && !info.resident, "no window, and no block behind one");
	return lab_failures ? 1 : 0;
}
