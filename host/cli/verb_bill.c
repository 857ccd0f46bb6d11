// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memlease bill: usage and amounts, cut by VM, tenant or metering period.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../base/terms.h"
#include "args.h"
#include "ask.h"
#include "bill_names.h"
#include "bill_table.h"
#include "exit.h"
#include "grid.h"
#include "verb.h"
#include "when.h"

struct query {
	const char *tenant, *name, *by, *format;
	struct arg_number from, to;
};

/* NULL where tenant or name are no text, or out of memory: a filter must not get lost. */
static json_t *query_args(const struct query *q)
{
	json_t *args = json_pack("{s:s*, s:s*}", "tenant", q->tenant, "name", q->name);

	if (!args)
		return NULL;
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

static bool timed(const struct query *q)
{
	return q->from.given || q->to.given;
}

/* Usage that is in no bill of this ledger; 0 if there is none. */
static int complain_gaps(const json_t *bill)
{
	json_t *gaps = json_object_get(bill, "gaps"), *gap;
	char when[WHEN_TEXT_MAX];
	size_t i;

	json_array_foreach(gaps, i, gap)
		cli_error("bill: what was used before %s is in another ledger and is missing here: %s, which was set aside then: %s. Bills from that time on are whole (--from)",
			  when_format_ms(json_integer_value(json_object_get(gap, "until")), when),
			  cli_text(gap, "ledger"), cli_text(gap, "reason"));
	return json_array_size(gaps) ? CLI_FAILED : CLI_OK;
}

static void say_empty(const struct query *q)
{
	printf("No usage%s%s%s%s %s.\n", q->tenant ? " of tenant " : "",
	       q->tenant ? q->tenant : "", q->name ? " of VM " : "", q->name ? q->name : "",
	       timed(q) ? "in that time" : "so far");
}

/* Which time a table is for: a bill of all time is easily taken for one of this month. */
static void say_time(const struct query *q)
{
	char from[WHEN_TEXT_MAX], to[WHEN_TEXT_MAX];

	if (!timed(q))
		printf("All time, since metering began; --from and --to bound it.\n");
	else
		printf("From %s to %s.\n", q->from.given ? when_format_ms(q->from.value, from) :
		       "the beginning", q->to.given ? when_format_ms(q->to.value, to) : "now");
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
	else
		say_time(q);
	return complain_gaps(bill) | complain_unpriced(bill);
}

static int check_text(const char *option, const char *text)
{
	auto_json json_t *json = text ? json_string(text) : NULL;

	if (!text || json)
		return CLI_OK;
	cli_error("bill: %s is no UTF-8; nobody has such a name", option);
	return CLI_USAGE;
}

static int check_times(const struct query *q)
{
	char from[WHEN_TEXT_MAX], to[WHEN_TEXT_MAX];

	if (!q->from.given || !q->to.given || q->from.value < q->to.value)
		return CLI_OK;
	cli_error("bill: --from is %s and --to is %s; nothing lies between them",
		  when_format_ms(q->from.value, from), when_format_ms(q->to.value, to));
	return CLI_USAGE;
}

/* A ledger that cannot be written misses the newest usage; the bill must not look complete. */
static bool warn_if_behind(struct qmp *c)
{
	auto_json json_t *pool = NULL;
	bool behind;

	if (qmp_call(c, "query-pool", NULL, CLI_CALL_TIMEOUT_MS, &pool))
		return false;
	behind = json_is_true(json_object_get(pool, "ledger-behind"));
	if (behind)
		cli_error("bill: the ledger cannot be written (%s), so the newest usage is missing here; it is kept, and posted when the ledger can be written again",
			  cli_text(pool, "ledger-error"));
	return behind;
}

static int query(const char *socket, const struct query *q)
{
	auto_qmp struct qmp *c = cli_connect(socket);
	auto_json json_t *args = query_args(q), *bill = NULL;

	if (!c)
		return CLI_FAILED;
	if (!args) {
		cli_error("out of memory");
		return CLI_FAILED;
	}
	bill = cli_call_timeout(c, "query-bill", json_incref(args), CLI_BILL_TIMEOUT_MS);
	if (!bill)
		return CLI_FAILED;
	/* An empty bill may be one of a name with a typo in it, which must not look like one of nothing. */
	if (!warn_if_behind(c) && !json_array_size(json_object_get(bill, "lines")) &&
	    !bill_names_known(c, q->tenant, q->name))
		return CLI_FAILED;
	return print(q, bill);
}

struct options {
	struct query q;
	const char *socket;
	bool json;
};

#define AT(member) offsetof(struct options, member)

static int run(int argc, char **argv)
{
	struct options o = { .q = { .by = "vm" } };
	int answer = args_parse(&verb_bill, argc, argv, &o);

	if (answer)
		return args_exit(answer);
	if (o.json && o.q.format && strcmp(o.q.format, "json")) {
		cli_error("bill: --json and --format %s contradict each other; give one of them",
			  o.q.format);
		return CLI_USAGE;
	}
	if (!o.q.format)
		o.q.format = o.json ? "json" : "table";
	if (check_text("--tenant", o.q.tenant) || check_text("--name", o.q.name) || check_times(&o.q))
		return CLI_USAGE;
	return query(o.socket, &o.q);
}

static const char *const cuts[] = { ML_BILL_CUTS, NULL };
static const char *const formats[] = { "table", "csv", "json", NULL };

static const struct arg_opt opts[] = {
	{ .name = "tenant", .kind = ARG_TEXT, .at = AT(q.tenant), .value = "TENANT",
	  .help = "only this tenant" },
	{ .name = "name", .kind = ARG_TEXT, .at = AT(q.name), .value = "NAME",
	  .listed_by = "list --names", .help = "only VMs of this name" },
	{ .name = "from", .kind = ARG_TIME, .at = AT(q.from), .value = "TIME",
	  .help = "metering periods that start then or later" },
	{ .name = "to", .kind = ARG_TIME, .at = AT(q.to), .value = "TIME",
	  .help = "metering periods that start before then" },
	{ .name = "by", .kind = ARG_TEXT, .at = AT(q.by), .value = "WHAT", .choices = cuts,
	  .help = "a line per vm, tenant, or metering period of a VM" },
	{ .name = "format", .kind = ARG_TEXT, .at = AT(q.format), .value = "FORMAT",
	  .choices = formats, .help = "table, csv or json" },
	ARG_OPT_JSON(AT(json)),
	ARG_OPT_SOCKET(AT(socket)),
};

const struct verb verb_bill = {
	.name = "bill", .brief = "usage and amounts",
	.synopsis = "[--tenant TENANT] [--name NAME] [--from TIME] [--to TIME] [--by vm|tenant|period] [--format table|csv|json]",
	.about = "Show what was used and what it costs, VMs that ended included, for all time\nunless --from or --to bound it. However a bill is cut, it adds up to the same total.\nA TIME is " WHEN_FORMS ".",
	.examples = "  memlease bill\n  memlease bill --tenant acme --from yesterday --to today\n  memlease bill --by tenant --from 2026-10 --to 2026-11\n  memlease bill --by period --from -6h --format csv\n",
	ARG_OPTS(opts), .run = run,
};
