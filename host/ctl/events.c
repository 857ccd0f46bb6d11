// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Turns what happens in the lender into events of the control socket, for every
 * client that has left negotiation. Called by daemon/ from the lender's event
 * hook: may ask the lender for a status, and nothing else.
 */
#include <string.h>

#include "../base/cleanup.h"
#include "server.h"

struct event_kind {
	const char *name;
	bool with_vm, with_reason;
};

static const struct event_kind kinds[] = {
	[LEND_EV_VM_CREATED] = { "VM_CREATED", true, false },
	[LEND_EV_VM_STARTED] = { "VM_STARTED", true, false },
	[LEND_EV_VM_DETACHED] = { "VM_DETACHED", true, false },
	[LEND_EV_VM_ENDED] = { "VM_ENDED", true, true },
	[LEND_EV_VM_BROKEN] = { "VM_BROKEN", true, true },
	[LEND_EV_VM_STOPPED] = { "VM_STOPPED", true, true },
	[LEND_EV_TARGET] = { "TARGET", true, false },
	[LEND_EV_POOL_SHORT] = { "POOL_SHORT", true, false },
	[LEND_EV_POOL_OK] = { "POOL_OK", false, false },
	[LEND_EV_LEDGER_BEHIND] = { "LEDGER_BEHIND", false, true },
	[LEND_EV_LEDGER_OK] = { "LEDGER_OK", false, false },
	[LEND_EV_RETIRED] = { "BLOCK_RETIRED", true, true },
	[LEND_EV_MISMATCH] = { "MISMATCH", true, true },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void add_target(struct ctl_server *server, const char *name, json_t *data)
{
	struct lend_vm *vm = lend_vm_find(server->config.lender, name);
	struct vm_status status;

	if (!vm)
		return;
	lend_vm_status(vm, &status);
	if (status.target_blocks == MEMLEASE_NO_TARGET)
		json_object_set_new(data, "target-blocks", json_null());
	else
		json_object_set_new(data, "target-blocks",
				    json_integer((json_int_t)(status.target_blocks +
							      status.spec.boot_blocks)));
	json_object_set_new(data, "deadline-ms", json_integer(status.target_deadline_ms));
}

static char *event_text(struct ctl_server *server, const struct lend_event *event)
{
	const struct event_kind *kind = &kinds[event->type];
	int64_t now_ms = ml_wall_ms(server->config.clock);
	json_t *data = json_object(), *message;
	char *text;

	if (kind->with_vm)
		json_object_set_new(data, "name", json_string(event->vm ? event->vm : ""));
	if (kind->with_reason)
		json_object_set_new(data, "reason", json_string(event->text ? event->text : ""));
	if (event->type == LEND_EV_TARGET && event->vm)
		add_target(server, event->vm, data);
	message = json_pack("{s:s, s:o, s:{s:I, s:I}}", "event", kind->name, "data", data,
			    "timestamp", "seconds", (json_int_t)(now_ms / 1000),
			    "microseconds", (json_int_t)(now_ms % 1000 * 1000));
	text = message ? json_dumps(message, 0) : NULL;
	json_decref(message);
	return text;
}

void ctl_lend_event(struct ctl_server *server, const struct lend_event *event)
{
	ml_autofree char *text = NULL;
	size_t i, len;

	/* Without a server (start-up) or clients there is nobody to tell. */
	if (!server || !server->client_count || (size_t)event->type >= KINDS)
		return;
	text = event_text(server, event);
	if (!text)
		return;
	len = strlen(text);
	text[len] = '\n';
	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (server->clients[i] && server->clients[i]->negotiated)
			client_send(server->clients[i], text, len + 1);
	}
}
