/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of pool/ share: areas with their bitmaps, ranges, users, and the
 * search for an area. Nothing outside pool/ and tests includes this.
 *
 * A bitmap of an area says who owns a free block: nobody, while its bit is set. All
 * ways to claim bits and to give them back are here.
 */
#ifndef ML_POOL_AREA_H
#define ML_POOL_AREA_H

#include "pool.h"

#define AREA_WORDS (POOL_AREA_BLOCKS / 64)
#define AREA_NO_BIT UINT32_MAX

struct pool_area {
	_Alignas(64) _Atomic uint64_t clean[AREA_WORDS];
	_Alignas(64) _Atomic uint64_t dirty[AREA_WORDS];
	_Alignas(64) uint32_t first;	/* block of bit 0, modulo 2^32 where a range begins later */
	_Atomic uint32_t blocks;	/* that it has and that are not RETIRED */
	uint32_t span;			/* index of its range */
};

/* A range, by areas: block b of it is bit (b + shift) % 512 of area (b + shift) / 512. */
struct pool_span {
	struct pool_range range;
	uint32_t shift;
	uint32_t first_area, areas;
};

/*
 * meta of an area: its kind, who has reserved it (0: nobody, else writer + 1), whether
 * it is closed, and a count of changes, so that who has seen one word knows that nothing
 * happened in between.
 */
enum { META_UNUSED, META_MOVABLE, META_FIXED };	/* enum pool_kind + 1 */
#define META_KIND(m) ((m) & 3U)
#define META_CLOSED (1U << 2)
#define META_USER(m) ((m) >> 3 & 0x7fU)
#define META_USER_SHIFT 3
#define META_CHANGE (1U << 10)
#define META_CHANGES (~(META_CHANGE - 1))

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

static inline uint64_t load_bits(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* Claim bits that the caller has seen set. False: somebody was faster with one of them. */
static inline bool claim_bits(_Atomic uint64_t *word, uint64_t *seen, uint64_t bits)
{
	return atomic_compare_exchange_weak_explicit(word, seen, *seen & ~bits,
						     memory_order_acquire, memory_order_relaxed);
}

/* Claim the lowest bit of one word, or none. */
static inline uint32_t claim_lowest(_Atomic uint64_t *word)
{
	uint64_t seen = load_bits(word);

	while (seen) {
		if (claim_bits(word, &seen, seen & -seen))
			return (uint32_t)__builtin_ctzll(seen);
	}
	return AREA_NO_BIT;
}

/* Claim one bit, if it is set. */
static inline bool claim_one(_Atomic uint64_t *bitmap, uint32_t bit)
{
	uint64_t mask = 1ULL << (bit & 63);

	return atomic_fetch_and(&bitmap[bit >> 6], ~mask) & mask;
}

/* Any bit, beginning with word *at; words that are partly taken before full ones. */
uint32_t area_claim(_Atomic uint64_t *bitmap, uint32_t *at);
/* Up to `most` adjacent bits; the first one in *bit, how many is the result. */
uint32_t area_claim_batch(_Atomic uint64_t *bitmap, uint32_t most, uint32_t *bit);
/* 2^order clean blocks at a multiple of that; the first bit, or AREA_NO_BIT. */
uint32_t area_claim_run(struct pool *p, uint32_t area, unsigned int order);
/* Is there a run of blocks that are CLEAN or DIRTY? */
bool area_may_run(const struct pool_area *a, unsigned int order);
uint32_t area_count(const _Atomic uint64_t *bitmap);
/* CLEAN and DIRTY ones. */
uint32_t area_free(const struct pool_area *a);

/* Nothing of it is lent, offered, moving or being zeroed. */
static inline bool area_unused(const struct pool_area *a)
{
	return area_free(a) == atomic_load_explicit(&a->blocks, memory_order_relaxed);
}

/* --- the indices: one bit per area; set means maybe, clear means no --- */

static inline void index_set(_Atomic uint64_t *index, uint32_t area)
{
	uint64_t mask = 1ULL << (area & 63);

	if (!(atomic_load(&index[area >> 6]) & mask))
		atomic_fetch_or(&index[area >> 6], mask);
}

/* The bitmap was found empty: say so, unless it is not any more. */
void index_clear(_Atomic uint64_t *index, uint32_t area, const _Atomic uint64_t *bitmap);

/* --- search.c --- */

/*
 * Another area for a kind: gives up the reserve, and reserves or shares the next. False
 * if there is no clean block in any range of the user's.
 */
bool search_area(struct pool_user *u, enum pool_kind kind);
/* Give up the reserve. */
void search_leave(struct pool_user *u, enum pool_kind kind);
/*
 * The caller has claimed a bit of an area that is not its own reserve: may it keep it? No
 * if the area is closed. If so, the area is of the kind from now on.
 */
bool search_may_share(struct pool *p, uint32_t area, enum pool_kind kind);
/* All blocks may be free: if so, and nobody has reserved it, the area is of no kind. */
void search_unused(struct pool *p, uint32_t area);
/* Claim a run; its first bit in *bit. The area, or NULL. */
struct pool_area *search_run(struct pool_user *u, enum pool_kind kind, unsigned int order,
			     uint32_t *bit);
/* Claim a bit for a block that moves out of area `from`. */
struct pool_area *search_move(struct pool_user *u, uint32_t from, uint32_t into, uint32_t *bit);
/* An area that has dirty blocks, or POOL_NO_AREA. */
uint32_t search_dirty(struct pool_user *u);

/* --- pool.c --- */

/* Its area and bit. */
uint32_t pool_place(const struct pool *p, struct pool_user *u, uint32_t block, uint32_t *bit);
/* A clean block that the caller owns: set its bit. */
void pool_give_clean(struct pool *p, uint32_t area, uint32_t bit);

#endif /* ML_POOL_AREA_H */
