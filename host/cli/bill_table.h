/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What query-bill returned, for people and for spreadsheets. Prints, computes
 * nothing but GiB-hours for the eye.
 */
#ifndef ML_CLI_BILL_TABLE_H
#define ML_CLI_BILL_TABLE_H

#include <jansson.h>
#include <stdio.h>

#define GIB_HOURS_TEXT_MAX 48

/* "3686400000000000" block-nanoseconds become "2.0000" GiB-hours, rounded half up; "?" if it is no number. */
const char *gib_hours(const char *block_ns, char text[GIB_HOURS_TEXT_MAX]);

/* width: columns of the terminal, or 0. 0 or -ENOMEM. */
int bill_print_table(const json_t *bill, FILE *out, size_t width);

/* Exact figures, a header, no total. */
void bill_print_csv(const json_t *bill, FILE *out);

#endif /* ML_CLI_BILL_TABLE_H */
