// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The request queue; see queue.h. A wait has no end of its own: a REPORT or
 * RETURN that the host carries out late would take memory that is in use again.
 * It ends with an answer, with a stopped queue or with a broken device, or with a request
 * withdrawn: for that both sides agree by compare-and-swap on a word of the response (see
 * memlease_abi.h), which is why the device must see the driver's memory itself, and does:
 * VIRTIO_F_ACCESS_PLATFORM is never offered. Waits
 * are idle ones, so a daemon that is away does not look like a hung task.
 */
#include <linux/jiffies.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "config.h"
#include "queue.h"

#define ML_WAIT_STEP_MS	1000U	/* how often a waiting call looks at the device itself */

void ml_queue_init(struct ml_queue *q, struct virtio_device *vdev)
{
	q->vdev = vdev;
	q->vq = NULL;
	q->dead = true;
	q->users = 0;
	q->last_cookie = 0;
	spin_lock_init(&q->lock);
	init_waitqueue_head(&q->wait);
}

struct ml_request *ml_request_alloc(void)
{
	return kzalloc(sizeof(struct ml_request), GFP_KERNEL);
}

void ml_request_free(struct ml_request *req)
{
	kfree(req);
}

void ml_queue_start(struct ml_queue *q, struct virtqueue *vq)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->vq = vq;
	q->dead = false;
	q->withdraws = virtio_has_feature(q->vdev, MEMLEASE_F_WITHDRAW);
	spin_unlock_irqrestore(&q->lock, flags);
}

bool ml_queue_in_use(struct ml_queue *q)
{
	unsigned long flags;
	bool in_use;

	spin_lock_irqsave(&q->lock, flags);
	in_use = q->users;
	spin_unlock_irqrestore(&q->lock, flags);
	return in_use;
}

void ml_queue_stop(struct ml_queue *q)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->dead = true;
	spin_unlock_irqrestore(&q->lock, flags);
	wake_up_all(&q->wait);
	wait_event(q->wait, !ml_queue_in_use(q));
}

void ml_queue_forget(struct ml_queue *q)
{
	struct ml_request *req;
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	while (q->vq && (req = virtqueue_detach_unused_buf(q->vq)))
		req->in_flight = false;
	WRITE_ONCE(q->owed, 0);
	q->vq = NULL;
	spin_unlock_irqrestore(&q->lock, flags);
}

void ml_request_spans(struct ml_request *req, enum memlease_request_type type,
		      const struct ml_span *spans, u32 n)
{
	u32 i;

	req->out.head.type = cpu_to_le16(type);
	req->out.head.count = cpu_to_le16(n);
	for (i = 0; i < n; i++) {
		req->out.extents[i].region = cpu_to_le32(spans[i].region);
		req->out.extents[i].count = cpu_to_le32(spans[i].count);
		req->out.extents[i].first = cpu_to_le64(spans[i].first);
	}
}

void ml_request_stat(struct ml_request *req, u32 i, enum memlease_stat_tag tag, u64 value)
{
	req->out.head.type = cpu_to_le16(MEMLEASE_REQ_STATS);
	req->out.head.count = cpu_to_le16(i + 1);
	memset(&req->out.stats[i], 0, sizeof(req->out.stats[i]));
	req->out.stats[i].tag = cpu_to_le16(tag);
	req->out.stats[i].value = cpu_to_le64(value);
}

/* Take what the device has finished. Returns whether there was anything. */
static bool ml_queue_harvest(struct ml_queue *q)
{
	struct ml_request *req;
	bool any = false;
	u32 bytes;

	lockdep_assert_held(&q->lock);
	while (q->vq && (req = virtqueue_get_buf(q->vq, &bytes))) {
		req->used_bytes = bytes;
		req->in_flight = false;
		req->done = true;
		any = true;
		WRITE_ONCE(q->owed_since, jiffies);
		WRITE_ONCE(q->owed, q->owed - 1);
	}
	return any;
}

void ml_queue_interrupt(struct ml_queue *q)
{
	unsigned long flags;
	bool any;

	spin_lock_irqsave(&q->lock, flags);
	any = ml_queue_harvest(q);
	spin_unlock_irqrestore(&q->lock, flags);
	if (any)
		wake_up_all(&q->wait);
}

u32 ml_queue_silent_ms(const struct ml_queue *q)
{
	return READ_ONCE(q->owed) ? jiffies_to_msecs(jiffies - READ_ONCE(q->owed_since)) : 0;
}

void ml_request_query(struct ml_request *req, u32 n)
{
	req->out.head.type = cpu_to_le16(MEMLEASE_REQ_QUERY);
	req->out.head.count = cpu_to_le16(n);
	memset(req->in.stats, 0, sizeof(req->in.stats));
}

/* Bytes of one entry that follows the request's head, and the response's. */
static size_t ml_request_entry_out(const struct ml_request *req)
{
	switch (le16_to_cpu(req->out.head.type)) {
	case MEMLEASE_REQ_STATS:	return sizeof(req->out.stats[0]);
	case MEMLEASE_REQ_QUERY:	return 0;
	default:			return sizeof(req->out.extents[0]);
	}
}

static size_t ml_request_entry_in(const struct ml_request *req)
{
	switch (le16_to_cpu(req->out.head.type)) {
	case MEMLEASE_REQ_STATS:	return 0;
	case MEMLEASE_REQ_QUERY:	return sizeof(req->in.stats[0]);
	default:			return sizeof(req->in.answers[0]);
	}
}

