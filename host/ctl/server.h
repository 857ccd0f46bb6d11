/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of ctl/ share: the server, its clients, a command under way.
 * Nobody outside this folder includes it.
 */
#ifndef ML_CTL_SERVER_H
#define ML_CTL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl.h"
#include "schema.h"
#include "wire.h"

#define CTL_OUT_PAUSE_BYTES (64 << 10)	/* above this a client is not listened to */
#define CTL_OUT_MAX_BYTES (16 << 20)	/* above this a client is cut off */
#define CTL_OUT_TOTAL_BYTES (64 << 20)	/* above this, over all clients, the largest is */
#define CTL_NEGOTIATE_MS 30000		/* until qmp_capabilities */
#define CTL_COMMANDS_PER_TURN 4		/* of one client, before the loop looks at others */
#define CTL_DESC_MAX 640

struct bill_jobs;

struct ctl_client {
	struct ctl_server *server;
	int fd;
	uid_t uid;
	uint64_t serial;	/* never used again; names the client to bill jobs */
	sd_event_source *io, *again, *deadline;
	struct wire_in in;
	struct wire_out out;
	bool negotiated;
	bool waiting;		/* for a bill query; no other command is begun */
	bool eof;		/* it sends no more */
	bool doomed;		/* to be freed at the end of the turn */
	json_t *waiting_id;	/* id of the command that waits, or NULL */
};

struct ctl_server {
	struct ctl_config config;
	struct ctl_schema *schema;
	int listen_fd;
	sd_event_source *accept, *reaper;
	struct ctl_client *clients[CTL_CLIENTS_MAX];
	size_t client_count;
	uint64_t next_serial;
	size_t out_total;	/* bytes pending over all clients */
	struct bill_jobs *bills;
};

/* A command under way. A handler sets result, or fails with ctl_fail(), or sets later. */
struct ctl_call {
	struct ctl_server *server;
	struct ctl_client *client;
	const char *command;
	const json_t *args;		/* an object that passed the schema */
	json_t *result;			/* NULL: {} */
	bool later;			/* the answer comes by client_answer_later() */
	const char *error_class;	/* NULL: it went well */
	char desc[CTL_DESC_MAX];
};

/* class is one of schema.json's errors. Always returns -EINVAL, for `return ctl_fail(...)`. */
int ctl_fail(struct ctl_call *call, const char *error_class, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Arguments that passed the schema; each returns its fallback where absent. */
const char *ctl_arg_string(const struct ctl_call *call, const char *name);
json_int_t ctl_arg_int(const struct ctl_call *call, const char *name, json_int_t fallback);
bool ctl_arg_given(const struct ctl_call *call, const char *name);

typedef int (*ctl_handler)(struct ctl_call *call);

/* The handler of a command, or NULL: it stands in no table (a bug if the schema has it). */
ctl_handler ctl_find_handler(const char *command);

/* cmd_vm.c, cmd_pool.c, cmd_bill.c; qmp_capabilities is client.c's own. */
int cmd_query_vm(struct ctl_call *call);
int cmd_query_vms(struct ctl_call *call);
int cmd_vm_create(struct ctl_call *call);
int cmd_vm_delete(struct ctl_call *call);
int cmd_vm_set(struct ctl_call *call);
int cmd_vm_report_now(struct ctl_call *call);
int cmd_vm_kill(struct ctl_call *call);
int cmd_query_pool(struct ctl_call *call);
int cmd_pool_compact(struct ctl_call *call);
int cmd_query_version(struct ctl_call *call);
int cmd_query_schema(struct ctl_call *call);
int cmd_query_commands(struct ctl_call *call);
int cmd_query_plans(struct ctl_call *call);
int cmd_query_bill(struct ctl_call *call);

/* client.c. A new connection; fd is taken. */
int client_new(struct ctl_server *server, int fd);
void client_free(struct ctl_client *client);
struct ctl_client *client_find(struct ctl_server *server, uint64_t serial);

/* Queue bytes (a whole message) and write what goes; cuts the client off at its bound. */
void client_send(struct ctl_client *client, const char *text, size_t len);

/*
 * The answer of a command whose handler said later: result is JSON text, or NULL
 * and then desc says why not. Goes on with the client's next command.
 */
void client_answer_later(struct ctl_client *client, const char *result, const char *error_class,
			 const char *desc);

/* Cut a client off once its turn is over. */
void client_doom(struct ctl_client *client);

#endif /* ML_CTL_SERVER_H */
