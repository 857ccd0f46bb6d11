/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "did you mean": the nearest of some words. Pure.
 */
#ifndef ML_CLI_SUGGEST_H
#define ML_CLI_SUGGEST_H

#include <stddef.h>

#define SUGGEST_WORD_MAX 64	/* bytes looked at */

/* The candidate nearest to word, or NULL if none is near enough to be meant. */
const char *suggest(const char *word, const char *const *candidates, size_t count);

#endif /* ML_CLI_SUGGEST_H */
