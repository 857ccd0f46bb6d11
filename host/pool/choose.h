/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which areas of the pool to empty so that whole GiBs are free, and into which
 * others their blocks go, as pure functions over a census; one table of choosers
 * with names, as the guest's driver has one. Called by lend/, which compacts the pool;
 * nothing here allocates, locks, or looks at the pool.
 */
#ifndef ML_POOL_CHOOSE_H
#define ML_POOL_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One area, as it was when it was looked at. Blocks that are offered to the module are
 * in `blocks` only: they can be had back, and then they are clean.
 */
struct pool_census {
	uint16_t blocks;	/* that it has and that are not retired; whole areas have 512 */
	uint16_t movable;	/* lent, and not fixed */
	uint16_t stuck;		/* lent and fixed, or being moved: cannot be moved now */
	uint16_t clean;
	uint16_t dirty;		/* free and to be zeroed */
	uint8_t range;
	bool fixed;		/* of the fixed kind: takes no movable blocks in */
	bool busy;		/* a user's reserve, or closed: is not emptied */
	/* For the chooser while it works: */
	uint8_t mark;
	uint16_t taken;		/* of the free ones */
};

/* What may be done, and what it costs; costs in moved blocks. */
struct pool_limits {
	uint32_t areas;		/* empty at most so many */
	uint32_t blocks;	/* move at most so many: the budget */
	uint32_t worth;		/* an area that costs more is better left alone */
	uint32_t far_cost;	/* for a block that goes to another range, beside the move */
	uint32_t zero_percent;	/* of a move's cost: what zeroing a block takes */
};

/* Move so many blocks from one area into another. */
struct pool_shift {
	uint32_t from, into;
	uint16_t count;
};

/*
 * Choose areas of the n in the census, and write the moves in the order in which to
 * make them, all of one area together; at most `most` entries. Empties only areas that
 * become whole GiBs by it: with 512 blocks, none stuck, not busy. Fills only areas that
 * are in use, of the movable kind and not busy, with no more than their free blocks, and
 * never one that it empties. Returns the number of entries. Ranges count up to 64.
 */
typedef uint32_t (*pool_choose)(struct pool_census *census, uint32_t n,
				const struct pool_limits *limits, struct pool_shift *shifts,
				uint32_t most);

struct pool_chooser {
	const char *name;
	pool_choose choose;
};

/*
 *   address	from the highest area down, into the lowest ones, until both meet
 *   fewest	those with the fewest lent blocks first, into the fullest ones
 *   cheapest	those that cost the least, moves to another range and the zeroing of what
 *		is dirty or becomes so counted in; into the fullest ones of their own range
 *		before others
 */
enum { POOL_CHOOSE_ADDRESS, POOL_CHOOSE_FEWEST, POOL_CHOOSE_CHEAPEST, POOL_CHOOSERS };
extern const struct pool_chooser pool_choosers[POOL_CHOOSERS];

/* What carrying out the moves takes. */
struct pool_price {
	uint32_t areas;		/* emptied */
	uint32_t blocks;	/* moved */
	uint64_t cost;
};
struct pool_price pool_choose_price(const struct pool_census *census,
				    const struct pool_shift *shifts, uint32_t count,
				    const struct pool_limits *limits);

#endif /* ML_POOL_CHOOSE_H */
