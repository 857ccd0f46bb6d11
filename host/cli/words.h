/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growing list of words: the command line of another program.
 */
#ifndef ML_CLI_WORDS_H
#define ML_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct words {
	char **v;		/* ended by NULL, for exec */
	size_t count, capacity;
	bool no_memory;		/* an addition failed; ask once, at the end */
};

void words_add(struct words *w, const char *word);
void words_addf(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Two words: an option and its formatted value. */
void words_optf(struct words *w, const char *option, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void words_free(struct words *w);

/* One line that a shell reads as these words; options begin new lines where wide is set. */
void words_print_quoted(const struct words *w, FILE *out, bool wide);

/* A word as a shell takes it: quoted only if it must be. */
void word_print_quoted(const char *word, FILE *out);

#define auto_words __attribute__((cleanup(words_free)))

#endif /* ML_CLI_WORDS_H */
