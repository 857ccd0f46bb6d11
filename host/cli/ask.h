/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way to the daemon: its socket, and calls that complain by themselves. Used by the
 * verbs.
 */
#ifndef ML_CLI_ASK_H
#define ML_CLI_ASK_H

#include <stddef.h>

#include "json.h"
#include "qmp.h"

#define CLI_CALL_TIMEOUT_MS 30000
#define CLI_BILL_TIMEOUT_MS 300000

/*
 * The control socket's path: what was given, else $MEMLEASE_SOCKET, else
 * /run/memlease/control.sock, or the one under $XDG_RUNTIME_DIR if that is there
 * and the user is not root.
 */
const char *cli_socket_path(const char *given, char *buf, size_t size);

/* Connect, or complain and return NULL. */
struct qmp *cli_connect(const char *socket);

/*
 * Call, or complain and return NULL. arguments is taken, and may be NULL. Where no
 * VM has the name in arguments, the complaint suggests one.
 */
json_t *cli_call(struct qmp *c, const char *command, json_t *arguments);
json_t *cli_call_timeout(struct qmp *c, const char *command, json_t *arguments, int timeout_ms);

/* {"name": name} */
json_t *cli_name_args(const char *name);

#endif /* ML_CLI_ASK_H */
