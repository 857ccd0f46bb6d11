/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes as people write them ("512M", "4G", "1.5G"), exact: no size is ever
 * rounded on its way in. Units are powers of 1024; "M", "MiB" and "MB" are the
 * same, in either case. Used by cli/, ctl/ and daemon/.
 */
#ifndef ML_BASE_SIZE_H
#define ML_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#define ML_SIZE_TEXT 24		/* bytes that hold any size as text, with the NUL */

/* -EINVAL: not a size, or not a whole number of bytes. -ERANGE: 2^64 bytes or more. */
int ml_size_parse(const char *text, uint64_t *bytes);

/* Exact, in the largest unit that divides: "1536M", "4G", "0". Returns buf. */
const char *ml_size_exact(uint64_t bytes, char buf[ML_SIZE_TEXT]);

/* For people, at most one decimal, rounded to nearest: "1.5G", "512M". Returns buf. */
const char *ml_size_human(uint64_t bytes, char buf[ML_SIZE_TEXT]);

#endif /* ML_BASE_SIZE_H */
