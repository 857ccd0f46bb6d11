// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parser behind every verb. Called with a table; writes help to standard
 * output and complaints to standard error, and never exits.
 */
#include "args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/memlease_abi.h"
#include "../base/clock.h"
#include "../base/size.h"
#include "exit.h"
#include "suggest.h"
#include "units.h"
#include "when.h"

static void print_help(const struct verb *verb)
{
	printf("usage: memlease %s%s%s\n\n%s\n", verb->name,
	       verb->synopsis[0] ? " " : "", verb->synopsis, verb->about);
	if (verb->opt_count)
		printf("\nOptions:\n");
	for (size_t i = 0; i < verb->opt_count; i++) {
		const struct arg_opt *o = &verb->opts[i];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		printf("  %-22s %s\n", left, o->help);
	}
	if (verb->examples)
		printf("\nExamples:\n%s", verb->examples);
}

__attribute__((format(printf, 2, 3)))
static int args_refuse(const char *verb, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_error("%s: %s", verb, text);
	return -EINVAL;
}

static int unknown_option(const struct verb *verb, const char *arg)
{
	const char *names[ARGS_MAX_OPTS];
	char word[SUGGEST_WORD_MAX];
	const char *near;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
	for (size_t i = 0; i < verb->opt_count; i++)
		names[i] = verb->opts[i].name;
	near = suggest(word, names, verb->opt_count);
	if (near)
		return args_refuse(verb->name, "unknown option '--%s'; did you mean '--%s'?", word,
				   near);
	return args_refuse(verb->name, "unknown option '--%s'; 'memlease %s --help' lists them all",
			   word, verb->name);
}

int args_size(const char *verb, const char *option, const char *text, uint64_t *bytes)
{
	int err = ml_size_parse(text, bytes);

	if (err == -ERANGE || (!err && *bytes > INT64_MAX))
		return args_refuse(verb, "%s '%s' is larger than any machine's memory", option,
				   text);
	if (err)
		return args_refuse(verb, "%s '%s' is not a size; write it like 512M, 4G or 1.5G",
				   option, text);
	if (*bytes % MEMLEASE_BLOCK_BYTES) {
		char less[ML_SIZE_TEXT], more[ML_SIZE_TEXT];

		*bytes -= *bytes % MEMLEASE_BLOCK_BYTES;
		return args_refuse(verb, "%s '%s' is no multiple of 2 MiB; take %s or %s", option,
				   text, ml_size_exact(*bytes, less),
				   ml_size_exact(*bytes + MEMLEASE_BLOCK_BYTES, more));
	}
	return 0;
}

static int take_int(const char *verb, const struct arg_opt *o, const char *text, void *to)
{
	struct arg_number *number = to;
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || !*text || *end || value < o->min || value > o->max)
		return args_refuse(verb,
				   "--%s '%s' is not a whole number from %" PRId64 " to %" PRId64,
				   o->name, text, o->min, o->max);
	*number = (struct arg_number){ true, value };
	return 0;
}

static int take_size(const char *verb, const struct arg_opt *o, const char *text, void *to)
{
	struct arg_number *number = to;
	char option[40];
	uint64_t bytes;

	snprintf(option, sizeof(option), "--%s", o->name);
	if (args_size(verb, option, text, &bytes))
		return -EINVAL;
	*number = (struct arg_number){ true, (int64_t)bytes };
	return 0;
}

static int take_span(const char *verb, const struct arg_opt *o, const char *text, void *to)
{
	struct arg_number *number = to;

	if (span_parse(text, &number->value))
		return args_refuse(verb,
				   "--%s '%s' is not a time span; write it like 500ms, 10s, 5m or 2h",
				   o->name, text);
	number->given = true;
	return 0;
}

static int take_time(const char *verb, const struct arg_opt *o, const char *text, void *to)
{
	struct arg_number *number = to;
	int err = when_parse(text, ml_wall_ms(&ml_clock_real), &number->value);

	if (err == -ERANGE)
		return args_refuse(verb, "--%s '%s' is in no calendar", o->name, text);
	if (err)
		return args_refuse(verb, "--%s '%s' is not a time; write " WHEN_FORMS, o->name,
				   text);
	number->given = true;
	return 0;
}