static int ml_queue_submit(struct ml_queue *q, struct ml_request *req)
{
	u32 count = le16_to_cpu(req->out.head.count);
	struct scatterlist out, in, *sgs[2] = { &out, &in };
	int rc;

	lockdep_assert_held(&q->lock);
	req->cookie = ++q->last_cookie;
	req->out.head.reserved = 0;
	req->out.head.cookie = cpu_to_le64(req->cookie);
	memset(&req->in.head, 0, sizeof(req->in.head));
	req->done = false;

	sg_init_one(&out, &req->out, sizeof(req->out.head) + count * ml_request_entry_out(req));
	sg_init_one(&in, &req->in, sizeof(req->in.head) + count * ml_request_entry_in(req));
	rc = virtqueue_add_sgs(q->vq, sgs, 1, 1, req, GFP_ATOMIC);
	if (rc)
		return rc == -EIO ? rc : -EBUSY;
	req->in_flight = true;
	if (!q->owed)
		WRITE_ONCE(q->owed_since, jiffies);
	WRITE_ONCE(q->owed, q->owed + 1);
	virtqueue_kick(q->vq);
	return 0;
}

static bool ml_request_over(struct ml_queue *q, struct ml_request *req)
{
	return READ_ONCE(req->done) || READ_ONCE(q->dead);
}

/* Is the host not to carry it out any more? Not if it has begun. */
static bool ml_request_withdrawn(struct ml_request *req)
{
	__le32 open = cpu_to_le32(MEMLEASE_OPEN);

	return cmpxchg(&req->in.head.done_blocks, open, cpu_to_le32(MEMLEASE_WITHDRAWN)) == open;
}

/*
 * Returns 0 once answered; the request may stay with the device otherwise. silent_ms: after
 * so long without an answer it is withdrawn; 0: never.
 */
static int ml_queue_wait(struct ml_queue *q, struct ml_request *req, u32 silent_ms)
{
	u32 step_ms = silent_ms ? min(silent_ms, ML_WAIT_STEP_MS) : ML_WAIT_STEP_MS;
	unsigned long flags;

	for (;;) {
		wait_event_idle_timeout(q->wait, ml_request_over(q, req), msecs_to_jiffies(step_ms));
		spin_lock_irqsave(&q->lock, flags);
		if (!req->done && !q->dead && ml_queue_harvest(q))
			wake_up_all(&q->wait);	/* an interrupt was lost */
		spin_unlock_irqrestore(&q->lock, flags);
		if (READ_ONCE(req->done))
			return 0;
		if (READ_ONCE(q->dead))
			return -ENODEV;
		if (virtqueue_is_broken(q->vq) || ml_config_broken(q->vdev))
			return -EIO;
		if (silent_ms && ml_queue_silent_ms(q) >= silent_ms && ml_request_withdrawn(req))
			return -ECANCELED;
	}
}

/* The answer comes from outside: nothing in it may lead us past our own extents. */
static int ml_request_check(const struct ml_request *req)
{
	u32 count = le16_to_cpu(req->out.head.count);
	u64 sum = 0;
	u32 i;

	if (req->used_bytes < sizeof(req->in.head) ||
	    le64_to_cpu(req->in.head.cookie) != req->cookie)
		return -EPROTO;
	if (!ml_request_entry_in(req))
		return 0;
	if (!ml_request_entry_out(req))
		return le16_to_cpu(req->in.head.count) <= count &&
		       req->used_bytes >= sizeof(req->in.head) + count * sizeof(req->in.stats[0]) ?
		       0 : -EPROTO;
	if (le16_to_cpu(req->in.head.count) != count ||
	    req->used_bytes < sizeof(req->in.head) + count * sizeof(req->in.answers[0]))
		return -EPROTO;
	for (i = 0; i < count; i++) {
		if (ml_request_done(req, i) > le32_to_cpu(req->out.extents[i].count))
			return -EPROTO;
		sum += ml_request_done(req, i);
	}
	return sum == le32_to_cpu(req->in.head.done_blocks) ? 0 : -EPROTO;
}

int ml_queue_call_briefly(struct ml_queue *q, struct ml_request *req, u32 silent_ms)
{
	unsigned long flags;
	int rc = -ENODEV;

	spin_lock_irqsave(&q->lock, flags);
	if (req->in_flight)
		rc = -EBUSY;
	else if (!q->dead)
		rc = ml_queue_submit(q, req);
	if (!rc)
		q->users++;
	spin_unlock_irqrestore(&q->lock, flags);
	if (rc)
		return rc;

	rc = ml_queue_wait(q, req, READ_ONCE(q->withdraws) ? silent_ms : 0);
	if (!rc)
		rc = ml_request_check(req);

	spin_lock_irqsave(&q->lock, flags);
	q->users--;
	/* Under the lock: ml_queue_stop() may free the queue once it sees no users. */
	wake_up_all(&q->wait);
	spin_unlock_irqrestore(&q->lock, flags);
	return rc;
}

int ml_queue_call(struct ml_queue *q, struct ml_request *req)
{
	return ml_queue_call_briefly(q, req, 0);
}

u32 ml_request_done(const struct ml_request *req, u32 i)
{
	return le32_to_cpu(req->in.answers[i].done);
}

u32 ml_request_done_all(const struct ml_request *req)
{
	return le32_to_cpu(req->in.head.done_blocks);
}

u32 ml_request_reason(const struct ml_request *req, u32 i)
{
	return le32_to_cpu(req->in.answers[i].reason);
}

u32 ml_request_figures(const struct ml_request *req)
{
	return le16_to_cpu(req->in.head.count);
}

u64 ml_request_figure(const struct ml_request *req, u32 i, u32 *tag)
{
	*tag = le16_to_cpu(req->in.stats[i].tag);
	return le64_to_cpu(req->in.stats[i].value);
}
