// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One connection of the control socket: negotiation, commands in order, answers,
 * bounds. Called by ctl.c, events.c and the event loop. A client that floods is
 * slowed down, because nothing is read while its answers wait; one that does not
 * read is cut off.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "server.h"
#include "version.h"

static void step_client(struct ctl_client *client);

int ctl_fail(struct ctl_call *call, const char *error_class, const char *fmt, ...)
{
	va_list ap;

	call->error_class = error_class;
	va_start(ap, fmt);
	vsnprintf(call->desc, sizeof(call->desc), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

const char *ctl_arg_string(const struct ctl_call *call, const char *name)
{
	return json_string_value(json_object_get(call->args, name));
}

json_int_t ctl_arg_int(const struct ctl_call *call, const char *name, json_int_t fallback)
{
	const json_t *value = json_object_get(call->args, name);

	return value ? json_integer_value(value) : fallback;
}

bool ctl_arg_given(const struct ctl_call *call, const char *name)
{
	return json_object_get(call->args, name) != NULL;
}

struct ctl_client *client_find(struct ctl_server *server, uint64_t serial)
{
	size_t i;

	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (server->clients[i] && server->clients[i]->serial == serial)
			return server->clients[i];
	}
	return NULL;
}

void client_doom(struct ctl_client *client)
{
	client->doomed = true;
	sd_event_source_set_enabled(client->io, SD_EVENT_OFF);
	sd_event_source_set_enabled(client->again, SD_EVENT_OFF);
	sd_event_source_set_enabled(client->server->reaper, SD_EVENT_ON);
}

/* Cuts off the client that keeps most unread; false if there is none. */
static bool doom_largest(struct ctl_server *server)
{
	struct ctl_client *largest = NULL;
	size_t i;

	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct ctl_client *client = server->clients[i];

		if (client && !client->doomed &&
		    (!largest || wire_out_pending(&client->out) > wire_out_pending(&largest->out)))
			largest = client;
	}
	if (!largest)
		return false;
	ml_warn("control socket: a client of uid %u does not read: cut off", largest->uid);
	client_doom(largest);
	server->out_total -= wire_out_pending(&largest->out);
	wire_out_done(&largest->out);
	return true;
}

/* What the loop shall wake us for. */
static void update_interest(struct ctl_client *client)
{
	size_t pending = wire_out_pending(&client->out);
	uint32_t events = pending ? EPOLLOUT : 0;

	if (client->doomed)
		return;
	if (!client->eof && !client->waiting && pending < CTL_OUT_PAUSE_BYTES)
		events |= EPOLLIN;
	sd_event_source_set_io_events(client->io, events);
}

static void flush(struct ctl_client *client)
{
	size_t before = wire_out_pending(&client->out);
	int ret = wire_out_flush(&client->out, client->fd);

	client->server->out_total -= before - wire_out_pending(&client->out);
	if (ret)
		client_doom(client);
}

void client_send(struct ctl_client *client, const char *text, size_t len)
{
	struct ctl_server *server = client->server;

	if (client->doomed)
		return;
	if (wire_out_pending(&client->out) + len > CTL_OUT_MAX_BYTES) {
		ml_warn("control socket: a client of uid %u does not read: cut off", client->uid);
		client_doom(client);
		return;
	}
	if (wire_out_put(&client->out, text, len)) {
		client_doom(client);
		return;
	}
	server->out_total += len;
	flush(client);
	while (server->out_total > CTL_OUT_TOTAL_BYTES && doom_largest(server))
		;
	update_interest(client);
}

/* {"return": ..., "id": ...} and the like; takes message, which may be NULL (out of memory). */
static void send_json(struct ctl_client *client, json_t *message, json_t *id)
{
	ml_autofree char *text = NULL;
	size_t len;

	if (message && id && json_object_set(message, "id", id)) {
		json_decref(message);
		message = NULL;
	}
	text = message ? json_dumps(message, 0) : NULL;
	json_decref(message);
	if (!text) {
		client_doom(client);
		return;
	}
	/* The newline takes the place of the NUL. */
	len = strlen(text);
	text[len] = '\n';
	client_send(client, text, len + 1);
}

static void send_error(struct ctl_client *client, const char *error_class, const char *desc,
		       json_t *id)
{
	char plain[CTL_DESC_MAX];
	json_t *text = json_string(desc);
	size_t i;

	/* A value cut short may end inside a character, and is then no UTF-8 any more. */
	if (!text) {
		for (i = 0; desc[i] && i < sizeof(plain) - 1; i++)
			plain[i] = (unsigned char)desc[i] < 0x80 ? desc[i] : '?';
		plain[i] = '\0';
		text = json_string(plain);
	}
	send_json(client, json_pack("{s:{s:s, s:o}}", "error", "class", error_class, "desc", text),
		  id);
}

void client_answer_later(struct ctl_client *client, const char *result, const char *error_class,
			 const char *desc)
{
	json_t *id = client->waiting_id;

	client->waiting = false;
	client->waiting_id = NULL;
	if (result) {
		ml_autofree char *id_text = id ? json_dumps(id, JSON_ENCODE_ANY) : NULL;
		ml_autofree char *text = NULL;
		int len = asprintf(&text, "{\"return\": %s%s%s}\n", result,
				   id_text ? ", \"id\": " : "", id_text ? id_text : "");

		if (len < 0) {
			text = NULL;
			client_doom(client);
		} else {
			client_send(client, text, (size_t)len);
		}
	} else {
		send_error(client, error_class, desc, id);
	}
	json_decref(id);
	step_client(client);
}

