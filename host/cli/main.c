// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease: finds the verb and runs it.
 */
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exit.h"
#include "verbs.h"

/* "--socket PATH" before the verb holds for any verb. Returns arguments taken, or -1. */
static int take_socket(int argc, char **argv)
{
	bool joined = argc > 1 && !strncmp(argv[1], "--socket=", 9);
	const char *path = joined ? argv[1] + 9 : argc > 2 ? argv[2] : NULL;

	if (!joined && (argc < 2 || strcmp(argv[1], "--socket")))
		return 0;
	if (!path || !*path) {
		cli_error("--socket needs a value%s: --socket PATH", path ? " that is not empty" : "");
		return -1;
	}
	setenv("MEMLEASE_SOCKET", path, 1);
	return joined ? 1 : 2;
}

/* Is --socket among the verb's own options? */
static bool names_socket(int argc, char **argv)
{
	for (int i = 2; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--socket") || !strncmp(argv[i], "--socket=", 9))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int taken;

	setlocale(LC_CTYPE, "");
	taken = take_socket(argc, argv);
	if (taken < 0)
		return CLI_USAGE;
	argc -= taken;
	argv += taken;
	if (argc < 2) {
		verbs_print();
		return cli_close_output(CLI_USAGE);
	}
	if (taken && names_socket(argc, argv)) {
		cli_error("--socket is given twice, before the verb and behind it; give it once");
		return CLI_USAGE;
	}
	verb = verbs_find(argv[1]);
	if (!verb)
		return CLI_USAGE;
	cli_verb = verb->name;
	return cli_close_output(verb->run(argc - 1, argv + 1));
}
