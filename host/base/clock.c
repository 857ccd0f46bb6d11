// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine's own clocks, handed down by daemon/ at start. Nothing else in
 * host/ reads the time.
 */
#include "clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t real_boot_ns(void *ctx)
{
	struct timespec ts;

	(void)ctx;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static int64_t real_wall_ms(void *ctx)
{
	struct timespec ts;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const struct ml_clock ml_clock_real = { real_boot_ns, real_wall_ms, NULL };
