// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user server: sockets, QEMU's connections and processes, and the
 * lender's hooks; the implementation of vhost.h. What a message means is
 * protocol.c's; what a queue does is device.c's.
 */
#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/bus.h"
#include "../base/cleanup.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/porter.h"
#include "assigned.h"
#include "device.h"
#include "peerfd.h"
#include "protocol.h"
#include "start_mark.h"
#include "way_back.h"

#define MESSAGES_PER_TURN 16	/* of one connection in one turn of the event loop */
#define RECEIPT_US (20 * USEC_PER_SEC)	/* a peer whose descriptors take longer to receive goes */
#define ACCEPTS_OF_WASTE_PER_MINUTE 10
#define ACCEPTS_PER_SECOND 100	/* a VM's socket is not looked at more often */
#define USEC_PER_SEC 1000000ULL
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77		/* <asm-generic/socket.h> of Linux 6.5 */
#endif

struct vhost_server {
	sd_event *event;
	struct lender *lender;
	struct vhost_store store;
	struct vhost_device *devices;
};

static void server_forget_receipt(struct vhost_device *d)
{
	d->receipt_source = sd_event_source_disable_unref(d->receipt_source);
	d->receipt_limit = sd_event_source_disable_unref(d->receipt_limit);
}

static void server_close_stream(struct vhost_device *d)
{
	server_forget_receipt(d);
	d->stream_source = sd_event_source_disable_unref(d->stream_source);
	message_stream_close(&d->stream);
}

/* QEMU may have become another user since it connected: it shall be able to come again. */
static void server_let_back(struct vhost_device *d)
{
	struct vm_status status;
	int ret;

	lend_vm_status(d->vm, &status);
	ret = status.pid ? way_back_open(d->path, status.pid) : 0;
	if (ret < 0 && ret != -ENOENT && ret != -ESRCH && quiet_allows(&d->quiet, d->event))
		ml_warn("vm %s: %s: its QEMU's user cannot be let in: %s; if that is not the daemon's own, it cannot connect again",
			lend_vm_name(d->vm), d->path, strerror(-ret));
}

/* The connection ends; the VM goes on. why: for the log, or NULL. */
static void server_disconnect(struct vhost_device *d, const char *why)
{
	if (quiet_allows(&d->quiet, d->event)) {
		if (why)
			ml_warn("vm %s: QEMU's connection is closed: %s", lend_vm_name(d->vm), why);
		else
			ml_info("vm %s: QEMU disconnected", lend_vm_name(d->vm));
	}
	server_close_stream(d);
	device_disconnected(d);
	lend_vm_detach(d->vm);
	server_let_back(d);
}

/* Free all that this process keeps for the VM: sockets, sources, the device. */
static void server_remove(struct vhost_device *d)
{
	struct vhost_device **p = &d->server->devices;

	while (*p != d)
		p = &(*p)->next;
	*p = d->next;
	lend_vm_set_user(d->vm, NULL);
	d->listen_source = sd_event_source_disable_unref(d->listen_source);
	d->pid_source = sd_event_source_disable_unref(d->pid_source);
	server_close_stream(d);
	ml_stop_listening(d->owner, d->listen_fd);
	if (d->pidfd >= 0)
		close(d->pidfd);
	free(d->path);
	free(d->start_mark);
	device_free(d);
}

/* What QEMU makes beside them is QEMU's. */
static void server_unlink(struct vhost_device *d)
{
	unlink(d->path);
	start_mark_clear(d->start_mark);
}

static int process_ended(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct vhost_device *d = arg;
	struct lend_vm *vm = d->vm;

	(void)source, (void)fd, (void)events;
	server_unlink(d);
	uffd_drop(d);
	server_remove(d);
	lend_vm_end(vm, "QEMU's process ended");
	return 0;
}

