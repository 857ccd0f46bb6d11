/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the commands about the protocol itself; see call.h and schema.json. */
#ifndef ML_CTL_CMD_PROTOCOL_H
#define ML_CTL_CMD_PROTOCOL_H

#include "call.h"

/* The version as the greeting and query-version tell it; a new reference, NULL: no memory. */
json_t *cmd_version(void);

ctl_handler cmd_qmp_capabilities, cmd_query_version, cmd_query_schema, cmd_query_commands;

#endif /* ML_CTL_CMD_PROTOCOL_H */
