/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes as people read them, and spans of time as they write and read them. Pure
 * functions. (Sizes as people write them: base/size.h.)
 */
#ifndef ML_CLI_UNITS_H
#define ML_CLI_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define SIZE_TEXT_MAX 32	/* bytes that hold any text made here, NUL included */

/* "256 MiB", "1.50 GiB": two decimals from a GiB on, rounded down; text is returned. */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX]);
const char *size_format_blocks(uint64_t blocks, char text[SIZE_TEXT_MAX]);

/*
 * "10s", "500ms", "2m", "1h", "7d", "1w"; without a unit, seconds. -EINVAL,
 * -ERANGE (over ten years).
 */
int span_parse(const char *text, int64_t *ms);

/* "350 us", "12 ms", "3.4 s", "5 min 20 s", "2 h 05 min", "3 d 04 h". */
const char *span_format(uint64_t ns, char text[SIZE_TEXT_MAX]);

#endif /* ML_CLI_UNITS_H */
