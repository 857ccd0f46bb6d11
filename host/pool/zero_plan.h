/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much to zero, and how fast: pure functions of numbers handed in. Used by zero.c;
 * nothing here knows of threads, clocks or memory. Times are in nanoseconds of a clock
 * that never goes back.
 */
#ifndef ML_POOL_ZERO_PLAN_H
#define ML_POOL_ZERO_PLAN_H

#include <stdbool.h>
#include <stdint.h>

/* --- how fast: a token bucket --- */

struct zero_bucket {
	uint64_t bytes_per_s;	/* 0: no bound */
	uint64_t burst_bytes;	/* most that can be saved up */
	uint64_t level_bytes;
	uint64_t since_ns;	/* to when level_bytes holds */
};

/* Starts full. burst_bytes must be at least the largest piece ever asked for. */
void zero_bucket_init(struct zero_bucket *b, uint64_t bytes_per_s, uint64_t burst_bytes,
		      uint64_t now_ns);

/* Take bytes: 0; or nothing was taken, and how long until there would be as many, at least 1. */
uint64_t zero_bucket_take(struct zero_bucket *b, uint64_t bytes, uint64_t now_ns);

/* --- how fast clean blocks are used --- */

struct zero_use {
	uint64_t since_ns;	/* begin of the sample under way */
	uint64_t used_before;	/* at its begin */
	uint64_t peak_blocks_per_s;	/* of the fastest sample of late, by what it fades to */
	uint64_t peak_ns;
};

#define ZERO_USE_SAMPLE_NS 50000000ULL
#define ZERO_USE_HALF_NS 10000000000ULL	/* in which a peak fades to half */

void zero_use_init(struct zero_use *u, uint64_t used, uint64_t now_ns);

/* used: clean blocks ever handed out. Returns the peak of late as of now, in blocks per second. */
uint64_t zero_use_note(struct zero_use *u, uint64_t used, uint64_t now_ns);

/* --- how much --- */

struct zero_bounds {
	uint32_t least_clean;	/* blocks kept clean when nobody uses any */
	uint32_t most_clean;	/* never keep more; UINT32_MAX: no bound */
	uint32_t horizon_ms;	/* of use at the present rate, to be kept clean */
};

struct zero_view {
	uint32_t clean;		/* ready to be handed out */
	uint32_t dirty;		/* nobody zeroes them yet */
	uint32_t zeroing;	/* a worker does */
	uint32_t waiting;	/* touches that wait for a clean block */
	uint64_t use_blocks_per_s;
	bool working;		/* the last plan said to work */
};

struct zero_plan {
	uint32_t low;		/* work begins below it */
	uint32_t high;		/* and goes on to here */
	uint32_t want;		/* dirty blocks to take in hand now, beyond those in hand */
	bool work;		/* want > 0, or blocks in hand that are still needed */
	bool urgent;		/* touches wait, and there is not enough for them and the next ones:
				 * the bound does not hold */
};

/*
 * Between low and high the work goes on if it was going on, so that workers do not start
 * for every block. Each touch that waits needs a block. It is urgent until there are `low`
 * more than that: a touch that waits although there are enough waits for something else.
 */
struct zero_plan zero_plan_make(const struct zero_bounds *bounds, const struct zero_view *view);

#endif /* ML_POOL_ZERO_PLAN_H */
