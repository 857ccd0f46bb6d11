// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease plans: what memory costs.
 */
#include <stdio.h>

#include "args.h"
#include "ask.h"
#include "exit.h"
#include "grid.h"
#include "verb.h"

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

struct options {
	const char *socket;
	bool json, names;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { 0 };
	int answer = args_parse(&verb_plans, argc, argv, &o);
	auto_qmp struct qmp *c = NULL;
	auto_json json_t *plans = NULL;
	json_t *plan;
	size_t i;

	if (answer)
		return args_exit(answer);
	if (o.names && o.json) {
		cli_error("plans: --names and --json contradict each other; give one of them");
		return CLI_USAGE;
	}
	c = cli_connect(o.socket);
	if (!c)
		return CLI_FAILED;
	plans = cli_call(c, "query-plans", NULL);
	if (!plans)
		return CLI_FAILED;
	if (o.json)
		return cli_print_json(plans);
	if (!o.names)
		return print_table(plans);
	json_array_foreach(json_object_get(plans, "plans"), i, plan)
		printf("%s\n", cli_text(plan, "name"));
	return CLI_OK;
}

static const struct arg_opt opts[] = {
	{ .name = "names", .kind = ARG_FLAG, .at = AT(names),
	  .help = "print nothing but the names" },
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_plans = {
	.name = "plans", .brief = "plans and prices",
	.synopsis = "[--names | --json]",
	.about = "Show the plans and their prices.",
	ARG_OPTS(opts), .run = run,
};
