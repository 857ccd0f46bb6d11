/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the lab's programs for memlease_pool.ko share (pool-*.c): they play the
 * daemon, which opens the control device and keeps the rings, and the VMs, which
 * map windows. A program prints a line "ok WHAT" or "not ok WHAT" per check, for
 * tests/lab/module.t, and exits 1 if one failed, 2 if it could not go on.
 */
#ifndef MEMLEASE_LAB_POOL_H
#define MEMLEASE_LAB_POOL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/memlease_ioctl.h"

#define LAB_BLOCK (1UL << MEMLEASE_POOL_BLOCK_SHIFT)
#define LAB_NONE (~0u)

static int lab_failures;
static int lab_ctl = -1;
static struct memlease_rings *lab_rings;
static char *lab_view;		/* of all blocks */
static uint32_t lab_blocks;

static inline __attribute__((format(printf, 2, 3))) bool ok(bool holds, const char *what, ...)
{
	va_list args;

	va_start(args, what);
	printf(holds ? "ok " : "not ok ");
	vprintf(what, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
	lab_failures += !holds;
	return holds;
}

static inline __attribute__((format(printf, 1, 2), noreturn)) void lab_die(const char *what, ...)
{
	va_list args;

	va_start(args, what);
	printf("not ok ");
	vprintf(what, args);
	printf(": %s\n", strerror(errno));
	va_end(args);
	exit(2);
}

/* An ioctl of the control device: 0 or -errno. */
static inline int call(unsigned long cmd, void *arg)
{
	return ioctl(lab_ctl, cmd, arg) < 0 ? -errno : 0;
}

static inline bool is(int got, int wanted, const char *what)
{
	return ok(got == wanted, "%s%s%s", what, got == wanted ? "" : ": ", got == wanted ? "" : strerror(-got));
}

static inline double lab_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static inline void lab_nap(unsigned int ms)
{
	usleep(ms * 1000);
}

/* --- the daemon's part --------------------------------------------------------- */

static inline void lab_open(void)
{
	lab_ctl = open(MEMLEASE_POOL_CONTROL, O_RDWR | O_CLOEXEC);
	if (lab_ctl < 0)
		lab_die("cannot open " MEMLEASE_POOL_CONTROL);
	lab_rings = mmap(NULL, (sizeof(*lab_rings) + 4095) & ~4095UL, PROT_READ | PROT_WRITE, MAP_SHARED, lab_ctl,
			 MEMLEASE_POOL_OFF_RINGS);
	if (lab_rings == MAP_FAILED)
		lab_die("cannot map the rings");
}

static inline void lab_see_blocks(void)
{
	struct memlease_pool_info info;

	if (call(MEMLEASE_POOL_INFO, &info))
		lab_die("INFO");
	lab_blocks = info.blocks;
	lab_view = mmap(NULL, lab_blocks * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, lab_ctl,
			MEMLEASE_POOL_OFF_BLOCKS);
	if (lab_view == MAP_FAILED)
		lab_die("cannot map the pool");
}

/* As a daemon does that comes after another. */
static inline void lab_open_again(void)
{
	munmap(lab_view, lab_blocks * LAB_BLOCK);
	munmap(lab_rings, (sizeof(*lab_rings) + 4095) & ~4095UL);
	close(lab_ctl);
	lab_open();
	lab_see_blocks();
}

/* Claim the memory if no one has done so yet, and see it. */
static inline void lab_claim(uint64_t base, uint64_t bytes)
{
	struct memlease_pool_range range = { .base = base, .bytes = bytes };
	struct memlease_pool_info info;

	if (call(MEMLEASE_POOL_INFO, &info))
		lab_die("INFO");
	if (!info.blocks && call(MEMLEASE_POOL_CLAIM, &range))
		lab_die("CLAIM");
	lab_see_blocks();
}

static inline char *lab_block(uint32_t block)
{
	return lab_view + block * LAB_BLOCK;
}

/* Put a block into the supply, without waking tasks that wait. */
static inline void lab_put(uint32_t block)
{
	uint32_t head = lab_rings->supply_head;

	lab_rings->supply[head % MEMLEASE_POOL_SUPPLY] = block;
	__atomic_store_n(&lab_rings->supply_head, head + 1, __ATOMIC_SEQ_CST);
}

static inline void lab_supply(uint32_t block)
{
	lab_put(block);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&lab_rings->waiting, __ATOMIC_SEQ_CST))
		call(MEMLEASE_POOL_SUPPLIED, NULL);
}

static inline uint32_t lab_supply_left(void)
{
	return lab_rings->supply_head - __atomic_load_n(&lab_rings->supply_tail, __ATOMIC_ACQUIRE);
}

/* Take everything back. */
static inline void lab_supply_clear(void)
{
	lab_rings->supply_head = lab_rings->supply_tail;
	call(MEMLEASE_POOL_SUPPLIED, NULL);
	lab_rings->supply_head = lab_rings->supply_tail;
}

/* The next record, or false. */
static inline bool lab_touch(struct memlease_touch *t)
{
	uint32_t tail = lab_rings->touches_tail;

	if (__atomic_load_n(&lab_rings->touches_head, __ATOMIC_ACQUIRE) == tail)
		return false;
	*t = lab_rings->touches[tail % MEMLEASE_POOL_TOUCHES];
	__atomic_store_n(&lab_rings->touches_tail, tail + 1, __ATOMIC_SEQ_CST);
	return true;
}

