/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM's device: what protocol.c sets up by messages and the event loop then
 * runs. device.c owns the queues' life (start, stop, turns, breaking) and the
 * config channel; vhost.c owns sockets and the VM's process.
 *
 * A queue runs while it has its kick descriptor, is enabled, and the driver's
 * features are known; a broken device runs none until reset. Work is done in
 * turns from one deferred source per VM, so that VMs alternate.
 */
#ifndef ML_VHOST_DEVICE_H
#define ML_VHOST_DEVICE_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "event.h"
#include "message.h"
#include "quiet.h"
#include "request.h"
#include "touch.h"

struct vhost_server;
struct vhost_store;

struct vhost_device {
	struct vhost_server *server;
	struct vhost_device *next;
	const struct vhost_store *store; /* the server's */
	struct lend_vm *vm;
	sd_event *event;		/* borrowed from the server */
	uint64_t owner;			/* of descriptors, to the porter (base/porter.h) */
	struct ml_quiet quiet;
	struct ml_quiet errors;		/* signals of a queue's error: each is a line of QEMU's log */
	struct ml_quiet stores;		/* descriptors put into the store, bounded as lines are */

	/* vhost.c: the listening socket, QEMU's connection and process. */
	char *path;
	char *start_mark;		/* start_mark.h */
	int listen_fd;
	sd_event_source *listen_source;
	struct message_stream stream;
	sd_event_source *stream_source;
	sd_event_source *receipt_source, *receipt_limit;
	int pidfd;			/* own copy, or -1 */
	sd_event_source *pid_source;

	/* protocol.c: what QEMU said. */
	uint64_t features;
	uint64_t protocol_features;
	bool has_features;
	struct gmem gmem;
	struct virtq queue[MEMLEASE_VQ_COUNT];

	/* device.c */
	sd_event_source *kick_source[MEMLEASE_VQ_COUNT];
	sd_event_source *work_source;
	struct request_job job;
	struct event_box events;
	bool config_changed;		/* QEMU is to be told */
	int backend_fd;			/* where it is told, or -1 */
	sd_event_source *backend_source;

	struct touch touch;
};

int device_new(struct vhost_device **out, sd_event *event, struct lend_vm *vm);
void device_free(struct vhost_device *d);

/* What this device can do. */
uint64_t device_features(void);
uint64_t device_protocol_features(void);

/* Give the queue a kick descriptor (taken; -1: none) and thereby start it. 0 or -errno. */
int device_set_kick(struct vhost_device *d, unsigned int index, int fd);
/* Take the kick descriptor away: the queue stops, and what is half done is forgotten. */
void device_stop_queue(struct vhost_device *d, unsigned int index);
void device_stop(struct vhost_device *d);
/* Rings lie elsewhere, or were enabled or disabled: look again. */
void device_remap(struct vhost_device *d);
/* The guest reset the device. */
void device_reset(struct vhost_device *d);
/* QEMU's connection is down: forget all it said, but touches go on. */
void device_disconnected(struct vhost_device *d);

/* The descriptor for messages to QEMU (taken), replacing one before. 0 or -errno. */
int device_set_backend_fd(struct vhost_device *d, int fd);

/* Do a turn of work soon. */
void device_schedule(struct vhost_device *d);

/* A violation by the guest: breaks this VM's device, and nothing else. */
void device_break(struct vhost_device *d, enum memlease_broken reason, const char *text);

#endif /* ML_VHOST_DEVICE_H */
