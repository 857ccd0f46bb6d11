// SPDX-License-Identifier: GPL-2.0-or-later
/* Which function carries out which command; see commands.h. Called by session.c and ctl.c. */
#include "commands.h"

#include <errno.h>
#include <string.h>

#include "cmd_bill.h"
#include "cmd_pool.h"
#include "cmd_protocol.h"
#include "cmd_vm.h"

extern const char ml_embedded_schema_json[];

/* In the order of schema.json. */
static const struct {
	const char *name;
	ctl_handler *handler;
} commands[] = {
	{ "qmp_capabilities", cmd_qmp_capabilities },
	{ "query-version", cmd_query_version },
	{ "query-schema", cmd_query_schema },
	{ "query-commands", cmd_query_commands },
	{ "query-pool", cmd_query_pool },
	{ "pool-compact", cmd_pool_compact },
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

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static ctl_handler *handler_of(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return commands[i].handler;
	}
	return NULL;
}

/* As many on both sides, and each of the schema's here: then they are the same. */
static int check_handlers(const struct ctl_schema *schema, struct ml_why *why)
{
	size_t count = 0;

	for (const char *name = ctl_schema_next(schema, NULL); name;
	     name = ctl_schema_next(schema, name), count++) {
		if (!handler_of(name))
			return ml_refuse(why, -EINVAL, "%s has no handler", name);
	}
	if (count != COMMANDS)
		return ml_refuse(why, -EINVAL, "%zu commands, but %zu handlers", count, COMMANDS);
	return 0;
}

int commands_load(struct ctl_schema **out, struct ml_why *why)
{
	ctl_schema_auto struct ctl_schema *schema = NULL;
	int ret = ctl_schema_load(&schema, ml_embedded_schema_json, why);

	if (!ret)
		ret = check_handlers(schema, why);
	if (ret)
		return ret;
	*out = schema;
	schema = NULL;
	return 0;
}

int commands_run(struct ctl_call *call)
{
	int ret = ctl_schema_check(call->schema, call->command, call->args, &call->why);

	if (ret) {
		call->error_class = ret == -ENOENT ? "CommandNotFound" : "InvalidArgument";
		return ret;
	}
	ret = handler_of(call->command)(call);
	if (ret && !call->error_class)
		ctl_fail(call, "GenericError", "%s: %s", call->command, strerror(-ret));
	return ret;
}
