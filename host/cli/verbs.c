// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All verbs, and `memlease help`; see verbs.h. `memlease help --json` prints the table for
 * scripts/cli-texts, which makes the completion and the manual page's list of verbs of it.
 */
#include "verbs.h"

#include <stdio.h>
#include <string.h>

#include "../base/terms.h"
#include "exit.h"
#include "json.h"
#include "suggest.h"

static const struct verb verb_help;

static const struct verb *const verbs[] = {
	&verb_run, &verb_list, &verb_status, &verb_top, &verb_set, &verb_report_now, &verb_stop,
	&verb_compact, &verb_bill, &verb_events, &verb_plans, &verb_help, &verb_version,
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct verb *verbs_find(const char *name)
{
	const char *names[VERBS], *near;

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return &verb_help;
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		return &verb_version;
	for (size_t i = 0; i < VERBS; i++) {
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
		names[i] = verbs[i]->name;
	}
	near = suggest(name, names, VERBS);
	if (near)
		cli_error("unknown verb '%s'; did you mean '%s'?", name, near);
	else
		cli_error("unknown verb '%s'; 'memlease help' lists them", name);
	return NULL;
}

void verbs_print(void)
{
	printf("usage: memlease [--socket PATH] VERB ...\n\n"
	       "Control of memleased, which lends memory to VMs, meters it and bills it.\n\nVerbs:\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-12s %s\n", verbs[i]->name, verbs[i]->brief);
	printf("\n'memlease help VERB' tells more. The daemon's socket is --socket, $MEMLEASE_SOCKET,\n"
	       "or " ML_RUN_DIR "/" ML_CONTROL_SOCKET ".\n");
}

/* --- the table as JSON --- */

static void add_text(json_t *to, const char *key, const char *text)
{
	if (text)
		json_object_set_new(to, key, json_string(text));
}

static const char *kind_name(enum arg_kind kind)
{
	switch (kind) {
	case ARG_FLAG:
		return "flag";
	case ARG_TEXT:
		return "text";
	case ARG_SIZE:
		return "size";
	case ARG_SPAN:
		return "span";
	case ARG_TIME:
		return "time";
	case ARG_INT:
		return "int";
	}
	return "?";
}

static json_t *option_json(const struct arg_opt *o)
{
	json_t *option = json_object(), *choices = json_array();

	add_text(option, "name", o->name);
	add_text(option, "kind", kind_name(o->kind));
	add_text(option, "value", o->value);
	add_text(option, "help", o->help);
	add_text(option, "listed-by", o->listed_by);
	json_object_set_new(option, "file", json_boolean(o->is_file));
	json_object_set_new(option, "required", json_boolean(o->required));
	for (size_t i = 0; o->choices && o->choices[i]; i++)
		json_array_append_new(choices, json_string(o->choices[i]));
	json_object_set_new(option, "choices", choices);
	return option;
}

static json_t *verb_json(const struct verb *verb)
{
	json_t *object = json_object(), *options = json_array(), *words = json_object();

	add_text(object, "name", verb->name);
	add_text(object, "brief", verb->brief);
	add_text(object, "synopsis", verb->synopsis);
	add_text(object, "about", verb->about);
	add_text(object, "examples", verb->examples);
	for (size_t i = 0; i < verb->opt_count; i++)
		json_array_append_new(options, option_json(&verb->opts[i]));
	json_object_set_new(object, "options", options);
	json_object_set_new(words, "most", json_integer((json_int_t)verb->words.max));
	json_object_set_new(words, "file", json_boolean(verb->words.is_file));
	add_text(words, "listed-by", verb->words.listed_by);
	json_object_set_new(object, "words", words);
	return object;
}

/* Of one verb, or of all. */
static int print_json(const struct verb *only)
{
	auto_json json_t *table = json_array();

	for (size_t i = 0; i < VERBS; i++) {
		if (!only || only == verbs[i])
			json_array_append_new(table, verb_json(verbs[i]));
	}
	return cli_print_json(table);
}

/* --- memlease help --- */

struct options {
	const char *verb;
	bool json;
};

static int run_help(int argc, char **argv)
{
	char help[] = "--help";
	struct options o = { 0 };
	int answer = args_parse(&verb_help, argc, argv, &o);
	const struct verb *verb;

	if (answer)
		return args_exit(answer);
	verb = o.verb ? verbs_find(o.verb) : &verb_help;
	if (!verb)
		return CLI_USAGE;
	if (o.json)
		return print_json(o.verb ? verb : NULL);
	if (verb != &verb_help)
		return verb->run(2, (char *[]){ (char *)o.verb, help, NULL });
	verbs_print();
	return CLI_OK;
}

static const struct arg_opt opts[] = {
	{ .name = "json", .kind = ARG_FLAG, .at = offsetof(struct options, json),
	  .help = "print the verb, or all, and the options as JSON" },
};

static const struct verb verb_help = {
	.name = "help", .brief = "this, or more on a verb",
	.synopsis = "[VERB] [--json]",
	.about = "List the verbs, or tell all about one.",
	ARG_OPTS(opts),
	.words = { .at = offsetof(struct options, verb), .max = 1, .name = "a verb" },
	.run = run_help,
};
