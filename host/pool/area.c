// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Claiming bits of an area's bitmaps, one, several and aligned runs; and the changes of its
 * meta word. See area.h.
 */
#include "area.h"

#include <stdlib.h>

#include "../base/log.h"

void area_broken(const struct pool *p, uint32_t block, const char *what)
{
	ml_err("block %u is %s: %s", block, block_state_name(table_word(&p->table, block).state),
	       what);
	abort();
}

/* --- claiming --- */

/* No loop below can go on for ever: a claim fails only where another user's has succeeded. */

uint32_t area_claim(_Atomic uint64_t *bitmap, uint32_t *at)
{
	uint32_t bit = claim_lowest(&bitmap[*at]);
	int full = -1;

	if (bit != AREA_NO_BIT)
		return *at * 64 + bit;
	for (uint32_t i = 0; i < AREA_WORDS; i++) {
		uint64_t seen = load_bits(&bitmap[i]);

		if (seen == UINT64_MAX && full < 0) {
			full = (int)i;
		} else if (seen && seen != UINT64_MAX) {
			bit = claim_lowest(&bitmap[i]);
			if (bit != AREA_NO_BIT) {
				*at = i;
				return i * 64 + bit;
			}
		}
	}
	for (uint32_t i = full < 0 ? AREA_WORDS : (uint32_t)full; i < AREA_WORDS; i++) {
		bit = claim_lowest(&bitmap[i]);
		if (bit != AREA_NO_BIT) {
			*at = i;
			return i * 64 + bit;
		}
	}
	return AREA_NO_BIT;
}

static uint64_t low_bits(uint32_t n)
{
	return n >= 64 ? UINT64_MAX : (1ULL << n) - 1;
}

uint32_t area_claim_batch(_Atomic uint64_t *bitmap, uint32_t most, uint32_t *bit)
{
	for (uint32_t i = 0; i < AREA_WORDS; i++) {
		uint64_t seen = load_bits(&bitmap[i]);

		while (seen) {
			uint32_t at = (uint32_t)__builtin_ctzll(seen);
			uint64_t rest = ~(seen >> at);
			uint32_t n = rest ? (uint32_t)__builtin_ctzll(rest) : 64;

			if (n > most)
				n = most;
			if (claim_bits(&bitmap[i], &seen, low_bits(n) << at)) {
				*bit = i * 64 + at;
				return n;
			}
		}
	}
	return 0;
}

/* Bits at multiples of 2^order. */
static const uint64_t multiples[] = {
	UINT64_MAX, 0x5555555555555555ULL, 0x1111111111111111ULL, 0x0101010101010101ULL,
	0x0001000100010001ULL, 0x0000000100000001ULL, 1,
};

/* The bits at which a run of this order, up to 6, begins. */
static uint64_t run_starts(uint64_t bits, unsigned int order)
{
	for (unsigned int i = 0; i < order; i++)
		bits &= bits >> (1U << i);
	return bits & multiples[order];
}

/*
 * Words first up to first + n - 1, all of them full. What is claimed in vain goes back like
 * any free block, one by one: some of it may have been retired meanwhile.
 */
static bool claim_words(struct pool *p, uint32_t area, uint32_t first, uint32_t n)
{
	struct pool_area *a = &p->areas[area];
	uint32_t i;

	for (i = first; i < first + n; i++) {
		uint64_t seen = UINT64_MAX;

		if (!atomic_compare_exchange_strong_explicit(&a->clean[i], &seen, 0,
							     memory_order_acquire,
							     memory_order_relaxed))
			break;
	}
	if (i == first + n)
		return true;
	for (uint32_t bit = first * 64; bit < i * 64; bit++)
		area_give_clean(p, area, bit);
	return false;
}

uint32_t area_claim_run(struct pool *p, uint32_t area, unsigned int order)
{
	uint32_t words = order > 6 ? 1U << (order - 6) : 1;
	_Atomic uint64_t *clean = p->areas[area].clean;

	for (uint32_t i = 0; i < AREA_WORDS; i += words) {
		uint64_t seen = load_bits(&clean[i]), starts;

		if (order > 6) {
			if (seen == UINT64_MAX && claim_words(p, area, i, words))
				return i * 64;
			continue;
		}
		while ((starts = run_starts(seen, order))) {
			uint32_t at = (uint32_t)__builtin_ctzll(starts);

			if (claim_bits(&clean[i], &seen, low_bits(1U << order) << at))
				return i * 64 + at;
		}
	}
	return AREA_NO_BIT;
}

bool area_may_run(const struct pool_area *a, unsigned int order)
{
	uint32_t words = order > 6 ? 1U << (order - 6) : 1;

	for (uint32_t i = 0; i < AREA_WORDS; i += words) {
		uint64_t bits = UINT64_MAX;

		for (uint32_t k = i; k < i + words; k++)
			bits &= load_bits(&a->clean[k]) | load_bits(&a->dirty[k]);
		if (order > 6 ? bits == UINT64_MAX : run_starts(bits, order) != 0)
			return true;
	}
	return false;
}

uint32_t area_count(const _Atomic uint64_t *bitmap)
{
	int n = 0;

	for (uint32_t i = 0; i < AREA_WORDS; i++)
		n += __builtin_popcountll(load_bits(&bitmap[i]));
	return (uint32_t)n;
}

uint32_t area_free(const struct pool_area *a)
{
	return area_count(a->clean) + area_count(a->dirty);
}

void index_clear(_Atomic uint64_t *index, uint32_t area, const _Atomic uint64_t *bitmap)
{
	atomic_fetch_and(&index[area >> 6], ~(1ULL << (area & 63)));
	/*
	 * area_give() sets the bit of a block first and looks at the index then; here it is the
	 * other way round, so that one of both sees what the other has done.
	 */
	for (uint32_t i = 0; i < AREA_WORDS; i++) {
		if (atomic_load(&bitmap[i])) {
			index_set(index, area);
			return;
		}
	}
}

/* --- meta --- */

bool area_change_meta(struct pool *p, uint32_t area, uint32_t seen, uint32_t kind,
		      unsigned int user, bool closed)
{
	uint32_t new = ((seen & META_CHANGES) + META_CHANGE) | kind | user << META_USER_SHIFT |
		       (closed ? META_CLOSED : 0);

	return atomic_compare_exchange_strong(&p->meta[area], &seen, new);
}

void area_forget_kind(struct pool *p, uint32_t area)
{
	uint32_t seen = area_meta(p, area), kind = META_KIND(seen);
	const struct pool_area *a = &p->areas[area];

	if (kind == META_UNUSED || META_USER(seen) || seen & META_CLOSED || !area_unused(a))
		return;
	if (!area_change_meta(p, area, seen, META_UNUSED, 0, false) || area_unused(a))
		return;
	/* A user that shares the area has taken a block in between, and has not seen the change. */
	seen = area_meta(p, area);
	if (META_KIND(seen) == META_UNUSED && !META_USER(seen))
		area_change_meta(p, area, seen, kind, 0, seen & META_CLOSED);
}

bool area_admit(struct pool *p, uint32_t area, enum pool_kind kind)
{
	for (;;) {
		uint32_t seen = area_meta(p, area), want = area_kind_with(META_KIND(seen), kind);

		if (seen & META_CLOSED)
			return false;
		if (want == META_KIND(seen) ||
		    area_change_meta(p, area, seen, want, META_USER(seen), false))
			return true;
	}
}
