// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables of text. Called by list, bill, plans and top; knows nothing of what
 * stands in the cells.
 */
#include "grid.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../base/cleanup.h"

#define GRID_GAP "  "

struct grid {
	const struct grid_column *columns;
	size_t column_count;
	char **cells;
	size_t count, capacity;
	size_t rule_before;	/* row, or SIZE_MAX */
	bool no_memory;
};

struct grid *grid_new(const struct grid_column *columns, size_t count)
{
	struct grid *t = calloc(1, sizeof(*t));

	assert(count && count <= GRID_COLUMNS_MAX);
	if (!t)
		return NULL;
	t->columns = columns;
	t->column_count = count;
	t->rule_before = SIZE_MAX;
	return t;
}

void grid_free(struct grid *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void grid_add(struct grid *t, const char *text)
{
	if (t->count == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 64;
		char **cells = reallocarray(t->cells, capacity, sizeof(*cells));

		if (!cells) {
			t->no_memory = true;
			return;
		}
		t->cells = cells;
		t->capacity = capacity;
	}
	t->cells[t->count] = strdup(text);
	if (!t->cells[t->count]) {
		t->no_memory = true;
		return;
	}
	t->count++;
}

void grid_rule(struct grid *t)
{
	assert(t->count % t->column_count == 0);
	t->rule_before = t->count / t->column_count;
}

size_t grid_text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void widths(const struct grid *t, size_t width[GRID_COLUMNS_MAX])
{
	for (size_t c = 0; c < t->column_count; c++)
		width[c] = grid_text_width(t->columns[c].title);
	for (size_t i = 0; i < t->count; i++) {
		size_t w = grid_text_width(t->cells[i]), c = i % t->column_count;

		if (w > width[c])
			width[c] = w;
	}
}

/*
 * The width of a line; columns of width 0 are left out. least: a last column of text counts
 * with GRID_TEXT_LEAST at most, because it may be cut to that.
 */
static size_t line_width(const struct grid *t, const size_t *width, bool least)
{
	size_t sum = 0;

	for (size_t c = 0; c < t->column_count; c++) {
		bool text = c + 1 == t->column_count && !t->columns[c].right;

		if (width[c])
			sum += (sum ? strlen(GRID_GAP) : 0) +
			       (least && text && width[c] > GRID_TEXT_LEAST ? GRID_TEXT_LEAST : width[c]);
	}
	return sum;
}

/* Leave out (width 0) what must go for lines of max columns. */
static void narrow(const struct grid *t, size_t *width, size_t max)
{
	while (max && line_width(t, width, true) > max) {
		size_t found = SIZE_MAX;

		for (size_t c = 0; c < t->column_count; c++)
			if (width[c] && t->columns[c].drop &&
			    (found == SIZE_MAX || t->columns[c].drop < t->columns[found].drop))
				found = c;
		if (found == SIZE_MAX)
			return;
		width[found] = 0;
	}
}

/* Print text without blanks at its end, at most `room` columns of it. */
static void print_cut(FILE *out, const char *text, size_t room)
{
	size_t len = 0, last = 0;

	for (; text[len]; len++) {
		if (((unsigned char)text[len] & 0xc0) != 0x80 && room-- == 0)
			break;
		if (text[len] != ' ')
			last = len + 1;
	}
	fwrite(text, 1, last, out);
	fputc('\n', out);
}

/* One row; cells NULL: the titles. */
static int print_row(const struct grid *t, char *const *cells, const size_t *width,
		     FILE *out, size_t max)
{
	ml_autofree char *line = NULL;
	size_t size;
	FILE *to = open_memstream(&line, &size);

	if (!to)
		return -ENOMEM;
	for (size_t c = 0; c < t->column_count; c++) {
		const char *text = cells ? cells[c] : t->columns[c].title;
		int pad = (int)width[c] - (int)grid_text_width(text);

		if (!width[c])
			continue;
		fprintf(to, "%s%*s%s%*s", ftell(to) ? GRID_GAP : "", t->columns[c].right ? pad : 0, "", text,
			t->columns[c].right ? 0 : pad, "");
	}
	if (fclose(to))
		return -ENOMEM;
	print_cut(out, line, max ? max : SIZE_MAX);
	return 0;
}

int grid_print(const struct grid *t, FILE *out, size_t max)
{
	size_t width[GRID_COLUMNS_MAX], whole;
	int err;

	if (t->no_memory)
		return -ENOMEM;
	widths(t, width);
	narrow(t, width, max);
	whole = line_width(t, width, false);
	if (max && whole > max)
		whole = max;
	err = print_row(t, NULL, width, out, max);
	for (size_t row = 0; !err && row < t->count / t->column_count; row++) {
		if (row == t->rule_before) {
			for (size_t i = 0; i < whole; i++)
				fputc('-', out);
			fputc('\n', out);
		}
		err = print_row(t, t->cells + row * t->column_count, width, out, max);
	}
	return err;
}

size_t grid_terminal_width(FILE *out)
{
	struct winsize size;

	if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) || size.ws_col < 20)
		return 0;
	return size.ws_col;
}
