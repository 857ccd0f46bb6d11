// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parser behind every verb. Called with a table; writes help to standard
 * output and complaints to standard error, and never exits.
 */
#include "args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/size.h"
#include "cli.h"
#include "units.h"
#include "suggest.h"
#include "when.h"

static void print_help(const struct arg_spec *spec)
{
	printf("usage: memlease %s %s\n\n%s\n", spec->verb, spec->synopsis, spec->about);
	if (spec->opt_count)
		printf("\nOptions:\n");
	for (size_t i = 0; i < spec->opt_count; i++) {
		const struct arg_opt *o = &spec->opts[i];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		printf("  %-22s %s\n", left, o->help);
	}
	if (spec->examples)
		printf("\nExamples:\n%s", spec->examples);
}

__attribute__((format(printf, 2, 3)))
static int refuse(const char *verb, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_error("%s: %s", verb, text);
	return -EINVAL;
}

static int unknown_option(const struct arg_spec *spec, const char *arg)
{
	const char *names[ARGS_MAX_OPTS];
	char word[SUGGEST_WORD_MAX];
	const char *near;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
	for (size_t i = 0; i < spec->opt_count; i++)
		names[i] = spec->opts[i].name;
	near = suggest(word, names, spec->opt_count);
	if (near)
		return refuse(spec->verb, "unknown option '--%s'; did you mean '--%s'?", word, near);
	return refuse(spec->verb, "unknown option '--%s'; 'memlease %s --help' lists them all",
		      word, spec->verb);
}

int args_size(const char *verb, const char *option, const char *text, uint64_t *bytes)
{
	int err = ml_size_parse(text, bytes);

	if (err == -ERANGE || (!err && *bytes > INT64_MAX))
		return refuse(verb, "%s '%s' is larger than any machine's memory", option, text);
	if (err)
		return refuse(verb, "%s '%s' is not a size; write it like 512M, 4G or 1.5G", option, text);
	if (*bytes % SIZE_BLOCK_BYTES) {
		char less[ML_SIZE_TEXT], more[ML_SIZE_TEXT];

		*bytes -= *bytes % SIZE_BLOCK_BYTES;
		return refuse(verb, "%s '%s' is no multiple of 2 MiB; take %s or %s", option, text,
			      ml_size_exact(*bytes, less), ml_size_exact(*bytes + SIZE_BLOCK_BYTES, more));
	}
	return 0;
}

static int set_int(const char *verb, const struct arg_opt *o, const char *text)
{
	struct arg_number *to = o->to;
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || !*text || *end || value < o->min || value > o->max)
		return refuse(verb, "--%s '%s' is not a whole number from %" PRId64 " to %" PRId64,
			      o->name, text, o->min, o->max);
	*to = (struct arg_number){ true, value };
	return 0;
}

static int set_size(const char *verb, const struct arg_opt *o, const char *text)
{
	struct arg_number *to = o->to;
	char option[40];
	uint64_t bytes;

	snprintf(option, sizeof(option), "--%s", o->name);
	if (args_size(verb, option, text, &bytes))
		return -EINVAL;
	*to = (struct arg_number){ true, (int64_t)bytes };
	return 0;
}

static int set_span(const char *verb, const struct arg_opt *o, const char *text)
{
	struct arg_number *to = o->to;

	if (span_parse(text, &to->value))
		return refuse(verb, "--%s '%s' is not a time span; write it like 500ms, 10s, 5m or 2h",
			      o->name, text);
	to->given = true;
	return 0;
}

static int set_time(const char *verb, const struct arg_opt *o, const char *text)
{
	struct arg_number *to = o->to;
	int err = when_parse(text, ml_wall_ms(&ml_clock_real), &to->value);

	if (err == -ERANGE)
		return refuse(verb, "--%s '%s' is in no calendar", o->name, text);
	if (err)
		return refuse(verb, "--%s '%s' is not a time; write " WHEN_FORMS, o->name, text);
	to->given = true;
	return 0;
}

