// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease version: of this program, and of the daemon.
 */
#include <stdio.h>

#include "../base/version.h"
#include "args.h"
#include "ask.h"
#include "exit.h"
#include "verb.h"

struct options {
	const char *socket;
};

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_version, argc, argv, &o);
	auto_json json_t *version = NULL;
	auto_qmp struct qmp *c = NULL;
	struct ml_why why;
	char buf[4096];

	if (answer)
		return args_exit(answer);
	printf("memlease %s\n", ML_VERSION);
	/* Without a daemon the first line is all there is to say. */
	if (qmp_open(cli_socket_path(o.socket, buf, sizeof(buf)), CLI_CALL_TIMEOUT_MS, &c, &why) ||
	    qmp_call(c, "query-version", NULL, CLI_CALL_TIMEOUT_MS, &version)) {
		printf("no daemon answers\n");
		return CLI_OK;
	}
	printf("memleased %s, ABI %" JSON_INTEGER_FORMAT "\n", cli_text(version, "version"),
	       json_integer_value(json_object_get(version, "abi")));
	return CLI_OK;
}

static const struct arg_opt opts[] = {
	ARG_OPT_SOCKET(offsetof(struct options, socket)),
};

const struct verb verb_version = {
	.name = "version", .brief = "versions of this program and of the daemon",
	.synopsis = "",
	.about = "Print the versions of this program and of the daemon.",
	ARG_OPTS(opts), .run = run,
};