/* Watch QEMU's process by a copy of the lender's pidfd: the lender may close its own at any time. */
static int server_watch_process(struct vhost_device *d)
{
	int fd = lend_vm_pidfd(d->vm);

	d->pid_source = sd_event_source_disable_unref(d->pid_source);
	if (d->pidfd >= 0)
		close(d->pidfd);
	d->pidfd = -1;
	if (fd < 0)
		return 0;
	d->pidfd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (d->pidfd < 0)
		return -errno;
	return sd_event_add_io(d->event, &d->pid_source, d->pidfd, EPOLLIN, process_ended, d);
}

/* One message, if a whole one is there. 1: handled. 0: not there. < 0: closed. */
static int server_one_message(struct vhost_device *d)
{
	struct ml_why why = { "" };
	int r = message_receive(&d->stream, &why);

	if (r > 0) {
		r = protocol_handle(d, &d->stream.in, &why);
		message_done(&d->stream);
		if (r == 0)
			return 1;
	}
	if (r == -ENOBUFS)
		ml_refuse(&why, r, "QEMU sends messages but reads no replies");
	if (r < 0)
		server_disconnect(d, why.text[0] && r != -ECONNRESET ? why.text : NULL);
	return r;
}

/*
 * Messages after a reset wait until the reset is done (vhost_on_config_changed()), and those
 * after one with descriptors until the porter has these (receipt_ready()).
 */
static bool server_pauses(const struct vhost_device *d)
{
	return lend_resetting(d->vm) || d->stream.receipt >= 0;
}

