/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A window for each test of pool-touch.c and pool-wait.c, opened and mapped by the
 * program itself.
 */
#ifndef MEMLEASE_LAB_POOL_WINDOW_H
#define MEMLEASE_LAB_POOL_WINDOW_H

#include "pool.h"

#define SLOTS 64
#define PATTERN 0x6d656d6c65617365ULL

static uint32_t window;		/* of the test that runs */
static char *mem;		/* its mapping */
static int window_fd;

static inline uint64_t peek(volatile void *at)
{
	uint64_t value = ~PATTERN;

	if (lab_read(at, &value))
		ok(false, "%p cannot be read", at);
	return value;
}

/* A window of its own for each test. */
static inline void begin(const char *name)
{
	lab_supply_clear();
	lab_forget_touches();
	window = lab_create(name, SLOTS);
	window_fd = lab_open_window(name);
	if (window_fd < 0)
		lab_die("cannot open window %s", name);
	mem = lab_map_window(window_fd, SLOTS);
}

static inline void end(void)
{
	munmap(mem, SLOTS * LAB_BLOCK);
	close(window_fd);
	is(lab_remove(window, SLOTS), 0, "the window goes");
}

static inline void expect_once(uint32_t type, const char *what)
{
	struct memlease_touch t = {};

	ok(lab_touch(&t) && t.type == type && t.window == window && !lab_touch(&t), "%s", what);
}

#endif /* MEMLEASE_LAB_POOL_WINDOW_H */
