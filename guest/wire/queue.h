/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request queue: one request at a time for each of its users, submitted and
 * waited for. Used by everything that talks to the host; knows nothing of what
 * a request means.
 */
#ifndef MEMLEASE_QUEUE_H
#define MEMLEASE_QUEUE_H

#include <linux/cache.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/wait.h>

#include "../../proto/memlease_abi.h"
#include "../think/pure.h"

/*
 * A request with room for its answer; queue.c alone looks into it. Each user has one, allocated at probe:
 * asking for memory must not need memory, and all buffers lie in boot memory,
 * because nothing is borrowed yet when the driver starts.
 */
struct ml_request {
	/* what the device reads */
	struct {
		struct memlease_request head;
		union {
			struct memlease_extent extents[MEMLEASE_MAX_EXTENTS];
			struct memlease_stat stats[MEMLEASE_MAX_STATS];
		};
	} out ____cacheline_aligned;
	/* what the device writes */
	struct {
		struct memlease_response head;
		union {
			struct memlease_answer answers[MEMLEASE_MAX_EXTENTS];
			struct memlease_stat stats[MEMLEASE_MAX_STATS];	/* figures, of QUERY */
		};
	} in ____cacheline_aligned;
	/* the driver's own; done and in_flight under the queue's lock */
	u64 cookie ____cacheline_aligned;
	u32 used_bytes;
	bool in_flight;		/* the device may still write to it */
	bool done;
};

/* queue.c alone looks into it. */
struct ml_queue {
	struct virtio_device *vdev;
	struct virtqueue *vq;	/* NULL while the device is stopped */
	spinlock_t lock;	/* innermost, taken in interrupts */
	wait_queue_head_t wait;
	u64 last_cookie;
	u32 owed;		/* requests that the device has, under lock */
	unsigned long owed_since;	/* jiffies: it answered last, or owed nothing before */
	u32 users;		/* calls that wait for an answer, under lock */
	bool dead;		/* no more calls until ml_queue_start() */
	bool withdraws;		/* MEMLEASE_F_WITHDRAW was negotiated */
};

/* Stopped, until ml_queue_start(). */
void ml_queue_init(struct ml_queue *q, struct virtio_device *vdev);

/* NULL if there is no memory. May sleep. */
struct ml_request *ml_request_alloc(void);
/* Not while in flight: stop the queue first, after a device reset. */
void ml_request_free(struct ml_request *req);

/* The queue is vq from now on. */
void ml_queue_start(struct ml_queue *q, struct virtqueue *vq);

/*
 * No more requests; those who wait get -ENODEV, and are gone on return. Reset
 * the device first: what it may still carry out late must be known to be over.
 */
void ml_queue_stop(struct ml_queue *q);

/* After a reset and ml_queue_stop(): the device has forgotten all requests. */
void ml_queue_forget(struct ml_queue *q);

/* Fill in a request about n spans, at most MEMLEASE_MAX_EXTENTS. */
void ml_request_spans(struct ml_request *req, enum memlease_request_type type,
		      const struct ml_span *spans, u32 n);
/* Fill in one statistic of a STATS request; they are counted from 0 on. */
void ml_request_stat(struct ml_request *req, u32 i, enum memlease_stat_tag tag, u64 value);
/* Fill in a QUERY for n figures. */
void ml_request_query(struct ml_request *req, u32 n);

/*
 * Submit a request and wait until it is carried out. Waits as long as the device
 * lives, because the host may still carry it out at any time: a daemon that
 * restarts takes seconds. May sleep, allocates nothing. One caller at a time for
 * each request.
 *
 * Returns 0 with the answers checked, -ENODEV if the queue was stopped, -EIO if
 * the device is broken, -EPROTO if the answer makes no sense, -EBUSY if an
 * earlier use of req is still with the device.
 */
int ml_queue_call(struct ml_queue *q, struct ml_request *req);

/*
 * The same about spans, but where the host gives no answer for so long the request is withdrawn, if
 * the host has not begun to carry it out: -ECANCELED then. It never will, but req stays with
 * the device until the host is back.
 */
int ml_queue_call_briefly(struct ml_queue *q, struct ml_request *req, u32 silent_ms);

/*
 * Of a request about spans that was answered: slots done of span i and of all, and
 * why not all of span i (enum memlease_reason).
 */
u32 ml_request_done(const struct ml_request *req, u32 i);
u32 ml_request_done_all(const struct ml_request *req);
u32 ml_request_reason(const struct ml_request *req, u32 i);

/*
 * Of a QUERY that was answered: how many figures came, and figure i of those asked
 * for, with its tag (enum memlease_query_tag); zeroes if it did not come.
 */
u32 ml_request_figures(const struct ml_request *req);
u64 ml_request_figure(const struct ml_request *req, u32 i, u32 *tag);

/* For the virtqueue's callback: take what the device has finished. Any context. */
void ml_queue_interrupt(struct ml_queue *q);

/* How long the host has owed an answer, and given none, in ms; 0: it owes none. Any context. */
u32 ml_queue_silent_ms(const struct ml_queue *q);

/* Is a call waiting for its answer? */
bool ml_queue_in_use(struct ml_queue *q);

#endif /* MEMLEASE_QUEUE_H */
