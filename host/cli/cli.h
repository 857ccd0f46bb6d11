/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the verbs of `memlease` share: exit statuses, complaints, the way to the
 * daemon. A verb is one function in one file; main.c has the table.
 */
#ifndef ML_CLI_CLI_H
#define ML_CLI_CLI_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "qmp.h"

#define CLI_VERSION "0.1.0"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_PARTLY = 3,		/* set --wait: the target was not met */
};

#define CLI_CALL_TIMEOUT_MS 30000
#define CLI_BILL_TIMEOUT_MS 300000

/* The table row every verb puts into its options. */
#define CLI_OPT_SOCKET(to_) \
	{ .name = "socket", .kind = ARG_TEXT, .to = (to_), .value = "PATH", \
	  .help = "control socket of the daemon (or $MEMLEASE_SOCKET)" }
#define CLI_OPT_JSON(to_) \
	{ .name = "json", .kind = ARG_FLAG, .to = (to_), .help = "print JSON" }

/* "memlease: TEXT" to standard error. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

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

/* The text under a key of an object, or "?". */
const char *cli_text(const json_t *object, const char *key);

/* {"name": name} */
json_t *cli_name_args(const char *name);

/* Print indented JSON and a newline; exit status. */
int cli_print_json(const json_t *json);

/* Exit status for args_parse()'s answer, which is not 0. */
static inline int cli_args_exit(int answer)
{
	return answer > 0 ? CLI_OK : CLI_USAGE;
}

static inline void cli_decref(json_t **json)
{
	json_decref(*json);
}
#define auto_json __attribute__((cleanup(cli_decref)))

/* A verb: argv[0] is its name. Returns an exit status. */
typedef int cli_verb(int argc, char **argv);

cli_verb verb_run, verb_list, verb_status, verb_top, verb_set, verb_report_now, verb_stop;
cli_verb verb_compact, verb_bill, verb_events, verb_plans, verb_help, verb_version;

/* Find a verb's function, or complain and return NULL. */
cli_verb *cli_find_verb(const char *name);

#endif /* ML_CLI_CLI_H */
