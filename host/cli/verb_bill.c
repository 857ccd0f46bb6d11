// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease bill: usage and amounts, cut by VM, tenant or metering period.
 */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "bill_table.h"
#include "cli.h"
#include "grid.h"
#include "when.h"

struct query {
	const char *tenant, *name, *by, *format;
	struct arg_number from, to;
};

static json_t *query_args(const struct query *q)
{
	json_t *args = json_object();

	if (q->tenant)
		json_object_set_new(args, "tenant", json_string(q->tenant));
	if (q->name)
		json_object_set_new(args, "name", json_string(q->name));
	if (q->from.given)
		json_object_set_new(args, "from", json_integer(q->from.value));
	if (q->to.given)
		json_object_set_new(args, "to", json_integer(q->to.value));
	json_object_set_new(args, "by", json_string(q->by));
	return args;
}

/* Names of the plans without a price; 0 if there are none. */
static int complain_unpriced(const json_t *bill)
{
	json_t *plans = json_object_get(bill, "unpriced-plans"), *plan;
	size_t i;

	json_array_foreach(plans, i, plan)
		cli_error("bill: there is no price for plan '%s': it is not in the daemon's plans file. Put it back there and restart the daemon; until then its lines and the total have no amount",
			  json_is_string(plan) ? json_string_value(plan) : "?");
	return json_array_size(plans) ? CLI_FAILED : CLI_OK;
}

static void say_empty(const struct query *q)
{
	printf("No usage%s%s%s%s in that time.\n", q->tenant ? " of tenant " : "",
	       q->tenant ? q->tenant : "", q->name ? " of VM " : "", q->name ? q->name : "");
}

static int print(const struct query *q, const json_t *bill)
{
	if (!strcmp(q->format, "json"))
		cli_print_json(bill);
	else if (!strcmp(q->format, "csv"))
		bill_print_csv(bill, stdout);
	else if (!json_array_size(json_object_get(bill, "lines")))
		say_empty(q);
	else if (bill_print_table(bill, stdout, grid_terminal_width(stdout)))
		return CLI_FAILED;
	return complain_unpriced(bill);
}

static int check(const struct query *q)
{
	char from[WHEN_TEXT_MAX], to[WHEN_TEXT_MAX];

	if (!q->from.given || !q->to.given || q->from.value < q->to.value)
		return CLI_OK;
	cli_error("bill: --from is %s and --to is %s; nothing lies between them",
		  when_format_ms(q->from.value, from), when_format_ms(q->to.value, to));
	return CLI_USAGE;
}

/* A ledger that cannot be written misses the newest usage; the bill must not look complete. */
static void warn_if_behind(struct qmp *c)
{
	auto_json json_t *pool = NULL;

	if (qmp_call(c, "query-pool", NULL, CLI_CALL_TIMEOUT_MS, &pool))
		return;
	if (json_is_true(json_object_get(pool, "ledger-behind")))
		cli_error("bill: the ledger cannot be written (%s), so the newest usage is missing here; it is kept, and posted when the ledger can be written again",
			  cli_text(pool, "ledger-error"));
}

static int query(const char *socket, const struct query *q)
{
	auto_qmp struct qmp *c = cli_connect(socket);
	auto_json json_t *bill = NULL;

	if (!c)
		return CLI_FAILED;
	bill = cli_call_timeout(c, "query-bill", query_args(q), CLI_BILL_TIMEOUT_MS);
	if (!bill)
		return CLI_FAILED;
	warn_if_behind(c);
	return print(q, bill);
}

int verb_bill(int argc, char **argv)
{
	static const char *const cuts[] = { "vm", "tenant", "period", NULL };
	static const char *const formats[] = { "table", "csv", "json", NULL };
	struct query q = { .by = "vm" };
	const char *socket = NULL;
	bool json = false;
	const struct arg_opt opts[] = {
		{ .name = "tenant", .kind = ARG_TEXT, .to = &q.tenant, .value = "TENANT", .help = "only this tenant" },
		{ .name = "name", .kind = ARG_TEXT, .to = &q.name, .value = "NAME", .help = "only VMs of this name" },
		{ .name = "from", .kind = ARG_TIME, .to = &q.from, .value = "TIME",
		  .help = "metering periods that start then or later" },
		{ .name = "to", .kind = ARG_TIME, .to = &q.to, .value = "TIME",
		  .help = "metering periods that start before then" },
		{ .name = "by", .kind = ARG_TEXT, .to = &q.by, .value = "WHAT", .choices = cuts,
		  .help = "a line per vm, tenant, or metering period of a VM" },
		{ .name = "format", .kind = ARG_TEXT, .to = &q.format, .value = "FORMAT", .choices = formats,
		  .help = "table, csv or json" },
		CLI_OPT_JSON(&json),
		CLI_OPT_SOCKET(&socket),
	};
	const struct arg_spec spec = {
		.verb = "bill",
		.synopsis = "[--tenant TENANT] [--name NAME] [--from TIME] [--to TIME] [--by vm|tenant|period] [--format table|csv|json]",
		.about = "Show what was used and what it costs, VMs that ended included. However a bill is\ncut, it adds up to the same total. A TIME is " WHEN_FORMS ".",
		.examples = "  memlease bill\n  memlease bill --tenant acme --from yesterday --to today\n  memlease bill --by tenant --from 2026-10 --to 2026-11\n  memlease bill --by period --from -6h --format csv\n",
		.opts = opts, .opt_count = sizeof(opts) / sizeof(opts[0]),
	};
	int answer = args_parse(&spec, argc, argv);

	if (answer)
		return cli_args_exit(answer);
	if (json && q.format && strcmp(q.format, "json")) {
		cli_error("bill: --json and --format %s contradict each other; give one of them", q.format);
		return CLI_USAGE;
	}
	if (!q.format)
		q.format = json ? "json" : "table";
	if (check(&q))
		return CLI_USAGE;
	return query(socket, &q);
}
