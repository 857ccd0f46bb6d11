/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When page cache that nobody uses goes back by itself, and how much of it, as
 * pure functions of numbers. Called by linux/cache.c, work/trim.c and work/shrink.c, and by
 * tests/unit/test_guest_cold.c in user space.
 */
#ifndef MEMLEASE_COLD_H
#define MEMLEASE_COLD_H

#include "pure.h"

/* What is seen at a look. Counters count since boot. */
struct ml_cold_look {
	u64 now_ms;
	u64 file;		/* bytes of page cache that has a file to go back to, and of like caches */
	u64 unused;		/* bytes of it that Linux would give up first */
	u64 again;		/* counter: bytes that were given up and read again */
	u64 rate;		/* bytes per second, at which programs take memory */
};

/* What is remembered from look to look; zeroes to begin with. */
struct ml_cold {
	u64 file;		/* at the last look */
	u64 again;
	u64 quiet_since_ms;	/* nothing was read, and programs took little */
	u64 not_before_ms;	/* after trimming was a mistake */
	u64 trimmed_ms;		/* when we trimmed last, or 0 */
	u32 pause_ms;		/* doubles */
	bool seen;
};

/*
 * One look: how many bytes to trim now. None before the page cache has been quiet
 * for a while; then a share, look by look, so that a mistake shows while it is
 * small. What is read again soon after a trim was a mistake.
 */
u64 ml_cold_want(struct ml_cold *cold, const struct ml_cold_look *look);

/*
 * How much page cache must go before `moving` bytes in use can be moved together
 * elsewhere, where `free` are free: none as long as these suffice with a margin.
 */
u64 ml_cold_for_move(u64 moving, u64 free, u64 margin, u64 unused);

/*
 * How far a zone may be asked to free at a time so that it stays balanced: an
 * unbalanced one would be reclaimed in earnest, with writing and swapping. In
 * pages, as are all arguments.
 */
u64 ml_cold_boost(u64 want, u64 free, u64 high);

/*
 * The same for a zone that is to be a little out of balance, yet so that whoever
 * allocates from it need not wait: free stays over min with the raise.
 */
u64 ml_cold_boost_firm(u64 want, u64 free, u64 min, u64 high);

#endif /* MEMLEASE_COLD_H */
