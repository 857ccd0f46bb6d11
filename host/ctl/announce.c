// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Turns what happens in the lender into events of the control socket, for every
 * client that has left negotiation; see announce.h.
 */
#include "announce.h"

#include <string.h>

#include "../base/cleanup.h"
#include "reply.h"

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
	[LEND_EV_SET_ASIDE] = { "SET_ASIDE", false, true },
	[LEND_EV_ORPHAN] = { "ORPHAN", true, true },
	[LEND_EV_ORPHAN_ENDED] = { "ORPHAN_ENDED", true, true },
	[LEND_EV_VM_LAPSED] = { "VM_LAPSED", true, false },
	[LEND_EV_START_REFUSED] = { "START_REFUSED", true, true },
	[LEND_EV_SETTING] = { "SETTING_REFUSED", false, true },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

_Static_assert(KINDS == LEND_EV_TYPES, "every event has a name");

static void add_target(struct lender *lender, const char *name, json_t *data)
{
	struct lend_vm *vm = lend_vm_find(lender, name);
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

/* The line; data is taken. */
static char *message_text(const char *name, json_t *data, int64_t at_ms)
{
	json_t *message = json_pack("{s:s, s:o, s:{s:I, s:I}}", "event", name, "data", data,
				    "timestamp", "seconds", (json_int_t)(at_ms / 1000),
				    "microseconds", (json_int_t)(at_ms % 1000 * 1000));
	char *text = reply_message(message);

	json_decref(message);
	return text;
}

static char *event_text(const struct ctl_config *config, const struct lend_event *event)
{
	const struct event_kind *kind = &kinds[event->type];
	json_t *data = json_object();

	if (kind->with_vm)
		json_object_set_new(data, "name", json_string(event->vm ? event->vm : ""));
	if (kind->with_reason)
		json_object_set_new(data, "reason", json_string(event->text ? event->text : ""));
	if (event->type == LEND_EV_TARGET && event->vm)
		add_target(config->lender, event->vm, data);
	return message_text(kind->name, data, ml_wall_ms(config->clock));
}

static char *notice_text(const struct ctl_notice *notice)
{
	json_t *data = json_object();

	if (notice->subject[0])
		json_object_set_new(data, "name", json_string(notice->subject));
	if (notice->reason[0])
		json_object_set_new(data, "reason", json_string(notice->reason));
	return message_text(notice->event, data, notice->wall_ms);
}

static void send_to_all(struct ctl_clients *clients, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (clients->at[i] && clients->at[i]->negotiated)
			client_send(clients->at[i], text, len);
	}
}

void announce_lend_event(const struct ctl_config *config, struct ctl_clients *clients,
			 const struct lend_event *event)
{
	ml_autofree char *text = NULL;

	if (!clients->count || (size_t)event->type >= KINDS)
		return;
	text = event_text(config, event);
	if (text)
		send_to_all(clients, text);
}

void announce_keep(struct ctl_notices *notices, const struct lend_event *event, int64_t wall_ms)
{
	if (event->type == LEND_EV_ORPHAN_ENDED)
		ctl_notice_drop(notices, kinds[LEND_EV_ORPHAN].name, event->vm);
	else if (event->type == LEND_EV_SET_ASIDE || event->type == LEND_EV_ORPHAN ||
		 event->type == LEND_EV_SETTING)
		ctl_notice_add(notices, kinds[event->type].name, event->vm, event->text, wall_ms);
}

void announce_notice(struct ctl_clients *clients, const struct ctl_notice *notice)
{
	ml_autofree char *text = clients->count ? notice_text(notice) : NULL;

	if (text)
		send_to_all(clients, text);
}

void announce_notices(const struct ctl_config *config, struct ctl_client *client)
{
	for (size_t i = 0; config->notices && i < config->notices->count; i++) {
		ml_autofree char *text = notice_text(&config->notices->at[i]);

		if (text)
			client_send(client, text, strlen(text));
	}
}
