// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease plans: what memory costs.
 */
#include <stdio.h>

#include "args.h"
#include "cli.h"
#include "grid.h"

static const struct grid_column columns[] = {
	{ "PLAN", 0, 0 }, { "RESIDENT", 1, 0 }, { "COMMITTED", 1, 0 }, { "GUARANTEE", 1, 0 },
};

static int print_table(const json_t *plans)
{
	auto_grid struct grid *t = grid_new(columns, sizeof(columns) / sizeof(columns[0]));
	json_t *plan;
	size_t i;

	if (!t)
		return CLI_FAILED;
	json_array_foreach(json_object_get(plans, "plans"), i, plan) {
		grid_add(t, cli_text(plan, "name"));
		grid_add(t, cli_text(plan, "resident"));
		grid_add(t, cli_text(plan, "committed"));
		grid_add(t, cli_text(plan, "guarantee"));
	}
	if (grid_print(t, stdout, 0))
		return CLI_FAILED;
	printf("\nPrices in %s per GiB and hour.\n", cli_text(plans, "currency"));
	return CLI_OK;
}

int verb_plans(int argc, char **argv)
{
	const char *socket = NULL;
	bool json = false, names = false;
	const struct arg_opt opts[] = {
		{ .name = "names", .kind = ARG_FLAG, .to = &names, .help = "print nothing but the names" },
		CLI_OPT_JSON(&json),
		CLI_OPT_SOCKET(&socket),
	};
	const struct arg_spec spec = {
		.verb = "plans", .synopsis = "[--json]",
		.about = "Show the plans and their prices.",
		.opts = opts, .opt_count = sizeof(opts) / sizeof(opts[0]),
	};
	int answer = args_parse(&spec, argc, argv);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *plans = NULL;
	json_t *plan;
	size_t i;

	if (answer)
		return cli_args_exit(answer);
	c = cli_connect(socket);
	if (!c)
		return CLI_FAILED;
	plans = cli_call(c, "query-plans", NULL);
	if (!plans)
		return CLI_FAILED;
	if (json)
		return cli_print_json(plans);
	if (!names)
		return print_table(plans);
	json_array_foreach(json_object_get(plans, "plans"), i, plan)
		printf("%s\n", cli_text(plan, "name"));
	return CLI_OK;
}
