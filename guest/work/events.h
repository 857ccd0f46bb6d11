/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event queue: keeps the device in buffers and acts on what it sends. Each
 * event is a nudge for another part; the work is done there.
 */
#ifndef MEMLEASE_EVENTS_H
#define MEMLEASE_EVENTS_H

#include <linux/types.h>

struct ml_events;
struct ml_turn;
struct virtqueue;

/* 0 or -errno. Exit comes after ml_events_stop(). */
int ml_events_init(struct ml_turn *t, struct ml_events **out);
void ml_events_exit(struct ml_events *e);

/*
 * Between virtio_device_ready() and a reset; -errno if the queue does not take all
 * buffers. Stop comes after the reset.
 */
int ml_events_start(struct ml_events *e, struct virtqueue *vq);
void ml_events_stop(struct ml_events *e);

/* For the virtqueue's callback. Any context. */
void ml_events_interrupt(struct ml_events *e);

/* Events that came, so far. */
u64 ml_events_count(const struct ml_events *e);

#endif /* MEMLEASE_EVENTS_H */
