/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decimal numbers as text and as exact integers, scaled by a power of ten.
 * For prices and amounts; pure functions, any thread.
 */
#ifndef ML_BILL_DECIMAL_H
#define ML_BILL_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_TEXT_MAX 48	/* bytes that hold any decimal_format(), NUL included */

/*
 * "12.5" with digits 3 becomes 12500. Digits with at most one point, which
 * stands between digits; no sign, blank or exponent. -EINVAL (not that), -ERANGE
 * (more than `digits` decimals that are not 0, or above max).
 */
int decimal_parse(const char *text, unsigned int digits, int64_t max, int64_t *out);

/* 12500 with digits 3 becomes "12.500"; value is not negative, digits at least 1. */
const char *decimal_format(int64_t value, unsigned int digits, char text[DECIMAL_TEXT_MAX]);

#endif /* ML_BILL_DECIMAL_H */