static void server_set_enabled(struct vhost_device *d)
{
	if (d->stream_source)
		sd_event_source_set_enabled(d->stream_source,
					    server_pauses(d) ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int receipt_ready(sd_event_source *source, int fd, uint32_t events, void *arg);

static int receipt_late(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source, (void)usec;
	server_disconnect(arg, "its descriptors could not be received for 20 s: closing those that it sent earlier takes for ever");
	return 0;
}

/* Watch for what the porter receives, if it does. < 0: closed. */
static int server_await_receipt(struct vhost_device *d)
{
	int r;

	if (d->stream.receipt < 0 || d->receipt_source)
		return 0;
	r = sd_event_add_io(d->event, &d->receipt_source, d->stream.receipt, EPOLLIN,
			    receipt_ready, d);
	if (r >= 0)
		r = sd_event_add_time_relative(d->event, &d->receipt_limit, CLOCK_MONOTONIC,
					       RECEIPT_US, 0, receipt_late, d);
	if (r < 0)
		server_disconnect(d, strerror(-r));
	return r;
}

/* What has come, some of it; the connection may be closed afterwards. */
static void server_turn(struct vhost_device *d)
{
	int r = 1;

	for (int i = 0; r > 0 && i < MESSAGES_PER_TURN && !lend_resetting(d->vm); i++)
		r = server_one_message(d);
	if (r >= 0)
		r = server_await_receipt(d);
	if (r >= 0) {
		server_set_enabled(d);
		sd_event_source_set_io_events(d->stream_source, EPOLLIN |
					      (message_unsent(&d->stream) ? EPOLLOUT : 0));
	}
}

static int receipt_ready(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct vhost_device *d = arg;
	struct ml_why why = { "" };
	int r;

	(void)source, (void)fd, (void)events;
	/* The source goes before its descriptor does. */
	server_forget_receipt(d);
	r = message_received(&d->stream, &why);
	if (r < 0)
		server_disconnect(d, why.text[0] && r != -ECONNRESET ? why.text : NULL);
	else
		server_turn(d);
	return 0;
}

static int stream_ready(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct vhost_device *d = arg;

	(void)source, (void)fd;
	if (events & EPOLLOUT && message_flush(&d->stream) < 0)
		server_disconnect(d, NULL);
	else
		server_turn(d);
	return 0;
}

/* Is there a connection already? One whose peer hung up is closed, and gives way to a new one. */
static bool server_connected(struct vhost_device *d)
{
	struct pollfd p = { .fd = d->stream.fd, .events = POLLRDHUP };
	char byte;

	if (d->stream.fd < 0)
		return false;
	/*
	 * While messages are not read, a peer that hung up cannot be told by reading. Its unread
	 * messages go with it.
	 */
	if (server_pauses(d) && poll(&p, 1, 0) == 1) {
		server_disconnect(d, NULL);
		return false;
	}
	if (recv(d->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
		return true;
	server_disconnect(d, NULL);
	return false;
}

/*
 * The pidfd of whoever connected: by its number alone, another process could have it by
 * now. -1 before Linux 6.5. -ESRCH, or as getsockopt().
 */
static int peer_pidfd(int fd, int *pidfd)
{
	socklen_t size = sizeof(*pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, pidfd, &size) == 0)
		return 0;
	*pidfd = -1;
	return errno == ENOPROTOOPT ? 0 : -errno;
}

static int server_admit(struct vhost_device *d, int fd, struct ml_why *why)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);
	int pidfd, r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
		return ml_refuse(why, -EPERM, "the kernel does not name its process");
	if (server_connected(d))
		return ml_refuse(why, -EBUSY, "process %d comes while another connection is open: is QEMU started twice?",
				 peer.pid);
	if (assigned_check(peer.pid, why) < 0)
		return -EPERM;
	r = peer_pidfd(fd, &pidfd);
	if (r == 0)
		r = lend_vm_attach(d->vm, peer.pid, pidfd);
	if (r == -EBUSY)
		return ml_refuse(why, r, "process %d is not this VM's QEMU, which is still running: is it started twice?",
				 peer.pid);
	if (r == -ENOSPC)
		return ml_refuse(why, r, "process %d came too late: %s", peer.pid,
				 lend_vm_refused(d->vm));
	if (r < 0)
		return ml_refuse(why, r, "process %d: %s", peer.pid, strerror(-r));
	start_mark_clear(d->start_mark);
	return 0;
}

static int listen_ready(sd_event_source *source, int listen_fd, uint32_t events, void *arg)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct vhost_device *d = arg;
	struct ml_why why;
	int r;

	(void)source, (void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR &&
		    quiet_allows(&d->quiet, d->event))
			ml_err("vm %s: a connection cannot be accepted: %s", lend_vm_name(d->vm),
			       strerror(errno));
		return 0;
	}
	if (server_admit(d, fd, &why) < 0) {
		if (quiet_allows(&d->quiet, d->event))
			ml_warn("vm %s: a connection is refused: %s", lend_vm_name(d->vm),
				why.text);
		if (!ml_hang_up(d->owner, fd))
			/* No QEMU does that. It costs a process each time, so not often any more. */
			sd_event_source_set_ratelimit(d->listen_source, 60 * USEC_PER_SEC,
						      ACCEPTS_OF_WASTE_PER_MINUTE);
		return 0;
	}
	message_stream_init(&d->stream, fd, d->owner);
	r = server_watch_process(d);
	if (r >= 0)
		r = sd_event_add_io(d->event, &d->stream_source, d->stream.fd, EPOLLIN,
				    stream_ready, d);
	if (r < 0)
		server_disconnect(d, strerror(-r));
	else if (quiet_allows(&d->quiet, d->event))
		ml_info("vm %s: QEMU connected", lend_vm_name(d->vm));
	return 0;
}

/* A socket of an earlier daemon gives way; anything else stays. */
static int clear_path(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlink(path) < 0 ? -errno : 0;
}

