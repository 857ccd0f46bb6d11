// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease help and memlease version; the table of verbs.
 */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "cli.h"
#include "suggest.h"

static const struct {
	const char *name;
	cli_verb *verb;
	const char *about;
} verbs[] = {
	{ "run", verb_run, "start a VM" },
	{ "list", verb_list, "the VMs, a line each" },
	{ "status", verb_status, "the pool, or one VM, in words" },
	{ "top", verb_top, "live view of pool and VMs" },
	{ "set", verb_set, "change limit, target or guarantee of a VM" },
	{ "report-now", verb_report_now, "ask a guest for its free memory at once" },
	{ "stop", verb_stop, "shut a VM down" },
	{ "compact", verb_compact, "empty whole GiBs of a reserved pool" },
	{ "bill", verb_bill, "usage and amounts" },
	{ "events", verb_events, "follow what happens" },
	{ "plans", verb_plans, "plans and prices" },
	{ "help", verb_help, "this, or more on a verb" },
	{ "version", verb_version, "versions of this program and of the daemon" },
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

cli_verb *cli_find_verb(const char *name)
{
	const char *names[VERBS], *near;

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return verb_help;
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		return verb_version;
	for (size_t i = 0; i < VERBS; i++) {
		if (!strcmp(verbs[i].name, name))
			return verbs[i].verb;
		names[i] = verbs[i].name;
	}
	near = suggest(name, names, VERBS);
	if (near)
		cli_error("unknown verb '%s'; did you mean '%s'?", name, near);
	else
		cli_error("unknown verb '%s'; 'memlease help' lists them", name);
	return NULL;
}

static int print_overview(void)
{
	printf("usage: memlease [--socket PATH] VERB ...\n\n"
	       "Control of memleased, which lends memory to VMs, meters it and bills it.\n\nVerbs:\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-12s %s\n", verbs[i].name, verbs[i].about);
	printf("\n'memlease help VERB' tells more. The daemon's socket is --socket, $MEMLEASE_SOCKET,\n"
	       "or /run/memlease/control.sock.\n");
	return CLI_OK;
}

int verb_help(int argc, char **argv)
{
	char help[] = "--help";
	cli_verb *verb;

	if (argc < 2 || argv[1][0] == '-')
		return print_overview();
	verb = cli_find_verb(argv[1]);
	if (!verb)
		return CLI_USAGE;
	if (verb == verb_help)
		return print_overview();
	return verb(2, (char *[]){ argv[1], help, NULL });
}

int verb_version(int argc, char **argv)
{
	const char *socket = NULL;
	char buf[4096], why[QMP_WHY_MAX];
	const struct arg_opt opts[] = { CLI_OPT_SOCKET(&socket) };
	const struct arg_spec spec = {
		.verb = "version", .synopsis = "", .about = "Print the versions of this program and of the daemon.",
		.opts = opts, .opt_count = 1,
	};
	int answer = args_parse(&spec, argc, argv);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *version = NULL;

	if (answer)
		return cli_args_exit(answer);
	printf("memlease %s\n", CLI_VERSION);
	/* Without a daemon the first line is all there is to say. */
	if (qmp_open(cli_socket_path(socket, buf, sizeof(buf)), CLI_CALL_TIMEOUT_MS, &c, why) ||
	    qmp_call(c, "query-version", NULL, CLI_CALL_TIMEOUT_MS, &version)) {
		printf("no daemon answers\n");
		return CLI_OK;
	}
	printf("memleased %s, ABI %" JSON_INTEGER_FORMAT "\n",
	       cli_text(version, "version"),
	       json_integer_value(json_object_get(version, "abi")));
	return CLI_OK;
}
