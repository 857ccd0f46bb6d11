// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decimal text to scaled integers and back. Called by the rest of bill/ for
 * prices and amounts; may not use floating point, and does not see the locale.
 */
#include "decimal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* *value = *value * 10 + digit, unless that exceeds max. */
static int push_digit(int64_t *value, int digit, int64_t max)
{
	int64_t next;

	if (__builtin_mul_overflow(*value, 10, &next) ||
	    __builtin_add_overflow(next, digit, &next) || next > max)
		return -ERANGE;
	*value = next;
	return 0;
}

int decimal_parse(const char *text, unsigned int digits, int64_t max, int64_t *out)
{
	unsigned int decimals = 0;
	const char *p = text;
	int64_t value = 0;
	bool range = false;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		range |= push_digit(&value, *p - '0', max) < 0;
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p); p++, decimals++) {
			if (decimals < digits)
				range |= push_digit(&value, *p - '0', max) < 0;
			else
				range |= *p != '0';
		}
	}
	if (*p)
		return -EINVAL;
	for (; decimals < digits; decimals++)
		range |= push_digit(&value, 0, max) < 0;
	if (range)
		return -ERANGE;
	*out = value;
	return 0;
}

const char *decimal_format(int64_t value, unsigned int digits, char text[DECIMAL_TEXT_MAX])
{
	int64_t unit = 1;

	assert(value >= 0 && digits >= 1 && digits <= 18);
	for (unsigned int i = 0; i < digits; i++)
		unit *= 10;
	snprintf(text, DECIMAL_TEXT_MAX, "%" PRId64 ".%0*" PRId64, value / unit,
		 (int)digits, value % unit);
	return text;
}
