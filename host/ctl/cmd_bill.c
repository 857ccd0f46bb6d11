// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about money: plans, and bills out of the ledger. Called by commands.c
 * with arguments that passed the schema.
 */
#include "cmd_bill.h"

#include <errno.h>

#include "../bill/report.h"
#include "bill_jobs.h"
#include "client.h"

int cmd_query_plans(struct ctl_call *call)
{
	if (plans_missing(call->config->plans))
		return ctl_fail(call, "GenericError", "query-plans: there are no plans: %s",
				plans_missing(call->config->plans));
	call->result = plans_to_json(call->config->plans);
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_bill(struct ctl_call *call)
{
	const char *by = ctl_arg_string(call, "by");
	struct bill_filter filter = {
		.tenant = ctl_arg_string(call, "tenant"),
		.name = ctl_arg_string(call, "name"),
		.from_ms = ctl_arg_int(call, "from", INT64_MIN),
		.to_ms = ctl_arg_int(call, "to", INT64_MAX),
		.by = BILL_BY_VM,
	};
	int ret;

	if (by && bill_by_parse(by, &filter.by))
		return ctl_fail(call, "InvalidArgument", "query-bill: 'by' is '%s'", by);
	if (filter.from_ms >= filter.to_ms)
		return ctl_fail(call, "InvalidArgument",
				"query-bill: 'from' %lld is not before 'to' %lld; nothing lies between",
				(long long)filter.from_ms, (long long)filter.to_ms);
	ret = bill_jobs_add(call->bills, call->client->serial, &filter);
	if (ret)
		return ret;
	call->later = true;
	return 0;
}
