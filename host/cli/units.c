// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sizes ("1.5G") and spans ("10s") to integers and back. Called by every verb;
 * uses integers throughout, so that what is shown is what was meant.
 */
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../proto/memlease_abi.h"

#define SPAN_MAX_MS (10LL * 365 * 86400 * 1000)

/* Digits at *p to *value; -EINVAL if there are none. */
static int read_number(const char **p, uint64_t *value)
{
	const char *start = *p;

	*value = 0;
	for (; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**p - '0'), value))
			return -ERANGE;
	return *p == start ? -EINVAL : 0;
}

const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	static const char *const units[] = { "GiB", "TiB", "PiB", "EiB" };
	uint64_t mib = bytes >> 20, unit = 1024;
	size_t i = 0;

	if (!bytes || (bytes >= 1 << 20 && mib < 1024)) {
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " MiB", mib);
		return text;
	}
	if (bytes < 1 << 20) {
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " %s", bytes % 1024 ? bytes : bytes >> 10,
			 bytes % 1024 ? "B" : "KiB");
		return text;
	}
	for (; i + 1 < sizeof(units) / sizeof(units[0]) && mib / unit >= 1024; i++)
		unit *= 1024;
	snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 ".%02" PRIu64 " %s", mib / unit,
		 mib % unit * 100 / unit, units[i]);
	return text;
}

const char *size_format_blocks(uint64_t blocks, char text[SIZE_TEXT_MAX])
{
	if (blocks > UINT64_MAX / MEMLEASE_BLOCK_BYTES)
		blocks = UINT64_MAX / MEMLEASE_BLOCK_BYTES;
	return size_format(blocks * MEMLEASE_BLOCK_BYTES, text);
}

int span_parse(const char *text, int64_t *ms)
{
	static const struct { const char *unit; uint64_t ms; } units[] = {
		{ "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "min", 60000 },
		{ "h", 3600000 }, { "d", 86400000 }, { "w", 7 * 86400000ULL },
	};
	const char *p = text;
	uint64_t value;
	int err = read_number(&p, &value);

	if (err)
		return err;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(p, units[i].unit))
			continue;
		if (__builtin_mul_overflow(value, units[i].ms, &value) || value > SPAN_MAX_MS)
			return -ERANGE;
		*ms = (int64_t)value;
		return 0;
	}
	return -EINVAL;
}

const char *span_format(uint64_t ns, char text[SIZE_TEXT_MAX])
{
	uint64_t us = ns / 1000, ms = us / 1000, s = ms / 1000, min = s / 60, h = min / 60;

	if (!ns)
		snprintf(text, SIZE_TEXT_MAX, "0 s");
	else if (!us)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " ns", ns);
	else if (us < 1000)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " us", us);
	else if (ms < 1000)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " ms", ms);
	else if (s < 60)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
	else if (min < 60)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " min %02" PRIu64 " s", min, s % 60);
	else if (h < 24)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " h %02" PRIu64 " min", h, min % 60);
	else
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " d %02" PRIu64 " h", h / 24, h % 24);
	return text;
}
