// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease: finds the verb and runs it.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* "--socket PATH" before the verb holds for any verb. Returns arguments taken, or -1. */
static int take_socket(int argc, char **argv)
{
	if (argc > 1 && !strncmp(argv[1], "--socket=", 9)) {
		setenv("MEMLEASE_SOCKET", argv[1] + 9, 1);
		return 1;
	}
	if (argc < 2 || strcmp(argv[1], "--socket"))
		return 0;
	if (argc == 2) {
		cli_error("--socket needs a value: --socket PATH");
		return -1;
	}
	setenv("MEMLEASE_SOCKET", argv[2], 1);
	return 2;
}

int main(int argc, char **argv)
{
	cli_verb *verb;
	int taken, status;

	setlocale(LC_CTYPE, "");
	taken = take_socket(argc, argv);
	if (taken < 0)
		return CLI_USAGE;
	argc -= taken;
	argv += taken;
	if (argc < 2) {
		verb_help(1, argv);
		return CLI_USAGE;
	}
	verb = cli_find_verb(argv[1]);
	if (!verb)
		return CLI_USAGE;
	status = verb(argc - 1, argv + 1);
	if (fflush(stdout) || ferror(stdout)) {
		if (!status)
			status = CLI_FAILED;
	}
	return status;
}