static int take_text(const char *verb, const struct arg_opt *o, const char *text, void *to)
{
	char known[256] = "";
	const char *near;
	size_t n = 0;

	if (!*text)
		return args_refuse(verb, "--%s needs a value that is not empty", o->name);
	for (; o->choices && o->choices[n]; n++) {
		if (!strcmp(o->choices[n], text))
			break;
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 n ? ", " : "", o->choices[n]);
	}
	if (!o->choices || o->choices[n]) {
		*(const char **)to = text;
		return 0;
	}
	near = suggest(text, o->choices, n);
	if (near)
		return args_refuse(verb, "--%s '%s' is unknown; did you mean '%s'?", o->name, text,
				   near);
	return args_refuse(verb, "--%s '%s' is unknown; it may be %s", o->name, text, known);
}

static int take_value(const struct verb *verb, const struct arg_opt *o, const char *text, void *to)
{
	switch (o->kind) {
	case ARG_TEXT:
		return take_text(verb->name, o, text, to);
	case ARG_SIZE:
		return take_size(verb->name, o, text, to);
	case ARG_SPAN:
		return take_span(verb->name, o, text, to);
	case ARG_TIME:
		return take_time(verb->name, o, text, to);
	case ARG_INT:
		return take_int(verb->name, o, text, to);
	case ARG_FLAG:
		break;
	}
	return args_refuse(verb->name, "--%s takes no value, but got '%s'", o->name, text);
}

static const struct arg_opt *find_opt(const struct verb *verb, const char *arg)
{
	size_t len = strcspn(arg + 2, "=");

	for (size_t i = 0; i < verb->opt_count; i++)
		if (strlen(verb->opts[i].name) == len && !strncmp(verb->opts[i].name, arg + 2, len))
			return &verb->opts[i];
	return NULL;
}

/* argv[*i] is an option; moves *i past its value. */
static int take_option(const struct verb *verb, int argc, char **argv, int *i, uint64_t *seen,
		       void *all)
{
	const char *arg = argv[*i], *value = strchr(arg, '=');
	const struct arg_opt *o;
	void *to;

	if (arg[1] != '-')
		return args_refuse(verb->name,
				   "unknown option '%s'; options have two dashes, 'memlease %s --help' lists them",
				   arg, verb->name);
	o = find_opt(verb, arg);
	if (!o)
		return unknown_option(verb, arg);
	if (*seen & 1ULL << (o - verb->opts))
		return args_refuse(verb->name, "--%s is given twice", o->name);
	*seen |= 1ULL << (o - verb->opts);
	to = (char *)all + o->at;
	if (o->kind == ARG_FLAG && !value) {
		*(bool *)to = true;
		return 0;
	}
	if (value)
		return take_value(verb, o, value + 1, to);
	if (*i + 1 >= argc)
		return args_refuse(verb->name, "--%s needs a value: --%s %s", o->name, o->name,
				   o->value);
	return take_value(verb, o, argv[++*i], to);
}

static int check_complete(const struct verb *verb, size_t words, uint64_t seen)
{
	char missing[256] = "";

	for (size_t i = 0; i < verb->opt_count; i++)
		if (verb->opts[i].required && !(seen & 1ULL << i))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%s--%s %s",
				 missing[0] ? ", " : "", verb->opts[i].name, verb->opts[i].value);
	if (missing[0])
		return args_refuse(verb->name, "missing: %s", missing);
	if (words < verb->words.min)
		return args_refuse(verb->name, "missing: %s; usage: memlease %s %s",
				   verb->words.name, verb->name, verb->synopsis);
	return 0;
}

/* argv[*i]: an option, or the next of the verb's words. */
static int take_word(const struct verb *verb, int argc, char **argv, int *i, uint64_t *seen,
		     size_t *words, void *to)
{
	if (argv[*i][0] == '-' && argv[*i][1])
		return take_option(verb, argc, argv, i, seen, to);
	if (*words == verb->words.max)
		return args_refuse(verb->name, "'%s' is too much; usage: memlease %s %s", argv[*i],
				   verb->name, verb->synopsis);
	((const char **)((char *)to + verb->words.at))[(*words)++] = argv[*i];
	return 0;
}

int args_parse(const struct verb *verb, int argc, char **argv, void *to)
{
	size_t words = 0;
	uint64_t seen = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help(verb);
			return 1;
		}
		if (!strcmp(argv[i], "--")) {
			if (!verb->takes_rest && i + 1 < argc)
				return args_refuse(verb->name,
						   "'--' and what follows it is for 'memlease run' only");
			if (verb->takes_rest)
				*(char ***)((char *)to + verb->rest_at) = argv + i + 1;
			break;
		}
		if (take_word(verb, argc, argv, &i, &seen, &words, to))
			return -EINVAL;
	}
	return check_complete(verb, words, seen);
}

int args_exit(int answer)
{
	return answer > 0 ? CLI_OK : CLI_USAGE;
}
