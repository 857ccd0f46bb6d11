// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One VM's device: see device.h. Nothing here parses a message; protocol.c does.
 */
#include "device.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../base/log.h"
#include "../base/porter.h"
#include "peerfd.h"
#include "vhost_user.h"

#define OWNER_IS_VM (1ULL << 63)	/* and no user of the control socket */

static uint64_t last_owner;

uint64_t device_features(void)
{
	return 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_INDIRECT_DESC |
	       1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES |
	       1ULL << MEMLEASE_F_REPORTING | 1ULL << MEMLEASE_F_STATS |
	       1ULL << MEMLEASE_F_QUERY | 1ULL << MEMLEASE_F_WITHDRAW;
}

uint64_t device_protocol_features(void)
{
	return 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1ULL << VHOST_USER_PROTOCOL_F_BACKEND_REQ |
	       1ULL << VHOST_USER_PROTOCOL_F_CONFIG | 1ULL << VHOST_USER_PROTOCOL_F_RESET_DEVICE;
}

static bool device_broken(const struct vhost_device *d)
{
	struct memlease_config config;

	lend_vm_config(d->vm, &config);
	return config.broken_reason != 0;
}

static bool queue_started(const struct vhost_device *d, unsigned int i)
{
	return d->queue[i].kick_fd >= 0 && d->queue[i].enabled;
}

static int device_work(sd_event_source *source, void *arg);

/*
 * A new source each time: one that is switched on again keeps the place in the
 * loop's queue that it had at first, and would go before all other VMs.
 */
void device_schedule(struct vhost_device *d)
{
	int r;

	if (d->work_source)
		return;
	r = sd_event_add_defer(d->event, &d->work_source, device_work, d);
	if (r < 0)
		ml_err("vm %s: work cannot be scheduled: %s", lend_vm_name(d->vm), strerror(-r));
}

void device_break(struct vhost_device *d, enum memlease_broken reason, const char *text)
{
	lend_break(d->vm, reason, text);
	d->config_changed = true;
	request_drop(&d->job);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		if (d->queue[i].err_fd >= 0 && quiet_allows(&d->errors, d->event))
			peerfd_signal(d->queue[i].err_fd);
	device_schedule(d);
}

/* Rings are mapped when first looked at. 1: may be looked at. 0: not now. */
static int queue_prepare(struct vhost_device *d, unsigned int i)
{
	struct virtq *q = &d->queue[i];
	struct ml_why why;
	int r;

	if (!queue_started(d, i) || !d->has_features)
		return 0;
	if (q->mapped)
		return 1;
	if (!(d->features & (1ULL << VIRTIO_F_VERSION_1))) {
		device_break(d, MEMLEASE_BROKEN_RING,
			     "queues were started without VIRTIO_F_VERSION_1");
		return 0;
	}
	if (q->num == 0 || !q->has_addr) {
		ml_refuse(&why, 0, "queue %u was started without a size and an address", i);
		device_break(d, MEMLEASE_BROKEN_RING, why.text);
		return 0;
	}
	r = virtq_map(q, &d->gmem, d->features, &why);
	if (r == -EAGAIN)
		return 0;
	if (r < 0) {
		ml_refuse(&why, r, "queue %u: %s", i, why.text);
		device_break(d, MEMLEASE_BROKEN_RING, why.text);
		return 0;
	}
	return 1;
}

static void queue_notify(struct vhost_device *d, unsigned int i)
{
	int r;

	if (!d->queue[i].mapped)
		return;
	r = virtq_notify(&d->queue[i], &d->gmem);
	if (r == -EDEADLK && quiet_allows(&d->quiet, d->event))
		ml_warn("vm %s: QEMU made the call descriptor of queue %u block; a notification is lost",
			lend_vm_name(d->vm), i);
	else if (r == -EFAULT)
		device_break(d, MEMLEASE_BROKEN_RING, "a ring in boot memory cannot be reached");
}

/* A turn of one queue. True: there is more to do. */
static bool queue_turn(struct vhost_device *d, unsigned int i)
{
	struct request_env env = { d->vm, &d->gmem, d->features, d->queue };
	unsigned int units;
	enum memlease_broken reason;
	struct ml_why why;
	int r;

	if (lend_resetting(d->vm) || device_broken(d) || !queue_prepare(d, i))
		return false;
	if (i == MEMLEASE_VQ_REQUEST) {
		units = REQUEST_UNITS_PER_TURN;
		r = request_run(&d->job, &env, &units, &reason, &why);
	} else {
		units = EVENT_UNITS_PER_TURN;
		r = event_run(&d->events, &d->queue[i], &d->gmem, &units, &reason, &why);
	}
	if (r == -EPROTO) {
		ml_refuse(&why, r, "queue %u: %s", i, why.text);
		device_break(d, reason, why.text);
	}
	queue_notify(d, i);
	return r > 0;
}

static void backend_drop(struct vhost_device *d)
{
	d->backend_source = sd_event_source_disable_unref(d->backend_source);
	ml_hang_up(d->owner, d->backend_fd);
	d->backend_fd = -1;
}