/* qmp_capabilities changes the connection and not the daemon, so it is dealt with here. */
static int negotiate(struct ctl_call *call)
{
	json_t *enable = json_object_get(call->args, "enable");

	if (call->client->negotiated)
		return ctl_fail(call, "CommandNotFound",
				"Capabilities negotiation is already complete, command ignored");
	if (json_array_size(enable))
		return ctl_fail(call, "InvalidArgument",
				"qmp_capabilities: there is no capability '%.63s'; leave 'enable' out",
				json_string_value(json_array_get(enable, 0)));
	call->client->negotiated = true;
	sd_event_source_set_enabled(call->client->deadline, SD_EVENT_OFF);
	return 0;
}

static int run_command(struct ctl_call *call)
{
	ctl_handler handler;
	int ret;

	if (!call->client->negotiated && strcmp(call->command, "qmp_capabilities"))
		return ctl_fail(call, "CommandNotFound",
				"Expecting capabilities negotiation with 'qmp_capabilities'");
	ret = ctl_schema_check(call->server->schema, call->command, call->args, call->desc,
			       sizeof(call->desc));
	if (ret) {
		call->error_class = ret == -ENOENT ? "CommandNotFound" : "InvalidArgument";
		return ret;
	}
	if (!strcmp(call->command, "qmp_capabilities"))
		return negotiate(call);
	handler = ctl_find_handler(call->command);
	if (!handler)
		return ctl_fail(call, "CommandNotFound", "The command %s is not there", call->command);
	ret = handler(call);
	if (ret && !call->error_class)
		ctl_fail(call, "GenericError", "%s: %s", call->command, strerror(-ret));
	return ret;
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

static void handle_message(struct ctl_client *client, const char *text, size_t len)
{
	struct ctl_call call = { .server = client->server, .client = client };
	json_error_t error;
	json_t *message = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	json_t *id = json_object_get(message, "id");

	if (!message) {
		snprintf(call.desc, sizeof(call.desc), "JSON parse error, %.200s at byte %d", error.text,
			 error.position);
		send_error(client, "GenericError", call.desc, NULL);
		return;
	}
	if (!take_apart(&call, message))
		run_command(&call);
	if (call.later) {
		client->waiting = true;
		client->waiting_id = json_incref(id);
	} else if (call.error_class) {
		send_error(client, call.error_class, call.desc, id);
	} else {
		if (!call.result)
			call.result = json_object();
		send_json(client, json_pack("{s:O}", "return", call.result), id);
	}
	json_decref(call.result);
	json_decref(message);
}

/* One thing out of the input buffer; false if there is nothing to be done now. */
static bool step_once(struct ctl_client *client)
{
	const char *message, *why;
	char desc[128];
	size_t len;
	int ret;

	if (client->doomed || client->waiting ||
	    wire_out_pending(&client->out) >= CTL_OUT_PAUSE_BYTES)
		return false;
	ret = wire_in_next(&client->in, &message, &len, &why);
	if (ret == 1) {
		handle_message(client, message, len);
	} else if (ret == -EBADMSG) {
		snprintf(desc, sizeof(desc), "JSON parse error, %s", why);
		send_error(client, "GenericError", desc, NULL);
	} else if (ret == -EMSGSIZE) {
		snprintf(desc, sizeof(desc), "A message has at most %d bytes; goodbye",
			 WIRE_MESSAGE_MAX_BYTES);
		send_error(client, "GenericError", desc, NULL);
		client_doom(client);
	} else if (client->eof && !wire_out_pending(&client->out)) {
		client_doom(client);
	}
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
	update_interest(client);
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
	ssize_t n;

	if (!space)
		return;
	n = recv(client->fd, at, space, MSG_DONTWAIT);
	if (n > 0)
		wire_in_filled(&client->in, (size_t)n);
	else if (n == 0)
		client->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		client_doom(client);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct ctl_client *client = ctx;

	(void)source;
	(void)fd;
	if (revents & EPOLLOUT)
		flush(client);
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
	sd_event *event = client->server->config.event;
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
	send_json(client, json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[]}}", "QMP", "version",
				    "qemu", "major", ML_VERSION_MAJOR, "minor", ML_VERSION_MINOR,
				    "micro", ML_VERSION_MICRO, "package", "memlease " ML_VERSION,
				    "capabilities"), NULL);
}

int client_new(struct ctl_server *server, int fd)
{
	struct ctl_client *client = calloc(1, sizeof(*client));
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);
	size_t place = 0;
	int ret;

	if (!client) {
		close(fd);
		return -ENOMEM;
	}
	while (server->clients[place])
		place++;
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	client->uid = cred.uid;
	client->server = server;
	client->fd = fd;
	client->serial = ++server->next_serial;
	server->clients[place] = client;
	server->client_count++;
	ret = wire_in_init(&client->in);
	if (!ret)
		ret = add_sources(client);
	if (ret) {
		client_free(client);
		return ret;
	}
	greet(client);
	return 0;
}

void client_free(struct ctl_client *client)
{
	struct ctl_server *server = client->server;
	size_t i;

	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (server->clients[i] == client)
			server->clients[i] = NULL;
	}
	server->client_count--;
	server->out_total -= wire_out_pending(&client->out);
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->again);
	sd_event_source_disable_unref(client->deadline);
	wire_in_done(&client->in);
	wire_out_done(&client->out);
	json_decref(client->waiting_id);
	close(client->fd);
	free(client);
}
