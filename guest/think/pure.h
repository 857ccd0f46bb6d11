/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's decisions as pure functions of numbers: which slots a range of
 * pages covers, how much to grow, when to look again, what a target asks for.
 * Called by the rest of the driver, and by tests/unit/test_guest_pure.c in user
 * space; so nothing here allocates, locks, sleeps or calls the kernel.
 */
#ifndef MEMLEASE_PURE_H
#define MEMLEASE_PURE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
#endif

/* A run of slots of one region, in the CPU's byte order; count is at least 1. */
struct ml_span {
	u32 region;		/* enum memlease_region */
	u32 count;		/* slots */
	u64 first;		/* slot */
};

/* Where the window lies; the rest of the address space is boot memory's. */
struct ml_layout {
	u64 window_addr;
	u64 window_bytes;
};

/*
 * Add the slots that lie wholly inside [addr, addr + bytes) to the n spans, the
 * last of which grows where that is possible. Adds at most 2, for which there
 * must be room. What lies above the window belongs to no region and is left
 * out. Returns the new number of spans.
 */
u32 ml_spans_add(const struct ml_layout *layout, struct ml_span *spans, u32 n,
		 u64 addr, u64 bytes);

/* Sort n spans that do not overlap, and join neighbours. Returns how many remain. */
u32 ml_spans_join(struct ml_span *spans, u32 n);

/*
 * The whole memory blocks of mb_bytes (a power of two) inside the window that
 * also lie inside [usable_first, usable_last]. Returns their number, and the
 * address of the first in *addr (unchanged if there is none).
 */
u32 ml_trim_window(const struct ml_layout *layout, u64 usable_first, u64 usable_last,
		   u64 mb_bytes, u64 *addr);

/* Marks on available memory, bytes: grow below low, up to high; shrink keeps reserve. */
struct ml_marks {
	u64 low;
	u64 high;
	u64 reserve;
	u64 kernel;		/* the least that kernel zones should have available */
};

/* Marks for a guest of total_bytes. low_bytes is the user's low mark, or 0. */
struct ml_marks ml_marks_of(u64 total_bytes, u64 low_bytes, u64 mb_bytes);

/*
 * How many memory blocks more may be borrowed: under the limit, and, unless
 * urgent, under the target. All in slots, except vacant and the result, which
 * are memory blocks.
 */
u32 ml_room(u64 limit, u64 target, u64 committed, u32 slots_per_mb, u32 vacant, bool urgent);

/* What growing depends on. */
struct ml_need {
	u64 available;		/* bytes */
	u64 rate;		/* bytes per second, at which available memory falls */
	u64 mb_bytes;
	u32 room;		/* memory blocks */
	u32 step;		/* most memory blocks at a time */
	bool urgent;		/* memory ran out: grow whatever the marks say */
};

/* How many memory blocks to add now. */
u32 ml_grow_want(const struct ml_need *need, const struct ml_marks *marks);

/* How fast memory goes, bytes per second: at once up, by halves down. */
u64 ml_rate(u64 old_rate, u64 before, u64 now, u64 added, u64 elapsed_us);

/*
 * Is a rate so much above the one before that a second look should confirm it? Not
 * where less than the low mark is available: then there is no time for that.
 */
bool ml_rate_sudden(u64 old_rate, u64 rate, u64 available, u64 low);

/* When to look at free memory again, in ms: sooner the faster it goes. */
u32 ml_look_ms(u64 available, u64 low, u64 rate);

/* May a memory block go without leaving less than the reserve? */
bool ml_may_shrink(u64 available, u64 mb_bytes, u64 reserve);

/* The pause after one of prev_ms: first_ms, then twice as long, up to max_ms. */
u32 ml_backoff_ms(u32 prev_ms, u32 first_ms, u32 max_ms);

/*
 * How long to leave a busy vCPU to programs after a piece of work that took so
 * long: such that they have 95 % of it. Bounded, because somebody may wait.
 */
#define ML_PACE_TIMES	19
#define ML_PACE_MAX_US	100000
u32 ml_pace_us(u64 took_ns);

/* In words; never NULL. */
const char *ml_reason_text(u32 reason);		/* enum memlease_reason */
const char *ml_broken_text(u32 broken);		/* enum memlease_broken */
const char *ml_target_state_text(u32 state);	/* enum memlease_target_state */
const char *ml_reporting_text(u32 reporting);	/* enum memlease_reporting: "on", or "off" and why */

#endif /* MEMLEASE_PURE_H */
