// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes as text; see size.h. Pure functions, integers only. */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wide.h"

#define FRACTION_DIGITS_MAX 18	/* as many as 10^n fits 64 bits */

static const char units[] = "KMGTPE";

/* "", "B", "M", "MB", "MiB": the power of 1024 in *shift. */
static int parse_unit(const char *s, unsigned int *shift)
{
	const char *u;

	*shift = 0;
	if (*s && (u = strchr(units, toupper((unsigned char)*s)))) {
		*shift = 10 * (unsigned int)(u - units + 1);
		s++;
		if (*s == 'i')
			return (s[1] == 'B' || s[1] == 'b') && !s[2] ? 0 : -EINVAL;
	}
	if (*s == 'B' || *s == 'b')
		s++;
	return *s ? -EINVAL : 0;
}

int ml_size_parse(const char *text, uint64_t *bytes)
{
	uint64_t whole = 0, fraction = 0, scale = 1;
	unsigned int digits = 0, shift;
	const char *s = text;
	ml_u128 value;
	int ret;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			return -ERANGE;
	}
	if (*s == '.') {
		s++;
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		for (; isdigit((unsigned char)*s); s++) {
			if (++digits > FRACTION_DIGITS_MAX)
				return -EINVAL;
			fraction = fraction * 10 + (uint64_t)(*s - '0');
			scale *= 10;
		}
	}
	ret = parse_unit(s, &shift);
	if (ret < 0)
		return ret;
	value = ((ml_u128)fraction << shift);
	if (value % scale)
		return -EINVAL;
	value = value / scale + ((ml_u128)whole << shift);
	if (value >> 64)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}

const char *ml_size_exact(uint64_t bytes, char buf[ML_SIZE_TEXT])
{
	unsigned int u = 0;

	while (bytes && u < sizeof(units) - 1 && bytes % 1024 == 0) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, ML_SIZE_TEXT, "%llu%.*s", (unsigned long long)bytes, u ? 1 : 0,
		 u ? &units[u - 1] : "");
	return buf;
}

const char *ml_size_human(uint64_t bytes, char buf[ML_SIZE_TEXT])
{
	unsigned int u = 0;
	uint64_t tenths;

	while (u < sizeof(units) - 1 && bytes >> (10 * (u + 1)))
		u++;
	tenths = (uint64_t)((((ml_u128)bytes * 10 << 1) + ((ml_u128)1 << (10 * u))) >>
			    (10 * u + 1));
	if (tenths >= 10240 && u < sizeof(units) - 1) {
		tenths = 10;
		u++;
	}
	if (tenths % 10 == 0)
		snprintf(buf, ML_SIZE_TEXT, "%llu%.*s", (unsigned long long)(tenths / 10),
			 u ? 1 : 0, u ? &units[u - 1] : "");
	else
		snprintf(buf, ML_SIZE_TEXT, "%llu.%llu%.*s", (unsigned long long)(tenths / 10),
			 (unsigned long long)(tenths % 10), u ? 1 : 0, u ? &units[u - 1] : "");
	return buf;
}