static int set_text(const char *verb, const struct arg_opt *o, const char *text)
{
	char known[256] = "";
	const char *near;
	size_t n = 0;

	if (!*text)
		return refuse(verb, "--%s needs a value that is not empty", o->name);
	for (; o->choices && o->choices[n]; n++) {
		if (!strcmp(o->choices[n], text))
			break;
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 n ? ", " : "", o->choices[n]);
	}
	if (!o->choices || o->choices[n]) {
		*(const char **)o->to = text;
		return 0;
	}
	near = suggest(text, o->choices, n);
	if (near)
		return refuse(verb, "--%s '%s' is unknown; did you mean '%s'?", o->name, text, near);
	return refuse(verb, "--%s '%s' is unknown; it may be %s", o->name, text, known);
}

static int set_value(const struct arg_spec *spec, const struct arg_opt *o, const char *text)
{
	switch (o->kind) {
	case ARG_TEXT:
		return set_text(spec->verb, o, text);
	case ARG_SIZE:
		return set_size(spec->verb, o, text);
	case ARG_SPAN:
		return set_span(spec->verb, o, text);
	case ARG_TIME:
		return set_time(spec->verb, o, text);
	case ARG_INT:
		return set_int(spec->verb, o, text);
	case ARG_FLAG:
		break;
	}
	return refuse(spec->verb, "--%s takes no value, but got '%s'", o->name, text);
}

static const struct arg_opt *find_opt(const struct arg_spec *spec, const char *arg)
{
	size_t len = strcspn(arg + 2, "=");

	for (size_t i = 0; i < spec->opt_count; i++)
		if (strlen(spec->opts[i].name) == len && !strncmp(spec->opts[i].name, arg + 2, len))
			return &spec->opts[i];
	return NULL;
}

/* argv[*i] is an option; moves *i past its value. */
static int take_option(const struct arg_spec *spec, int argc, char **argv, int *i, uint64_t *seen)
{
	const char *arg = argv[*i], *value = strchr(arg, '=');
	const struct arg_opt *o;

	if (arg[1] != '-')
		return refuse(spec->verb, "unknown option '%s'; options have two dashes, 'memlease %s --help' lists them",
			      arg, spec->verb);
	o = find_opt(spec, arg);
	if (!o)
		return unknown_option(spec, arg);
	if (*seen & 1ULL << (o - spec->opts))
		return refuse(spec->verb, "--%s is given twice", o->name);
	*seen |= 1ULL << (o - spec->opts);
	if (o->kind == ARG_FLAG && !value) {
		*(bool *)o->to = true;
		return 0;
	}
	if (value)
		return set_value(spec, o, value + 1);
	if (*i + 1 >= argc)
		return refuse(spec->verb, "--%s needs a value: --%s %s", o->name, o->name, o->value);
	return set_value(spec, o, argv[++*i]);
}

static int check_complete(const struct arg_spec *spec, size_t positional, uint64_t seen)
{
	char missing[256] = "";

	for (size_t i = 0; i < spec->opt_count; i++)
		if (spec->opts[i].required && !(seen & 1ULL << i))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%s--%s %s",
				 missing[0] ? ", " : "", spec->opts[i].name, spec->opts[i].value);
	if (missing[0])
		return refuse(spec->verb, "missing: %s", missing);
	if (positional < spec->positional_min)
		return refuse(spec->verb, "missing: %s; usage: memlease %s %s",
			      spec->positional_name, spec->verb, spec->synopsis);
	return 0;
}

int args_parse(const struct arg_spec *spec, int argc, char **argv)
{
	size_t positional = 0;
	uint64_t seen = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help(spec);
			return 1;
		}
		if (!strcmp(argv[i], "--")) {
			if (!spec->rest && i + 1 < argc)
				return refuse(spec->verb, "'--' and what follows it is for 'memlease run' only");
			if (spec->rest)
				*spec->rest = argv + i + 1;
			break;
		}
		if (argv[i][0] == '-' && argv[i][1]) {
			if (take_option(spec, argc, argv, &i, &seen))
				return -EINVAL;
		} else if (positional == spec->positional_max) {
			return refuse(spec->verb, "'%s' is too much; usage: memlease %s %s",
				      argv[i], spec->verb, spec->synopsis);
		} else {
			spec->positional[positional++] = argv[i];
		}
	}
	return check_complete(spec, positional, seen);
}
