/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Users of a pool, and where each finds the next blocks: which area to reserve, where a run
 * is, where a moved block can go, which area has dirty blocks. Included only by pool/.
 *
 * A struct pool_user belongs to one thread; pool.c makes and ends users.
 */
#ifndef ML_POOL_SEARCH_H
#define ML_POOL_SEARCH_H

#include "area.h"

/* Where a user takes blocks of one kind from. */
struct pool_reserve {
	struct pool_area *area;	/* NULL: nowhere yet */
	uint32_t index;
	uint32_t word;		/* of the bitmap, where the last block came from */
	bool shared;		/* another's reserve, or another kind's: look at meta each time */
};

struct pool_user {
	_Alignas(64) struct pool *pool;
	unsigned int writer;	/* index in users and in the table's tallies */
	unsigned int order_count;
	unsigned int home;	/* where in a range it looks first, in parts of POOL_USERS_MAX */
	const struct pool_span *last;	/* of a block put back */
	struct pool_reserve from[POOL_KINDS];
	uint32_t dirty_area;	/* where dirty blocks were found last */
	_Atomic bool taken;
	uint8_t order[POOL_RANGES_MAX];	/* indices of ranges */
};

/*
 * Another area for a kind: gives up the reserve, and reserves or shares the next. False
 * if there is no clean block in any range of the user's.
 */
bool search_area(struct pool_user *u, enum pool_kind kind);
/* Give up the reserve. */
void search_leave(struct pool_user *u, enum pool_kind kind);
/* Claim a run; its first bit in *bit. The area, or NULL. */
struct pool_area *search_run(struct pool_user *u, enum pool_kind kind, unsigned int order,
			     uint32_t *bit);
/* Claim a bit, of a dirty block or a clean one, for a block that moves out of area `from`. */
struct pool_area *search_move(struct pool_user *u, uint32_t from, uint32_t into, uint32_t *bit);
/* An area that has dirty blocks, or POOL_NO_AREA. */
uint32_t search_dirty(struct pool_user *u);

#endif /* ML_POOL_SEARCH_H */
