/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines from a table: parsing, complaints that name the value and the
 * way out, and --help made of the same table. Every verb describes itself so, and the
 * completion and the manual page are made of what `memlease help --json` prints of it.
 */
#ifndef ML_CLI_ARGS_H
#define ML_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an option's value is, and of which type the member is that takes it. */
enum arg_kind {
	ARG_FLAG,	/* no value; bool */
	ARG_TEXT,	/* const char *; one of choices if there are any */
	ARG_SIZE,	/* struct arg_number, bytes, whole blocks of 2 MiB */
	ARG_SPAN,	/* struct arg_number, milliseconds */
	ARG_TIME,	/* struct arg_number, milliseconds since 1970 */
	ARG_INT,	/* struct arg_number, within min..max */
};

struct arg_number {
	bool given;
	int64_t value;
};

struct arg_opt {
	const char *name;		/* without the dashes */
	enum arg_kind kind;
	size_t at;			/* offset of the member that takes the value */
	const char *value;		/* what --help calls the value */
	const char *help;
	const char *const *choices;	/* ended by NULL */
	int64_t min, max;
	bool required;
	/* For completion of the value: it names a file, or memlease with these words lists it. */
	bool is_file;
	const char *listed_by;
};

/* Rows that many verbs have. */
#define ARG_OPT_SOCKET(at_) \
	{ .name = "socket", .kind = ARG_TEXT, .at = (at_), .value = "PATH", .is_file = true, \
	  .help = "control socket of the daemon (or $MEMLEASE_SOCKET)" }
#define ARG_OPT_JSON(at_) \
	{ .name = "json", .kind = ARG_FLAG, .at = (at_), .help = "print JSON" }

/* Words without dashes, in order: members of type const char *, one behind the other. */
struct arg_words {
	size_t at;			/* offset of the first */
	size_t min, max;
	const char *name;		/* for complaints: "a VM's name" */
	bool is_file;
	const char *listed_by;
};

/* A verb. run gets argv[0], the verb's name, and what follows it; returns an exit status. */
struct verb {
	const char *name;
	const char *brief;		/* in the list of verbs */
	const char *synopsis;		/* what follows the name */
	const char *about;
	const char *examples;		/* lines, or NULL */
	const struct arg_opt *opts;
	size_t opt_count;
	struct arg_words words;
	bool takes_rest;		/* what follows "--" ... */
	size_t rest_at;			/* ... into a member of type char ** */
	int (*run)(int argc, char **argv);
};

#define ARG_OPTS(opts_) .opts = (opts_), .opt_count = sizeof(opts_) / sizeof((opts_)[0])

#define ARGS_MAX_OPTS 32

/*
 * Parse argv[1..] into the structure that the verb's offsets are of. Returns 0; 1 when
 * --help was asked for and printed; -EINVAL when the line was refused and the reason
 * printed to standard error.
 */
int args_parse(const struct verb *verb, int argc, char **argv, void *to);

/* Exit status for args_parse()'s answer, which is not 0. */
int args_exit(int answer);

/* One size by itself, complaining as args_parse() does. 0 or -EINVAL. */
int args_size(const char *verb, const char *option, const char *text, uint64_t *bytes);

#endif /* ML_CLI_ARGS_H */
