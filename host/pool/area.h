/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Areas: the bitmaps of what is free in each, and for what an area is used. Included only
 * by pool/ and by its tests.
 *
 * A free block has no owner while its bit in a bitmap is set; a user that clears the bit owns
 * the block. All ways to claim bits and to give them back are here. The meta word of an area
 * says of which kind its loans are, which user has reserved it, and whether it is closed; it
 * groups loans, and has no part in the ownership of blocks.
 */
#ifndef ML_POOL_AREA_H
#define ML_POOL_AREA_H

#include <stdbool.h>

#include "layout.h"

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
 * meta of an area: its kind, the user that has reserved it (0: none, else writer + 1),
 * whether it is closed, and a count of changes: the word is the same again only if nothing
 * has happened in between.
 */
enum { META_UNUSED, META_MOVABLE, META_FIXED };	/* enum pool_kind + 1 */
#define META_KIND(m) ((m) & 3U)
#define META_CLOSED (1U << 2)
#define META_USER(m) ((m) >> 3 & 0x7fU)
#define META_USER_SHIFT 3
#define META_CHANGE (1U << 10)
#define META_CHANGES (~(META_CHANGE - 1))

static inline uint64_t load_bits(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* Claim bits that the caller has seen set. False: the word has changed; *seen is the new one. */
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
/*
 * 2^order clean blocks at a multiple of that; the first bit, or AREA_NO_BIT. Takes and gives
 * back what is not enough.
 */
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

/* --- places of blocks --- */

/* A word of the table, or a bit, is not what its only owner left there: ends the process. */
__attribute__((noinline, noreturn)) void area_broken(const struct pool *p, uint32_t block,
						     const char *what);

/*
 * The area of a block, and its bit there. *last: the range of the block asked for before,
 * which is looked at first; at the beginning any.
 */
static inline uint32_t area_place(const struct pool *p, const struct pool_span **last,
				  uint32_t block, uint32_t *bit)
{
	const struct pool_span *s = *last;

	if (block - s->range.first >= s->range.blocks) {
		for (s = p->spans; block - s->range.first >= s->range.blocks; s++) {
			if (s == &p->spans[p->span_count - 1])
				area_broken(p, 0, "a block beyond the pool was named");
		}
		*last = s;
	}
	*bit = (block + s->shift) & (POOL_AREA_BLOCKS - 1);
	return (block + s->shift) >> POOL_AREA_ORDER;
}

/* --- meta: the kind of an area, and the user that has reserved it --- */

static inline uint32_t area_meta(const struct pool *p, uint32_t area)
{
	return atomic_load(&p->meta[area]);
}

/* The kind of an area of `kind` once it holds a loan of kind `add`: one fixed block makes it fixed. */
static inline uint32_t area_kind_with(uint32_t kind, enum pool_kind add)
{
	return kind == META_UNUSED || add == POOL_FIXED ? (uint32_t)add + 1 : kind;
}

/*
 * From the meta word `seen` to one of this kind, user (0: nobody, else writer + 1) and
 * closed or not. False: it is not `seen` any more.
 */
bool area_change_meta(struct pool *p, uint32_t area, uint32_t seen, uint32_t kind,
		      unsigned int user, bool closed);
/*
 * The caller has claimed a bit of an area that it has not reserved: may it keep it? Not if
 * the area is closed; otherwise the area is of the kind from now on.
 */
bool area_admit(struct pool *p, uint32_t area, enum pool_kind kind);
/* If all blocks of the area are free and nobody has reserved it, it is of no kind. */
void area_forget_kind(struct pool *p, uint32_t area);

/* --- the indices: one bit per area; set means maybe, clear means no --- */

static inline void index_set(_Atomic uint64_t *index, uint32_t area)
{
	uint64_t mask = 1ULL << (area & 63);

	if (!(atomic_load(&index[area >> 6]) & mask))
		atomic_fetch_or(&index[area >> 6], mask);
}

/* The bitmap was found empty: say so, unless it is not any more. */
void index_clear(_Atomic uint64_t *index, uint32_t area, const _Atomic uint64_t *bitmap);

/* --- giving back --- */

/*
 * Set the bit of a block that the caller owns: adding does it, for the bit is clear, and
 * takes one instruction that also says what was there.
 */
static inline void area_give(struct pool *p, _Atomic uint64_t *bitmap, _Atomic uint64_t *index,
			     uint32_t area, uint32_t bit)
{
	uint64_t mask = 1ULL << (bit & 63), old = atomic_fetch_add(&bitmap[bit >> 6], mask);
	uint32_t block = p->areas[area].first + bit;

	if (old & mask)
		area_broken(p, block, "was free already");
	if (!old)
		index_set(index, area);
	if ((old | mask) == UINT64_MAX)
		area_forget_kind(p, area);
	/* Retired after its word said free and before its bit was set: the bit says nothing. */
	if (block_state_of(table_raw(&p->table, block)) == BLOCK_RETIRED)
		claim_one(bitmap, bit);
}

/* The block's word is CLEAN already. */
static inline void area_give_clean(struct pool *p, uint32_t area, uint32_t bit)
{
	area_give(p, p->areas[area].clean, p->has_clean, area, bit);
}

/* The block's word is DIRTY already. */
static inline void area_give_dirty(struct pool *p, uint32_t area, uint32_t bit)
{
	area_give(p, p->areas[area].dirty, p->has_dirty, area, bit);
}

#endif /* ML_POOL_AREA_H */
