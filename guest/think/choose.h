/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks of 2 MiB to empty so that they can be reported, as pure functions
 * over a census of them; one table of choosers with names. Called by work/defrag.c,
 * and in user space by tests/unit/test_guest_choose.c; so nothing here allocates,
 * locks, sleeps or calls the kernel.
 */
#ifndef MEMLEASE_CHOOSE_H
#define MEMLEASE_CHOOSE_H

#include "pure.h"

#ifndef __KERNEL__
typedef uint8_t u8;
typedef uint16_t u16;
#endif

#define ML_CENSUS_PAGES	512	/* of 4 KiB in a block of 2 MiB */

enum ml_kind {
	ML_KIND_ABSENT,		/* no memory, or not ours */
	ML_KIND_FREE,		/* nothing in use */
	ML_KIND_MOVABLE,	/* all that is in use can be moved */
	ML_KIND_FIXED,		/* something in use cannot be moved */
	ML_KIND_STUCK,		/* looks movable, but it was tried of late in vain */
};

/* One block. What it says was true when it was looked at, without a lock. */
struct ml_census {
	u16 used;		/* pages in use; of a FIXED block not known */
	u16 dropped;		/* of these, clean file pages: Linux drops them, and reads them again */
	u8 kind;		/* enum ml_kind */
	u8 mark;		/* for the chooser while it works */
};

/* What may be done, and what it costs; costs in moved pages. */
struct ml_limits {
	u32 blocks;		/* empty at most so many */
	u64 pages;		/* move at most so many: the budget */
	u32 worth;		/* a block that costs more is better left alone */
	u32 run_blocks;		/* at most so many adjacent ones at a time */
	u32 call_cost;		/* for a run, however long */
	u32 block_cost;		/* for each block of it, however full */
	u32 dropped_cost;	/* for a page that is dropped */
};

/* Adjacent blocks that are emptied together, in one call of the kernel's. */
struct ml_run {
	u32 first;
	u32 count;
};

/*
 * Choose blocks of the n in the census, all of one zone, and write them as runs
 * in the order in which to empty them; at most `most` runs. Chooses only MOVABLE
 * blocks, and no more of them than the holes in the others can take. Returns the
 * number of runs. Uses the marks of the census.
 */
typedef u32 (*ml_choose)(struct ml_census *census, u32 n, const struct ml_limits *limits,
			 struct ml_run *runs, u32 most);

struct ml_chooser {
	const char *name;
	ml_choose choose;
};

/*
 *   address	from the lowest address up, as Linux' own compaction goes
 *   fewest	those with the fewest pages in use first
 *   cheapest	those that cost the least per block gained, what a run costs included
 */
enum { ML_CHOOSE_ADDRESS, ML_CHOOSE_FEWEST, ML_CHOOSE_CHEAPEST, ML_CHOOSERS };
extern const struct ml_chooser ml_choosers[ML_CHOOSERS];

/* The most blocks that can be emptied into the holes of the others. */
u32 ml_choose_room(const struct ml_census *census, u32 n);

/* What emptying runs takes. */
struct ml_price {
	u32 blocks;
	u64 pages;		/* moved */
	u64 cost;		/* in moved pages, all told */
};
struct ml_price ml_choose_price(const struct ml_census *census, const struct ml_run *runs, u32 count,
				const struct ml_limits *limits);

/* Free memory of a zone, or of all, in bytes. */
struct ml_strewn {
	u64 total;		/* that Linux uses */
	u64 free;		/* on the free lists */
	u64 whole;		/* of this, in pieces of 2 MiB and more */
};

/*
 * How much of what cannot be reported is free, in percent: free memory in small
 * pieces against all but free memory in large ones. 0 where nothing is strewn.
 */
u32 ml_strewn_score(const struct ml_strewn *strewn);

/*
 * Is it time to defragment in the background? Begins at a high mark and goes on
 * to a low one, so that it does not flap; a few MiB are never worth it.
 */
bool ml_strewn_wanted(const struct ml_strewn *strewn, bool active);

#endif /* MEMLEASE_CHOOSE_H */
