// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The clients of the control socket and what waits to be written to them; see client.h.
 * Called by session.c, by bill queries that are done, and for events.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/porter.h"
#include "reply.h"

struct ctl_client *clients_find(const struct ctl_clients *all, uint64_t serial)
{
	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (all->at[i] && all->at[i]->serial == serial)
			return all->at[i];
	}
	return NULL;
}

void client_doom(struct ctl_client *client)
{
	client->doomed = true;
	sd_event_source_set_enabled(client->io, SD_EVENT_OFF);
	sd_event_source_set_enabled(client->again, SD_EVENT_OFF);
	sd_event_source_set_enabled(client->all->reaper, SD_EVENT_ON);
}

/* Cuts off the client that keeps most unread; false if there is none. */
static bool doom_largest(struct ctl_clients *all)
{
	struct ctl_client *largest = NULL;
	size_t i;

	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct ctl_client *client = all->at[i];

		if (client && !client->doomed &&
		    (!largest || wire_out_pending(&client->out) > wire_out_pending(&largest->out)))
			largest = client;
	}
	if (!largest)
		return false;
	ml_warn("control socket: a client of uid %u does not read: cut off", largest->uid);
	client_doom(largest);
	all->out_total -= wire_out_pending(&largest->out);
	wire_out_done(&largest->out);
	return true;
}

void client_update_interest(struct ctl_client *client)
{
	size_t pending = wire_out_pending(&client->out);
	uint32_t events = pending ? EPOLLOUT : 0;

	if (client->doomed)
		return;
	if (!client->eof && !client->waiting && pending < CTL_OUT_PAUSE_BYTES)
		events |= EPOLLIN;
	sd_event_source_set_io_events(client->io, events);
}

void client_flush(struct ctl_client *client)
{
	size_t before = wire_out_pending(&client->out);
	int ret = wire_out_flush(&client->out, client->fd);

	client->all->out_total -= before - wire_out_pending(&client->out);
	if (ret)
		client_doom(client);
}

void client_send(struct ctl_client *client, const char *text, size_t len)
{
	struct ctl_clients *all = client->all;

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
	all->out_total += len;
	client_flush(client);
	while (all->out_total > CTL_OUT_TOTAL_BYTES && doom_largest(all))
		;
	client_update_interest(client);
}

void client_send_line(struct ctl_client *client, char *line)
{
	if (line)
		client_send(client, line, strlen(line));
	else
		client_doom(client);
	free(line);
}

void client_return(struct ctl_client *client, const char *result, const char *id)
{
	client_send_line(client, reply_line("return", result, id));
}

void client_send_error(struct ctl_client *client, const char *error_class, const char *desc,
		       const char *id)
{
	ml_autofree char *error = reply_error(error_class, desc);

	client_send_line(client, reply_line("error", error, id));
}

void client_wait(struct ctl_client *client, char *id)
{
	client->waiting = true;
	client->waiting_id = id;
}

void client_answer_later(struct ctl_client *client, const char *result, const char *error_class,
			 const char *desc)
{
	ml_autofree char *id = client->waiting_id;

	client->waiting = false;
	client->waiting_id = NULL;
	if (result)
		client_return(client, result, id);
	else
		client_send_error(client, error_class, desc, id);
	if (!client->doomed)
		sd_event_source_set_enabled(client->again, SD_EVENT_ONESHOT);
	client_update_interest(client);
}

size_t clients_of(const struct ctl_clients *all, uid_t uid)
{
	size_t n = 0;

	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++)
		n += all->at[i] && all->at[i]->uid == uid;
	return n;
}

/* Clients are freed here, after every other source of the turn, never under a caller's feet. */
static int on_reap(sd_event_source *source, void *ctx)
{
	struct ctl_clients *all = ctx;

	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (all->at[i] && all->at[i]->doomed)
			client_free(all->at[i]);
	}
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int clients_init(struct ctl_clients *all, sd_event *event)
{
	int ret = sd_event_add_defer(event, &all->reaper, on_reap, all);

	if (ret >= 0)
		ret = sd_event_source_set_enabled(all->reaper, SD_EVENT_OFF);
	return ret < 0 ? ret : 0;
}

void clients_done(struct ctl_clients *all)
{
	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (all->at[i])
			client_free(all->at[i]);
	}
	all->reaper = sd_event_source_disable_unref(all->reaper);
}

int client_new(struct ctl_client **out, struct ctl_clients *all, int fd)
{
	struct ctl_client *client = calloc(1, sizeof(*client));
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);
	size_t place = 0;

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	if (!client || wire_in_init(&client->in)) {
		free(client);
		ml_hang_up(cred.uid, fd);
		return -ENOMEM;
	}
	while (all->at[place])
		place++;
	ml_peek_prepare(fd);
	client->uid = cred.uid;
	client->all = all;
	client->fd = fd;
	client->serial = ++all->next_serial;
	all->at[place] = client;
	all->count++;
	*out = client;
	return 0;
}

void client_free(struct ctl_client *client)
{
	struct ctl_clients *all = client->all;

	for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (all->at[i] == client)
			all->at[i] = NULL;
	}
	all->count--;
	if (client->waiting && all->left)
		all->left(all->left_ctx, client->serial);
	all->out_total -= wire_out_pending(&client->out);
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->again);
	sd_event_source_disable_unref(client->deadline);
	wire_in_done(&client->in);
	wire_out_done(&client->out);
	free(client->waiting_id);
	ml_hang_up(client->uid, client->fd);
	free(client);
}
