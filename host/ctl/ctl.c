// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket's server: listens, takes clients in up to a bound, and
 * frees those that are done for. Called by daemon/.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "bill_jobs.h"
#include "server.h"

#define LISTEN_BACKLOG 256

extern const char ml_embedded_schema_json[];

/* Is anybody behind the socket at path? */
static bool served(const struct sockaddr_un *addr)
{
	ml_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return true;
	return !connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN;
}

static int clear_way(const struct sockaddr_un *addr)
{
	struct stat st;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		ml_err("%s: there is something that is no socket; move it away", addr->sun_path);
		return -EEXIST;
	}
	if (served(addr)) {
		ml_err("%s: another process serves this socket; end it, or give another --run-dir",
		       addr->sun_path);
		return -EADDRINUSE;
	}
	return unlink(addr->sun_path) ? -errno : 0;
}

int ctl_listen(const char *path, uid_t uid, gid_t gid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	ml_autoclose int fd = -1;
	mode_t mask;
	int ret;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		ml_err("%s: a socket's path has at most %zu bytes; give a shorter --run-dir", path,
		       sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	ret = clear_way(&addr);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Nobody else may connect before the mode is set. */
	mask = umask(0177);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	umask(mask);
	if (!ret && chown(path, uid, gid))
		ret = -errno;
	if (!ret && (chmod(path, 0660) || listen(fd, LISTEN_BACKLOG)))
		ret = -errno;
	if (ret) {
		ml_err("%s: cannot listen: %s", path, strerror(-ret));
		return ret;
	}
	return ml_steal_fd(&fd);
}

int ctl_vhost_path(const struct ctl_config *config, const char *vm, char *path, size_t size)
{
	struct sockaddr_un addr;
	int len = snprintf(path, size, "%s/%s.vhost.sock", config->vm_dir, vm);

	return len < 0 || (size_t)len >= size || (size_t)len >= sizeof(addr.sun_path) ?
		-ENAMETOOLONG : 0;
}

static void refuse(int fd)
{
	static const char text[] = "{\"error\": {\"class\": \"GenericError\", \"desc\": "
		"\"Too many clients on the control socket; end one of them\"}}\r\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The last places are for root and for the daemon's own user, so that no group member locks them out. */
static bool has_room(const struct ctl_server *server, int fd)
{
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);
	size_t max = CTL_CLIENTS_MAX;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ||
	    (cred.uid != 0 && cred.uid != geteuid()))
		max -= CTL_CLIENTS_RESERVED;
	return server->client_count < max;
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *ctx)
{
	struct ctl_server *server = ctx;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	if (fd < 0)
		return 0;
	if (!has_room(server, fd)) {
		refuse(fd);
		close(fd);
		return 0;
	}
	if (client_new(server, fd))
		ml_warn("control socket: a client was turned away: out of memory");
	return 0;
}

/* Clients are freed here, after every other source of the turn, never under a caller's feet. */
static int on_reap(sd_event_source *source, void *ctx)
{
	struct ctl_server *server = ctx;
	size_t i;

	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (server->clients[i] && server->clients[i]->doomed)
			client_free(server->clients[i]);
	}
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int ctl_new(struct ctl_server **out, const struct ctl_config *config, int listen_fd)
{
	struct ctl_server *server = calloc(1, sizeof(*server));
	char why[128] = "";
	int ret = -ENOMEM;

	if (!server) {
		close(listen_fd);
		return -ENOMEM;
	}
	server->config = *config;
	server->listen_fd = listen_fd;
	sd_event_ref(config->event);
	json_object_seed(0);	/* reads a file; not possible later, in the sandbox */
	ret = ctl_schema_load(&server->schema, ml_embedded_schema_json, why, sizeof(why));
	if (ret)
		ml_err("schema.json: %s", why);
	if (!ret)
		ret = bill_jobs_new(&server->bills, server);
	if (!ret)
		ret = sd_event_add_io(config->event, &server->accept, listen_fd, EPOLLIN,
				      on_accept, server);
	if (ret >= 0)
		ret = sd_event_source_set_priority(server->accept, CTL_EVENT_PRIORITY);
	if (ret >= 0)
		ret = sd_event_add_defer(config->event, &server->reaper, on_reap, server);
	if (ret >= 0)
		ret = sd_event_source_set_enabled(server->reaper, SD_EVENT_OFF);
	if (ret < 0) {
		ctl_free(server);
		return ret;
	}
	*out = server;
	return 0;
}

void ctl_free(struct ctl_server *server)
{
	size_t i;

	if (!server)
		return;
	for (i = 0; i < CTL_CLIENTS_MAX; i++) {
		if (server->clients[i])
			client_free(server->clients[i]);
	}
	bill_jobs_free(server->bills);
	sd_event_source_disable_unref(server->accept);
	sd_event_source_disable_unref(server->reaper);
	close(server->listen_fd);
	sd_event_unref(server->config.event);
	ctl_schema_free(server->schema);
	free(server);
}
