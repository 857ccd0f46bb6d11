// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about the daemon and its pool, and the table of all commands. Called
 * by client.c with arguments that passed the schema.
 */
#include <errno.h>
#include <string.h>

#include "server.h"
#include "version.h"

int cmd_query_version(struct ctl_call *call)
{
	call->result = json_pack("{s:s, s:i}", "version", ML_VERSION, "abi", MEMLEASE_ABI_VERSION);
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_schema(struct ctl_call *call)
{
	call->result = json_incref(ctl_schema_json(call->server->schema));
	return 0;
}

int cmd_query_commands(struct ctl_call *call)
{
	call->result = ctl_schema_commands(call->server->schema);
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_pool(struct ctl_call *call)
{
	const struct ctl_config *config = &call->server->config;
	struct pool_status pool;

	lender_status(config->lender, &pool);
	call->result = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:s, s:s}",
		"backend", pool.backend,
		"block-bytes", (json_int_t)MEMLEASE_BLOCK_BYTES,
		"pool-blocks", (json_int_t)pool.pool_blocks,
		"free-blocks", (json_int_t)pool.free_blocks,
		"lent-blocks", (json_int_t)pool.lent_blocks,
		"retired-blocks", (json_int_t)pool.retired_blocks,
		"fs-resident-blocks", (json_int_t)pool.fs_resident_blocks,
		"committed-blocks", (json_int_t)pool.committed_blocks,
		"limit-blocks", (json_int_t)pool.limit_blocks,
		"guarantee-blocks", (json_int_t)pool.guarantee_blocks,
		"waiting-touches", (json_int_t)pool.waiting,
		"overbook-percent", (json_int_t)pool.overbook_percent,
		"vms", (json_int_t)pool.vms,
		"ledger-behind", (int)pool.ledger_behind,
		"ledger-error", pool.ledger_error,
		"state-dir", config->state_dir,
		"pool-dir", config->pool_dir,
		"ledger", config->ledger_path);
	return call->result ? 0 : -ENOMEM;
}

static const struct {
	const char *name;
	ctl_handler handler;
} commands[] = {
	{ "query-version", cmd_query_version },
	{ "query-schema", cmd_query_schema },
	{ "query-commands", cmd_query_commands },
	{ "query-pool", cmd_query_pool },
	{ "query-vms", cmd_query_vms },
	{ "query-vm", cmd_query_vm },
	{ "vm-create", cmd_vm_create },
	{ "vm-delete", cmd_vm_delete },
	{ "vm-set", cmd_vm_set },
	{ "vm-report-now", cmd_vm_report_now },
	{ "vm-kill", cmd_vm_kill },
	{ "query-plans", cmd_query_plans },
	{ "query-bill", cmd_query_bill },
};

ctl_handler ctl_find_handler(const char *command)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, command))
			return commands[i].handler;
	}
	return NULL;
}