static int open_socket(const char *path, int *out)
{
	ml_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	r = clear_path(path);
	if (r < 0)
		return r;
	/* bind() makes the file with the socket's own mode: there is no moment with another. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 4) < 0)
		return -errno;
	*out = ml_steal_fd(&fd);
	return 0;
}

/* Has it a QEMU? A former daemon may have died between the record and the file. */
static int server_mark(struct vhost_device *d)
{
	struct vm_status status;

	lend_vm_status(d->vm, &status);
	if (!status.pid)
		return start_mark_set(d->start_mark);
	start_mark_clear(d->start_mark);
	return 0;
}

static int server_listen(struct vhost_device *d, const char *path)
{
	int r;

	d->path = strdup(path);
	d->start_mark = start_mark_path(path);
	if (!d->path || !d->start_mark)
		return -ENOMEM;
	r = open_socket(path, &d->listen_fd);
	if (r == 0)
		r = server_mark(d);
	if (r < 0)
		return r;
	server_let_back(d);
	r = sd_event_add_io(d->event, &d->listen_source, d->listen_fd, EPOLLIN, listen_ready, d);
	if (r < 0)
		return r;
	r = sd_event_source_set_ratelimit(d->listen_source, USEC_PER_SEC, ACCEPTS_PER_SECOND);
	if (r < 0)
		return r;
	return server_watch_process(d);
}

int vhost_vm_listen(struct vhost_server *s, struct lend_vm *vm, const char *path)
{
	struct vhost_device *d;
	int r;

	if (lend_vm_user(vm))
		return -EALREADY;
	r = device_new(&d, s->event, vm);
	if (r < 0)
		return r;
	d->server = s;
	d->store = &s->store;
	d->next = s->devices;
	s->devices = d;
	lend_vm_set_user(vm, d);
	r = server_listen(d, path);
	if (r < 0) {
		ml_err("vm %s: cannot listen at %s: %s", lend_vm_name(vm), path, strerror(-r));
		server_remove(d);
	}
	return r;
}

int vhost_vm_adopt_uffd(struct lend_vm *vm, int fd)
{
	struct vhost_device *d = lend_vm_user(vm);
	uint64_t hva[MEMLEASE_REGION_COUNT], window_gpa;

	if (!d || !ml_fd_is_anon(fd, "userfaultfd") || !lend_vm_layout(vm, hva, &window_gpa)) {
		ml_warn("vm %s: the stored descriptor %d is of no use: %s", lend_vm_name(vm), fd,
			d && ml_fd_is_anon(fd, "userfaultfd") ? "the VM's record has no layout"
						: "it is not a userfaultfd");
		if (d)
			uffd_drop(d);
		ml_porter_dispose(d ? d->owner : 0, fd);
		return -EINVAL;
	}
	return uffd_adopt(d, fd, hva);
}

void vhost_vm_forget(struct lend_vm *vm)
{
	struct vhost_device *d = lend_vm_user(vm);

	if (!d)
		return;
	server_unlink(d);
	uffd_drop(d);
	server_remove(d);
}

int vhost_new(struct vhost_server **out, sd_event *event, struct lender *lender,
	      const struct vhost_store *store)
{
	struct vhost_server *s;
	int r = peerfd_init();

	if (r == 0)
		r = ml_bus_init();
	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->event = sd_event_ref(event);
	s->lender = lender;
	if (store)
		s->store = *store;
	*out = s;
	return 0;
}

void vhost_free(struct vhost_server *s)
{
	if (!s)
		return;
	while (s->devices)
		server_remove(s->devices);
	sd_event_unref(s->event);
	free(s);
}

void vhost_on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct vhost_device *d = lend_vm_user(vm);

	(void)ctx;
	if (!d)
		return;
	touch_wake(&d->touch, region, slot);
	/* A queue may have waited for it, too. */
	if (region == MEMLEASE_REGION_BOOT)
		device_schedule(d);
}

void vhost_on_config_changed(void *ctx, struct lend_vm *vm)
{
	struct vhost_device *d = lend_vm_user(vm);

	(void)ctx;
	if (!d)
		return;
	d->config_changed = true;
	device_schedule(d);
	if (!server_pauses(d))
		server_set_enabled(d);
}

void vhost_on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			  uint32_t seq, uint64_t a, uint64_t b)
{
	struct vhost_device *d = lend_vm_user(vm);
	bool ok = false;

	(void)ctx;
	if (!d)
		return;
	if (type == MEMLEASE_EV_TARGET)
		ok = event_note_target(&d->events, seq, a, b);
	else if (type == MEMLEASE_EV_REPORT_NOW)
		ok = event_note_report_now(&d->events, seq);
	else if (type == MEMLEASE_EV_RETIRED)
		ok = event_note_retired(&d->events, (enum memlease_region)seq, a, b);
	if (!ok)
		ml_err("vm %s: event %d cannot be noted", lend_vm_name(vm), type);
	device_schedule(d);
}
