// SPDX-License-Identifier: GPL-2.0-or-later
/* Notifications that never wait; see notify.h. */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../base/fdmsg.h"
#include "../base/log.h"
#include "../base/porter.h"

#define AGAIN_US 1000000	/* until what was not taken is said again */
#define NAME_BYTES 256

/* One thing that the store was not told yet; a name has one at most. */
struct untold {
	struct untold *next;
	char name[NAME_BYTES];
	int fd;			/* our own copy, or -1: drop */
};

static int to = -1;
static struct untold *untold;
static sd_event_source *timer;
static uint64_t every_us;
static bool watched;

static void connect_to_manager(const char *address)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(address);

	if (len < 2 || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, address, len);
	if (address[0] == '@')
		addr.sun_path[0] = '\0';
	to = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (to < 0 || connect(to, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len))) {
		ml_warn("%s, of NOTIFY_SOCKET, cannot be reached: %s", address, strerror(errno));
		notify_close();
	}
}

void notify_open(void)
{
	const char *keeper = getenv(KEEP_LINK_ENV), *manager = getenv("NOTIFY_SOCKET");

	if (to >= 0)
		return;
	if (keeper) {
		to = atoi(keeper);
		if (fcntl(to, F_SETFD, FD_CLOEXEC) < 0)
			to = -1;
	} else if (manager) {
		connect_to_manager(manager);
	}
}

bool notify_present(void)
{
	return to >= 0;
}

void notify_say(const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (to < 0)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ml_fdmsg_send(to, text, strlen(text), NULL, 0);
}

static int tell_store(const char *name, int fd)
{
	char text[NAME_BYTES + 64];
	int ret;

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	ret = ml_fdmsg_send(to, text, strlen(text), NULL, 0);
	if (ret || fd < 0)
		return ret;
	/* A userfaultfd is readable for reasons of its own; the store shall not drop it for that. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return ml_fdmsg_send(to, text, strlen(text), &fd, 1);
}

static struct untold *take_untold(const char *name)
{
	struct untold **at = &untold, *u;

	while ((u = *at) && strcmp(u->name, name))
		at = &u->next;
	if (u)
		*at = u->next;
	return u;
}

static void free_untold(struct untold *u)
{
	if (u)
		ml_porter_dispose(0, u->fd);
	free(u);
}

void notify_store(const char *name, int fd)
{
	struct untold *u;
	int ret;

	if (to < 0)
		return;
	free_untold(take_untold(name));
	ret = tell_store(name, fd);
	if (ret != -EAGAIN && ret != -ENOBUFS) {
		if (ret && fd >= 0)
			ml_warn("descriptor store: %s was not taken: %s; after a restart touches wait for QEMU's reconnect",
				name, strerror(-ret));
		return;
	}
	u = calloc(1, sizeof(*u));
	if (!u)
		return;
	snprintf(u->name, sizeof(u->name), "%s", name);
	u->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	u->next = untold;
	untold = u;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)usec, (void)ctx;
	if (watched)
		notify_say("WATCHDOG=1");
	while (untold && tell_store(untold->name, untold->fd) != -EAGAIN)
		free_untold(take_untold(untold->name));
	sd_event_source_set_time_relative(source, every_us);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int notify_watch(sd_event *event)
{
	uint64_t limit_us = 0;
	int ret;

	if (to < 0)
		return 0;
	watched = sd_watchdog_enabled(0, &limit_us) > 0;
	every_us = watched && limit_us / 3 < AGAIN_US ? limit_us / 3 : AGAIN_US;
	ret = sd_event_add_time_relative(event, &timer, CLOCK_MONOTONIC, every_us, 0, on_timer, NULL);
	return ret < 0 ? ret : 0;
}

void notify_close(void)
{
	struct untold *u;

	timer = sd_event_source_disable_unref(timer);
	while ((u = untold)) {
		untold = u->next;
		free_untold(u);
	}
	if (to >= 0)
		close(to);
	to = -1;
}
