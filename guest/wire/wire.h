/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire to the host: the request queue, what the host said last in the config
 * space, and what went wrong last. Used by everything above; what follows from a
 * changed config space is decided by the door, whose work function `look` runs.
 */
#ifndef MEMLEASE_WIRE_H
#define MEMLEASE_WIRE_H

#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>

#include "config.h"
#include "queue.h"

struct ml_wire {
	/* set once, and read by all */
	struct virtio_device *vdev;
	struct ml_fixed fixed;
	struct workqueue_struct *wq;	/* of all but growing; not for reclaim */

	struct ml_queue queue;		/* for ml_queue_*(), which queue.h has */
	struct work_struct look;	/* the door's: has the config space read */

	/* wire.c alone looks at the rest */
	struct ml_host host;		/* what the config space said last */
	spinlock_t lock;		/* of host */
	int last_error;
};

/* Nothing is heard yet: no limit, no target. `look` runs on wq after ml_wire_nudge(). */
void ml_wire_init(struct ml_wire *w, struct virtio_device *vdev, const struct ml_fixed *fixed,
		  struct workqueue_struct *wq, work_func_t look);

static inline struct device *ml_wire_dev(const struct ml_wire *w)
{
	return &w->vdev->dev;
}

/* Read the config space, remember and return what it says. May sleep. */
struct ml_host ml_wire_read(struct ml_wire *w);

/* A consistent copy of what the host said last. Any context that may spin. */
struct ml_host ml_wire_host(struct ml_wire *w);

/* The config space may have changed: have it looked at. Any context. */
void ml_wire_nudge(struct ml_wire *w);

/*
 * Something went wrong with a request, in the voice of `what`. Remembers it, and
 * has the config space looked at, which says whether the device is broken. -ENODEV
 * is not counted: it was us who stopped the queue. May sleep.
 */
void ml_wire_failed(struct ml_wire *w, const char *what, int rc);

/* Remember a failure that has nothing to do with the host. */
void ml_wire_note(struct ml_wire *w, int rc);

/* The last failure, -errno; 0 if there was none. */
int ml_wire_last_error(const struct ml_wire *w);

#endif /* MEMLEASE_WIRE_H */
