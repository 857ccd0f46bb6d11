// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about the protocol: negotiation, version, and what commands there are. Called by
 * commands.c with arguments that passed the schema.
 */
#include "cmd_protocol.h"

#include <errno.h>

#include "../../proto/memlease_abi.h"
#include "../base/version.h"
#include "client.h"
#include "schema.h"

int cmd_qmp_capabilities(struct ctl_call *call)
{
	json_t *enable = json_object_get(call->args, "enable");

	if (json_array_size(enable))
		return ctl_fail(call, "InvalidArgument",
				"qmp_capabilities: there is no capability '%.63s'; leave 'enable' out",
				json_string_value(json_array_get(enable, 0)));
	if (call->client->negotiated)
		return ctl_fail(call, "CommandNotFound",
				"Capabilities negotiation is already complete, command ignored");
	call->client->negotiated = true;
	sd_event_source_set_enabled(call->client->deadline, SD_EVENT_OFF);
	return 0;
}

json_t *cmd_version(void)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:s, s:s, s:i}", "qemu", "major", ML_VERSION_MAJOR,
			 "minor", ML_VERSION_MINOR, "micro", ML_VERSION_MICRO,
			 "package", "memlease " ML_VERSION, "version", ML_VERSION,
			 "abi", MEMLEASE_ABI_VERSION);
}

int cmd_query_version(struct ctl_call *call)
{
	call->result = cmd_version();
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_schema(struct ctl_call *call)
{
	call->result = json_incref(ctl_schema_json(call->schema));
	return 0;
}

int cmd_query_commands(struct ctl_call *call)
{
	call->result = ctl_schema_commands(call->schema);
	return call->result ? 0 : -ENOMEM;
}
