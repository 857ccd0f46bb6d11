/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event queue: keeps the device in buffers and acts on what it sends. Each
 * event is a nudge for another part; the work is done there.
 */
#ifndef MEMLEASE_EVENTS_H
#define MEMLEASE_EVENTS_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>

#include "../proto/memlease_abi.h"

#define ML_EVENT_BUFFERS	16

struct ml_device;

struct ml_events {
	struct memlease_event *buffers;	/* in boot memory: allocated at probe */
	struct virtqueue *vq;		/* NULL while the device is stopped */
	spinlock_t lock;		/* taken in interrupts */
	struct work_struct work;
	atomic64_t count;
	atomic64_t unknown;
};

int ml_events_init(struct ml_device *ml);
void ml_events_exit(struct ml_device *ml);

/* Between virtio_device_ready() and a reset. Stop comes after the reset. */
int ml_events_start(struct ml_device *ml, struct virtqueue *vq);
void ml_events_stop(struct ml_device *ml);

/* The virtqueue's callback. */
void ml_events_interrupt(struct virtqueue *vq);

#endif /* MEMLEASE_EVENTS_H */
