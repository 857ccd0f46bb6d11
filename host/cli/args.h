/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines from a table: parsing, complaints that name the value and the
 * way out, and --help made of the same table. Every verb describes itself so.
 */
#ifndef ML_CLI_ARGS_H
#define ML_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
	ARG_FLAG,	/* to: bool */
	ARG_TEXT,	/* to: const char *, of choices if there are any */
	ARG_SIZE,	/* to: struct arg_number, bytes, whole blocks of 2 MiB */
	ARG_SPAN,	/* to: struct arg_number, milliseconds */
	ARG_TIME,	/* to: struct arg_number, milliseconds since 1970 */
	ARG_INT,	/* to: struct arg_number, within min..max */
};

struct arg_number {
	bool given;
	int64_t value;
};

struct arg_opt {
	const char *name;		/* without the dashes */
	enum arg_kind kind;
	void *to;
	const char *value;		/* what --help calls the value */
	const char *help;
	const char *const *choices;	/* ended by NULL */
	int64_t min, max;
	bool required;
};

struct arg_spec {
	const char *verb;
	const char *synopsis;		/* what follows the verb */
	const char *about;
	const char *examples;		/* lines, or NULL */
	const struct arg_opt *opts;
	size_t opt_count;
	const char **positional;	/* filled in order */
	size_t positional_min, positional_max;
	const char *positional_name;	/* for complaints: "a VM's name" */
	char ***rest;			/* what follows "--", NULL: not allowed */
};

#define ARGS_MAX_OPTS 32

/*
 * Parse argv[1..]. Returns 0; 1 when --help was asked for and printed; -EINVAL
 * when the line was refused and the reason printed to standard error.
 */
int args_parse(const struct arg_spec *spec, int argc, char **argv);

/* One size by itself, complaining as args_parse() does. 0 or -EINVAL. */
int args_size(const char *verb, const char *option, const char *text, uint64_t *bytes);

#endif /* ML_CLI_ARGS_H */
