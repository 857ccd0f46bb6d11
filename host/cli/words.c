// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of words and how a shell writes them. Called by run.
 */
#include "words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Takes word. */
static void push(struct words *w, char *word)
{
	if (!word) {
		w->no_memory = true;
		return;
	}
	if (w->count + 1 >= w->capacity) {
		size_t capacity = w->capacity ? 2 * w->capacity : 32;
		char **v = reallocarray(w->v, capacity, sizeof(*v));

		if (!v) {
			free(word);
			w->no_memory = true;
			return;
		}
		w->v = v;
		w->capacity = capacity;
	}
	w->v[w->count++] = word;
	w->v[w->count] = NULL;
}

void words_add(struct words *w, const char *word)
{
	push(w, strdup(word));
}

__attribute__((format(printf, 2, 0)))
static void push_vf(struct words *w, const char *fmt, va_list ap)
{
	char *text;

	push(w, vasprintf(&text, fmt, ap) < 0 ? NULL : text);
}

void words_addf(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	push_vf(w, fmt, ap);
	va_end(ap);
}

void words_optf(struct words *w, const char *option, const char *fmt, ...)
{
	va_list ap;

	words_add(w, option);
	va_start(ap, fmt);
	push_vf(w, fmt, ap);
	va_end(ap);
}

void words_free(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct words){ 0 };
}

void word_print_quoted(const char *word, FILE *out)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		"_-./=,:+@%^";

	if (*word && strspn(word, plain) == strlen(word)) {
		fputs(word, out);
		return;
	}
	fputc('\'', out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			fputc(*word, out);
	}
	fputc('\'', out);
}

void words_print_quoted(const struct words *w, FILE *out, bool wide)
{
	for (size_t i = 0; i < w->count; i++) {
		if (i)
			fputs(wide && w->v[i][0] == '-' ? " \\\n    " : " ", out);
		word_print_quoted(w->v[i], out);
	}
	fputc('\n', out);
}
