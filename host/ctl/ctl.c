// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket's server: listens, and takes clients in up to a bound. Called by
 * daemon/.
 */
#include "ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/log.h"
#include "../base/porter.h"
#include "announce.h"
#include "bill_jobs.h"
#include "commands.h"
#include "session.h"

#define CTL_ACCEPTS_OF_WASTE_PER_S 10	/* once somebody sends descriptors unasked */
#define CTL_REST_US 500000	/* after a client that could not be accepted */

struct ctl_server {
	struct ctl_sessions sessions;
	int listen_fd;
	sd_event_source *accept;
	sd_event_source *rest;		/* NULL: clients are accepted */
};

static void turn_away(int fd)
{
	static const char text[] = "{\"error\": {\"class\": \"GenericError\", \"desc\": "
		"\"Too many clients on the control socket; end one of them\"}}\r\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/*
 * No user locks the others out, and nobody root: not even the daemon's own user, who may be
 * that of the QEMUs as well.
 */
static bool has_room(const struct ctl_server *server, uid_t uid)
{
	const struct ctl_clients *clients = &server->sessions.clients;

	if (uid == 0)
		return clients->count < CTL_CLIENTS_MAX;
	return clients->count < CTL_CLIENTS_MAX - CTL_CLIENTS_RESERVED &&
	       clients_of(clients, uid) < CTL_CLIENTS_OF_UID_MAX;
}

static int on_rested(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct ctl_server *server = ctx;

	(void)usec;
	(void)source;
	server->rest = sd_event_source_disable_unref(server->rest);
	return sd_event_source_set_enabled(server->accept, SD_EVENT_ON);
}

/* Who cannot be accepted stays in the queue, and would wake the event loop again and again. */
static void rest(struct ctl_server *server, int error)
{
	ml_warn("control socket: no client can be accepted now: %s", strerror(error));
	if (sd_event_add_time_relative(server->sessions.config.event, &server->rest, CLOCK_MONOTONIC,
				       CTL_REST_US, 0, on_rested, server) >= 0)
		sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *ctx)
{
	struct ctl_server *server = ctx;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);

	(void)source;
	(void)revents;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			rest(server, errno);
		return 0;
	}
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	if (!has_room(server, cred.uid)) {
		turn_away(fd);
		if (!ml_hang_up(cred.uid, fd))
			sd_event_source_set_ratelimit(server->accept, 1000000, CTL_ACCEPTS_OF_WASTE_PER_S);
		return 0;
	}
	if (session_begin(&server->sessions, fd))
		ml_warn("control socket: a client was turned away: out of memory");
	return 0;
}

static int open_server(struct ctl_server *server)
{
	struct ctl_sessions *shared = &server->sessions;
	sd_event *event = shared->config.event;
	struct ml_why why = { "out of memory" };
	int ret = commands_load(&shared->schema, &why);

	if (ret) {
		ml_err("schema.json: %s", why.text);
		return ret;
	}
	ret = clients_init(&shared->clients, event);
	if (!ret)
		ret = bill_jobs_new(&shared->bills, &shared->clients, &shared->config);
	if (!ret)
		ret = sd_event_add_io(event, &server->accept, server->listen_fd, EPOLLIN,
				      on_accept, server);
	if (ret >= 0)
		ret = sd_event_source_set_priority(server->accept, CTL_EVENT_PRIORITY);
	return ret < 0 ? ret : 0;
}

int ctl_new(struct ctl_server **out, const struct ctl_config *config, int listen_fd)
{
	struct ctl_server *server = calloc(1, sizeof(*server));
	int ret;

	if (!server) {
		close(listen_fd);
		return -ENOMEM;
	}
	server->sessions.config = *config;
	server->listen_fd = listen_fd;
	sd_event_ref(config->event);
	json_object_seed(0);	/* reads a file; not possible later, in the sandbox */
	ret = open_server(server);
	if (ret) {
		ctl_free(server);
		return ret;
	}
	*out = server;
	return 0;
}

void ctl_free(struct ctl_server *server)
{
	if (!server)
		return;
	clients_done(&server->sessions.clients);
	bill_jobs_free(server->sessions.bills);
	sd_event_source_disable_unref(server->rest);
	sd_event_source_disable_unref(server->accept);
	ml_stop_listening(0, server->listen_fd);
	sd_event_unref(server->sessions.config.event);
	ctl_schema_free(server->sessions.schema);
	free(server);
}

void ctl_lend_event(struct ctl_server *server, const struct lend_event *event)
{
	/* Without a server (start-up) there is nobody to tell. */
	if (server)
		announce_lend_event(&server->sessions.config, &server->sessions.clients, event);
}

void ctl_keep_lend_event(struct ctl_notices *notices, const struct lend_event *event,
			 const struct ml_clock *clock)
{
	announce_keep(notices, event, ml_wall_ms(clock));
}

void ctl_set_plans(struct ctl_server *server, const struct plans *plans,
		   struct ctl_notices *notices, const char *why, const struct ml_clock *clock)
{
	struct ctl_notice read = { .event = "PLANS_READ", .wall_ms = ml_wall_ms(clock) };
	const struct ctl_notice *n = &read;

	ctl_notice_drop(notices, "PLANS_REFUSED", NULL);
	if (why)
		n = ctl_notice_add(notices, "PLANS_REFUSED", NULL, why, ml_wall_ms(clock));
	if (!server)
		return;
	server->sessions.config.plans = plans;
	if (n)
		announce_notice(&server->sessions.clients, n);
}
