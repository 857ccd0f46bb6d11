/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables in the terminal: columns as wide as their contents, numbers to the
 * right. In a narrow terminal columns are left out, and the last one is cut.
 */
#ifndef ML_CLI_GRID_H
#define ML_CLI_GRID_H

#include <stddef.h>
#include <stdio.h>

#define GRID_COLUMNS_MAX 16
#define GRID_TEXT_LEAST 24	/* columns of a last, textual column for which others are left out */

struct grid_column {
	const char *title;
	int right;		/* numbers: aligned to the right */
	int drop;		/* where the lines are too wide, 1 goes first; 0: stays */
};

struct grid;

/* columns must outlive the table. NULL: out of memory. */
struct grid *grid_new(const struct grid_column *columns, size_t count);
void grid_free(struct grid *t);

/* The next cell, row by row; the text is copied. An out-of-memory is kept for grid_print(). */
void grid_add(struct grid *t, const char *text);

/* A rule before the next row, as before totals. */
void grid_rule(struct grid *t);

/* Lines of at most width columns; 0: no bound. 0 or -ENOMEM. */
int grid_print(const struct grid *t, FILE *out, size_t width);

/* Columns of the terminal behind out, or 0 where it is none. */
size_t grid_terminal_width(FILE *out);

/* Columns that UTF-8 text takes, a code point each. */
size_t grid_text_width(const char *text);

static inline void grid_cleanup(struct grid **t)
{
	grid_free(*t);
}
#define auto_grid __attribute__((cleanup(grid_cleanup)))

#endif /* ML_CLI_GRID_H */