/* Skip records up to one of this type; false if none has come after 5 seconds. */
static inline bool lab_await(uint32_t type, struct memlease_touch *t)
{
	double end = lab_seconds() + 5;

	do {
		while (lab_touch(t)) {
			if (t->type == type)
				return true;
		}
		lab_nap(5);
	} while (lab_seconds() < end);
	return false;
}

static inline void lab_forget_touches(void)
{
	struct memlease_touch t;

	while (lab_touch(&t))
		;
}

/* COMMIT or UNMAP of one extent; blocks that came back in blocks[], their number, or -errno. */
static inline int lab_change(unsigned long cmd, uint32_t window, uint32_t first, uint32_t count, uint32_t on,
			     uint32_t *blocks)
{
	struct memlease_pool_extent x = { .first = first, .count = count };
	struct memlease_pool_slots_op op = { .window = window, .extents = 1, .extent_ptr = (uintptr_t)&x,
					     .blocks_ptr = (uintptr_t)blocks, .on = on };
	int rc = call(cmd, &op);

	return rc ? rc : (int)op.taken;
}

static inline int lab_commit(uint32_t window, uint32_t first, uint32_t count)
{
	return lab_change(MEMLEASE_POOL_COMMIT, window, first, count, 1, NULL);
}

static inline int lab_map(uint32_t window, uint32_t slot, uint32_t block)
{
	struct memlease_pool_map map = { .window = window, .slot = slot, .block = block };

	return call(MEMLEASE_POOL_MAP, &map);
}

/* The old block, or -errno. */
static inline int lab_try_move(uint32_t window, uint32_t slot, uint32_t block)
{
	struct memlease_pool_map map = { .window = window, .slot = slot, .block = block };
	int rc = call(MEMLEASE_POOL_MOVE, &map);

	return rc ? rc : (int)map.block;
}

/* Again, while a process has the lock of its memory map. */
static inline int lab_move(uint32_t window, uint32_t slot, uint32_t block)
{
	double end = lab_seconds() + 20;
	int rc;

	do
		rc = lab_try_move(window, slot, block);
	while (rc == -ETIME && lab_seconds() < end);
	return rc;
}

static inline uint32_t lab_slot(uint32_t window, uint32_t slot)
{
	uint32_t word = LAB_NONE;
	struct memlease_pool_slots slots = { .window = window, .first = slot, .count = 1,
					     .words_ptr = (uintptr_t)&word };

	if (call(MEMLEASE_POOL_SLOTS, &slots))
		lab_die("SLOTS");
	return word;
}

/* Make a window that root alone may open; its id. */
static inline uint32_t lab_create(const char *name, uint32_t slots)
{
	struct memlease_pool_window w = { .slots = slots, .mode = 0600 };

	strncpy(w.name, name, sizeof(w.name) - 1);
	if (call(MEMLEASE_POOL_CREATE, &w))
		lab_die("CREATE %s", name);
	return w.id;
}

/* Take all that is behind a window, and remove it. 0 or -errno. */
static inline int lab_remove(uint32_t window, uint32_t slots)
{
	uint32_t *blocks = calloc(slots, sizeof(*blocks));
	int rc = lab_change(MEMLEASE_POOL_COMMIT, window, 0, slots, 0, blocks);

	free(blocks);
	return rc < 0 ? rc : call(MEMLEASE_POOL_DESTROY, &window);
}

/* --- the VM's part -------------------------------------------------------------- */

static inline int lab_open_window(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), MEMLEASE_POOL_WINDOWS "%s", name);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline char *lab_map_window(int fd, uint32_t slots)
{
	char *p = mmap(NULL, slots * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		lab_die("cannot map a window");
	return p;
}

static __thread sigjmp_buf lab_bus_jump;
static __thread volatile sig_atomic_t lab_bus_armed;
static __thread volatile int lab_bus_code;	/* si_code of the last SIGBUS or SIGSEGV */
static __thread volatile int lab_bus_signal;

static inline void lab_on_bus(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (!lab_bus_armed)
		_exit(128 + signal);
	lab_bus_code = info->si_code;
	lab_bus_signal = signal;
	siglongjmp(lab_bus_jump, 1);
}

static inline void lab_catch_bus(void)
{
	struct sigaction action = { .sa_sigaction = lab_on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* The signal that the access ended with, or 0; *value is read or written. */
static inline int lab_access(volatile void *at, bool write, uint64_t *value)
{
	volatile uint64_t *p = at;

	if (sigsetjmp(lab_bus_jump, 0)) {
		lab_bus_armed = 0;
		return lab_bus_signal;
	}
	lab_bus_armed = 1;
	if (write)
		*p = *value;
	else
		*value = *p;
	lab_bus_armed = 0;
	return 0;
}

static inline int lab_read(volatile void *at, uint64_t *value)
{
	return lab_access(at, false, value);
}

static inline int lab_write(volatile void *at, uint64_t value)
{
	return lab_access(at, true, &value);
}

#endif /* MEMLEASE_LAB_POOL_H */
