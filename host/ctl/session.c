// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Negotiation, commands in order, answers; see session.h. Called by ctl.c and the event loop.
 */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/porter.h"
#include "announce.h"
#include "cmd_protocol.h"
#include "commands.h"
#include "reply.h"

/* What could not be read has no id that could be given back. */
static void refuse_json(struct ctl_client *client, const char *text)
{
	struct ml_why why;

	ml_refuse(&why, -EINVAL, "JSON parse error, %.200s", text);
	client_send_error(client, "GenericError", why.text, NULL);
}

static int run_command(struct ctl_call *call)
{
	if (!call->client->negotiated && strcmp(call->command, "qmp_capabilities"))
		return ctl_fail(call, "CommandNotFound",
				"Expecting capabilities negotiation with 'qmp_capabilities'");
	return commands_run(call);
}

/* The outer shape: execute, arguments, id, and nothing else. */
static int take_apart(struct ctl_call *call, const json_t *message)
{
	json_t *value;
	const char *key;

	if (!json_is_object(message))
		return ctl_fail(call, "GenericError", "QMP input must be a JSON object");
	json_object_foreach((json_t *)message, key, value) {
		if (!strcmp(key, "execute")) {
			if (!json_is_string(value))
				return ctl_fail(call, "GenericError",
						"QMP input member 'execute' must be a string");
			call->command = json_string_value(value);
		} else if (!strcmp(key, "arguments")) {
			if (!json_is_object(value))
				return ctl_fail(call, "GenericError",
						"QMP input member 'arguments' must be an object");
			call->args = value;
		} else if (strcmp(key, "id")) {
			return ctl_fail(call, "GenericError", "QMP input member '%.63s' is unexpected",
					key);
		}
	}
	if (!call->command)
		return ctl_fail(call, "GenericError", "QMP input lacks member 'execute'");
	return 0;
}

/* Carry a command out and answer it; id is taken. */
static void handle_command(struct ctl_client *client, const json_t *message, char *id)
{
	const struct ctl_sessions *shared = client->sessions;
	struct ctl_call call = {
		.config = &shared->config, .schema = shared->schema, .bills = shared->bills,
		.client = client,
	};
	bool was_negotiated = client->negotiated;

	if (!take_apart(&call, message))
		run_command(&call);
	if (call.later) {
		client_wait(client, id);
		return;
	}
	if (call.error_class) {
		client_send_error(client, call.error_class, call.why.text, id);
	} else {
		ml_autofree char *text = call.result ? reply_text(call.result) : strdup("{}");

		client_return(client, text, id);
	}
	if (client->negotiated && !was_negotiated)
		announce_notices(&shared->config, client);
	json_decref(call.result);
	free(id);
}

static void handle_message(struct ctl_client *client, const struct wire_message *wire)
{
	json_error_t error;
	json_t *message = json_loadb(wire->text, wire->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
				     &error);
	char *id = NULL;
	int ret = message ? reply_id(wire->id, wire->id_len, &id) : 0;

	if (!message || ret == -EINVAL)
		refuse_json(client, message ? "the id is none" : error.text);
	else if (ret)
		client_doom(client);
	else
		handle_command(client, message, id);
	json_decref(message);
}

/* One thing out of the input buffer; false if there is nothing to be done now. */
static bool step_once(struct ctl_client *client)
{
	struct wire_message message;
	struct ml_why why;
	int ret;

	if (client->doomed || client->waiting ||
	    wire_out_pending(&client->out) >= CTL_OUT_PAUSE_BYTES)
		return false;
	ret = wire_in_next(&client->in, &message, &why);
	if (ret == 1)
		handle_message(client, &message);
	else if (ret == -EBADMSG)
		refuse_json(client, why.text);
	else if (ret || (client->eof && !wire_out_pending(&client->out)))
		client_doom(client);
	return ret != 0 && !client->doomed;
}

/* A bounded number of commands; the rest in the next turn of the loop. */
static void step_client(struct ctl_client *client)
{
	int i;

	for (i = 0; i < CTL_COMMANDS_PER_TURN; i++) {
		if (!step_once(client))
			break;
	}
	if (i == CTL_COMMANDS_PER_TURN && !client->doomed)
		sd_event_source_set_enabled(client->again, SD_EVENT_ONESHOT);
	client_update_interest(client);
}

static int on_again(sd_event_source *source, void *ctx)
{
	(void)source;
	step_client(ctx);
	return 0;
}

static void read_input(struct ctl_client *client)
{
	size_t space;
	char *at = wire_in_space(&client->in, &space);
	bool descriptors;
	ssize_t n;

	if (!space)
		return;
	n = ml_peek(client->fd, at, space, &descriptors);
	if (descriptors) {
		ml_warn("control socket: a client of uid %u sends descriptors, which have no use here: cut off",
			client->uid);
		client_doom(client);
		return;
	}
	if (n > 0)
		n = recv(client->fd, at, (size_t)n, MSG_DONTWAIT);
	if (n > 0)
		wire_in_filled(&client->in, (size_t)n);
	else if (n == 0)
		client->eof = true;
	else if (n != -EAGAIN)
		client_doom(client);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct ctl_client *client = ctx;

	(void)source;
	(void)fd;
	if (revents & EPOLLOUT)
		client_flush(client);
	if (revents & EPOLLIN)
		read_input(client);
	/* Both directions are closed: nobody is left to read an answer. */
	if (revents & (EPOLLHUP | EPOLLERR) && !(revents & EPOLLIN))
		client_doom(client);
	if (!client->doomed)
		step_client(client);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)source;
	(void)usec;
	client_doom(ctx);
	return 0;
}

static int add_sources(struct ctl_client *client)
{
	sd_event *event = client->sessions->config.event;
	int ret = sd_event_add_io(event, &client->io, client->fd, EPOLLIN, on_io, client);

	if (ret >= 0)
		ret = sd_event_source_set_priority(client->io, CTL_EVENT_PRIORITY);
	if (ret >= 0)
		ret = sd_event_add_defer(event, &client->again, on_again, client);
	if (ret >= 0)
		ret = sd_event_source_set_priority(client->again, CTL_EVENT_PRIORITY);
	if (ret >= 0)
		ret = sd_event_source_set_enabled(client->again, SD_EVENT_OFF);
	if (ret >= 0)
		ret = sd_event_add_time_relative(event, &client->deadline, CLOCK_MONOTONIC,
						 CTL_NEGOTIATE_MS * 1000ULL, 0, on_deadline, client);
	return ret < 0 ? ret : 0;
}

static void greet(struct ctl_client *client)
{
	json_t *hello = json_pack("{s:{s:o, s:[]}}", "QMP", "version", cmd_version(), "capabilities");

	client_send_line(client, reply_message(hello));
	json_decref(hello);
}

int session_begin(struct ctl_sessions *sessions, int fd)
{
	struct ctl_client *client;
	int ret = client_new(&client, &sessions->clients, fd);

	if (ret)
		return ret;
	client->sessions = sessions;
	ret = add_sources(client);
	if (ret) {
		client_free(client);
		return ret;
	}
	greet(client);
	return 0;
}
