/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of slots as bitmaps, one bit per slot. NULL is the empty set. */
#ifndef ML_LEND_BITS_H
#define ML_LEND_BITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static inline bool bits_has(const uint8_t *bits, uint64_t i)
{
	return bits && (bits[i / 8] >> (i % 8) & 1);
}

/* An empty set of n, the caller's to free; NULL: out of memory. */
static inline uint8_t *bits_new(uint64_t n)
{
	return calloc(1, (n + 7) / 8);
}

static inline void bits_add(uint8_t *bits, uint64_t i)
{
	bits[i / 8] |= (uint8_t)(1 << i % 8);
}

static inline void bits_remove(uint8_t *bits, uint64_t i)
{
	bits[i / 8] &= (uint8_t)~(1 << i % 8);
}

#endif /* ML_LEND_BITS_H */
