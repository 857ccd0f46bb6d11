// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nearest known word, by edits (insert, delete, replace, swap neighbours).
 * Called where an option, a verb or a choice is unknown.
 */
#include "suggest.h"

#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

static size_t distance(const char *a, const char *b)
{
	size_t la = strnlen(a, SUGGEST_WORD_MAX), lb = strnlen(b, SUGGEST_WORD_MAX);
	size_t row[3][SUGGEST_WORD_MAX + 1];

	for (size_t j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
	}
	return row[la % 3][lb];
}

const char *suggest(const char *word, const char *const *candidates, size_t count)
{
	size_t best = 1 + strnlen(word, SUGGEST_WORD_MAX) / 3;
	const char *found = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t d = distance(word, candidates[i]);

		/* A word cut short is meant too. */
		if (d > best && strlen(word) >= 2 && !strncmp(word, candidates[i], strlen(word)))
			d = best;
		if (d < best || (d == best && !found)) {
			best = d;
			found = candidates[i];
		}
	}
	return found;
}
