/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam through which tests and the simulation replace time. The daemon
 * makes one real clock and hands it down; nobody reads the time elsewhere.
 */
#ifndef ML_BASE_CLOCK_H
#define ML_BASE_CLOCK_H

#include <stdint.h>

struct ml_clock {
	/* Nanoseconds since boot, suspend included (CLOCK_BOOTTIME); never goes back. */
	uint64_t (*boot_ns)(void *ctx);
	/* Milliseconds since 1970 in UTC (CLOCK_REALTIME); may jump. */
	int64_t (*wall_ms)(void *ctx);
	void *ctx;
};

/* The machine's own clocks. */
extern const struct ml_clock ml_clock_real;

static inline uint64_t ml_boot_ns(const struct ml_clock *c)
{
	return c->boot_ns(c->ctx);
}

static inline int64_t ml_wall_ms(const struct ml_clock *c)
{
	return c->wall_ms(c->ctx);
}

#endif /* ML_BASE_CLOCK_H */