/* Tell QEMU that the config space changed, if it can be told now. */
static void device_tell_config(struct vhost_device *d)
{
	const struct message_header h = {
		.request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
		.flags = MESSAGE_VERSION,
	};
	ssize_t n;

	/* While no queue runs the guest has no driver, and reads the config when it gets one. */
	if (!d->config_changed || d->backend_fd < 0 || !queue_started(d, MEMLEASE_VQ_REQUEST))
		return;
	n = send(d->backend_fd, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)sizeof(h)) {
		d->config_changed = false;
		sd_event_source_set_io_events(d->backend_source, EPOLLIN);
	} else if (n < 0 && errno == EAGAIN) {
		sd_event_source_set_io_events(d->backend_source, EPOLLIN | EPOLLOUT);
	} else {
		backend_drop(d);
	}
}

static int backend_ready(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct vhost_device *d = arg;
	char ignored[256];
	bool descriptors;
	ssize_t n;

	(void)source;
	/* QEMU has nothing to say here: no reply is asked for. */
	n = ml_peek(fd, ignored, sizeof(ignored), &descriptors);
	if (n > 0 && !descriptors)
		n = recv(fd, ignored, (size_t)n, MSG_DONTWAIT);
	if (n == 0 || descriptors || (n < 0 && n != -EAGAIN)) {
		backend_drop(d);
		return 0;
	}
	if (events & EPOLLOUT)
		device_tell_config(d);
	return 0;
}

int device_set_backend_fd(struct vhost_device *d, int fd)
{
	int r;

	backend_drop(d);
	d->backend_fd = fd;
	ml_peek_prepare(fd);
	r = sd_event_add_io(d->event, &d->backend_source, fd, EPOLLIN, backend_ready, d);
	if (r < 0) {
		backend_drop(d);
		return r;
	}
	/* The config may have changed while QEMU could not be told. */
	d->config_changed = true;
	device_schedule(d);
	return 0;
}

static int device_work(sd_event_source *source, void *arg)
{
	struct vhost_device *d = arg;
	bool more = false;

	(void)source;
	d->work_source = sd_event_source_disable_unref(d->work_source);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		more |= queue_turn(d, i);
	device_tell_config(d);
	if (more)
		device_schedule(d);
	return 0;
}

static int kick_ready(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct vhost_device *d = arg;
	uint64_t count;
	ssize_t n = peerfd_read(fd, &count, sizeof(count));

	(void)events;
	if (n < 0 && n != -EAGAIN) {
		ml_warn("vm %s: a kick descriptor cannot be read: %s; its queue stops",
			lend_vm_name(d->vm), peerfd_error((int)n));
		for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
			if (d->kick_source[i] == source)
				device_stop_queue(d, i);
		return 0;
	}
	device_schedule(d);
	return 0;
}

int device_set_kick(struct vhost_device *d, unsigned int index, int fd)
{
	int r;

	device_stop_queue(d, index);
	if (fd < 0)
		return 0;
	d->queue[index].kick_fd = fd;
	r = sd_event_add_io(d->event, &d->kick_source[index], fd, EPOLLIN, kick_ready, d);
	if (r < 0) {
		device_stop_queue(d, index);
		return r;
	}
	/* The guest may have kicked before we listened. */
	device_schedule(d);
	return 0;
}

void device_stop_queue(struct vhost_device *d, unsigned int index)
{
	d->kick_source[index] = sd_event_source_disable_unref(d->kick_source[index]);
	ml_porter_dispose(d->owner, d->queue[index].kick_fd);
	d->queue[index].kick_fd = -1;
	virtq_unmap(&d->queue[index]);
	if (index == MEMLEASE_VQ_REQUEST)
		request_drop(&d->job);
}

void device_stop(struct vhost_device *d)
{
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		device_stop_queue(d, i);
}

void device_remap(struct vhost_device *d)
{
	request_drop(&d->job);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		virtq_unmap(&d->queue[i]);
	device_schedule(d);
}

void device_reset(struct vhost_device *d)
{
	device_stop(d);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++) {
		d->queue[i].enabled = false;
		d->queue[i].has_addr = false;
		d->queue[i].num = 0;
		d->queue[i].last_avail = 0;
	}
	d->has_features = false;
	d->features = 0;
	event_forget_wishes(&d->events);
	lend_reset(d->vm);
}

void device_disconnected(struct vhost_device *d)
{
	device_stop(d);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		virtq_close(&d->queue[i], d->owner);
	backend_drop(d);
	gmem_close(&d->gmem);
	d->has_features = false;
	d->features = 0;
	d->protocol_features = 0;
}

int device_new(struct vhost_device **out, sd_event *event, struct lend_vm *vm)
{
	struct vhost_device *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->event = event;
	d->vm = vm;
	d->listen_fd = d->pidfd = d->backend_fd = -1;
	d->owner = OWNER_IS_VM | ++last_owner;
	message_stream_init(&d->stream, -1, d->owner);
	gmem_init(&d->gmem, vm);
	event_init(&d->events, vm);
	touch_init(&d->touch, event, vm, &d->quiet, d->owner);
	for (unsigned int i = 0; i < MEMLEASE_VQ_COUNT; i++)
		virtq_init(&d->queue[i]);
	*out = d;
	return 0;
}

void device_free(struct vhost_device *d)
{
	device_disconnected(d);
	d->work_source = sd_event_source_disable_unref(d->work_source);
	touch_close(&d->touch);
	event_close(&d->events);
	free(d);
}
