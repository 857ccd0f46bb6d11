/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 128-bit counts. A VM of 1 TiB uses up 64 bits of block-nanoseconds in ten
 * hours; sums of its life need more.
 */
#ifndef ML_BASE_WIDE_H
#define ML_BASE_WIDE_H

#include <stdint.h>

typedef unsigned __int128 ml_u128;

#define ML_U128_TEXT 40		/* bytes that hold any ml_u128_text(), NUL included */

/* In decimal. Returns text. */
const char *ml_u128_text(ml_u128 value, char text[ML_U128_TEXT]);

/* The value, or the most that 64 bits hold. */
static inline uint64_t ml_clamp64(ml_u128 v)
{
	return v >> 64 ? UINT64_MAX : (uint64_t)v;
}

#endif /* ML_BASE_WIDE_H */
