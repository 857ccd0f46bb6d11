// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions to the host's meter; see query.h. A question is answered by figures
 * that were asked for after it. While the daemon is away one request waits for it,
 * however many readers give up meanwhile.
 */
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/time64.h>
#include <linux/virtio_config.h>

#include "memlease.h"

#define ML_QUERY_WAIT_MS	2000

/* The device is asked for figures in the order of their tags. */
static u64 ml_query_figure(const struct ml_request *req, enum memlease_query_tag tag)
{
	return le64_to_cpu(req->in.stats[tag - 1].value);
}

/* Milliseconds of a 128-bit number of nanoseconds; what does not fit is all ones. */
static u64 ml_query_ms(u64 high, u64 low)
{
	u64 rest;

	if (high >= NSEC_PER_MSEC)
		return U64_MAX;
	/* high * 2^64 + low, by long division with digits of 32 bits. */
	rest = high << 32 | low >> 32;
	high = div64_u64(rest, NSEC_PER_MSEC);
	rest = (rest - high * NSEC_PER_MSEC) << 32 | (u32)low;
	return high << 32 | div64_u64(rest, NSEC_PER_MSEC);
}

static int ml_query_read(const struct ml_request *req, struct ml_figures *f)
{
	u32 i, count = le16_to_cpu(req->in.head.count);

	if (count < MEMLEASE_QUERY_METERED_HIGH)
		return -EPROTO;
	for (i = 0; i < MEMLEASE_QUERY_COUNT; i++) {
		if (le16_to_cpu(req->in.stats[i].tag) != i + 1)
			return -EPROTO;
	}
	f->resident_blocks = ml_query_figure(req, MEMLEASE_QUERY_RESIDENT_BLOCKS);
	f->resident_boot_blocks = ml_query_figure(req, MEMLEASE_QUERY_RESIDENT_BOOT_BLOCKS);
	f->committed_blocks = ml_query_figure(req, MEMLEASE_QUERY_COMMITTED_BLOCKS);
	f->metered_block_ms = ml_query_ms(ml_query_figure(req, MEMLEASE_QUERY_METERED_HIGH),
					  ml_query_figure(req, MEMLEASE_QUERY_METERED_BLOCK_NS));
	return 0;
}

static void ml_query_work(struct work_struct *work)
{
	struct ml_query *q = container_of(work, struct ml_query, work);
	struct ml_device *ml = container_of(q, struct ml_device, query);
	struct ml_figures figures = { 0 };
	u32 question;
	int rc;

	spin_lock(&q->lock);
	question = q->asked;
	spin_unlock(&q->lock);
	ml_request_query(q->req, MEMLEASE_QUERY_COUNT);
	rc = ml_queue_call(&ml->queue, q->req);
	if (!rc)
		rc = ml_query_read(q->req, &figures);
	if (rc)
		ml_failed(ml, "QUERY", rc);

	spin_lock(&q->lock);
	q->answered = question;
	q->status = rc;
	q->figures = figures;
	spin_unlock(&q->lock);
	wake_up_all(&q->wait);
}

/* Is the question answered? Then with *status and *figures. */
static bool ml_query_answered(struct ml_query *q, u32 question, int *status,
			      struct ml_figures *figures)
{
	bool answered;

	spin_lock(&q->lock);
	answered = (s32)(q->answered - question) >= 0;
	if (answered) {
		*status = q->status;
		*figures = q->figures;
	}
	spin_unlock(&q->lock);
	return answered;
}

int ml_query_figures(struct ml_device *ml, struct ml_figures *figures)
{
	struct ml_query *q = &ml->query;
	int status = -ETIMEDOUT;
	u32 question;
	long left;

	if (!q->req)
		return -EOPNOTSUPP;
	if (READ_ONCE(q->held))
		return -ENODEV;
	spin_lock(&q->lock);
	question = ++q->asked;
	spin_unlock(&q->lock);
	queue_work(ml->wq, &q->work);
	left = wait_event_interruptible_timeout(q->wait,
			ml_query_answered(q, question, &status, figures) || READ_ONCE(q->held),
			msecs_to_jiffies(ML_QUERY_WAIT_MS));
	if (left < 0)
		return left;
	return READ_ONCE(q->held) ? -ENODEV : status;
}

void ml_query_hold(struct ml_device *ml, bool held)
{
	WRITE_ONCE(ml->query.held, held);
	wake_up_all(&ml->query.wait);
}

int ml_query_init(struct ml_device *ml)
{
	struct ml_query *q = &ml->query;

	q->held = true;
	spin_lock_init(&q->lock);
	init_waitqueue_head(&q->wait);
	INIT_WORK(&q->work, ml_query_work);
	if (!virtio_has_feature(ml->vdev, MEMLEASE_F_QUERY))
		return 0;
	q->req = ml_request_alloc();
	return q->req ? 0 : -ENOMEM;
}

void ml_query_exit(struct ml_device *ml)
{
	ml_query_hold(ml, true);
	cancel_work_sync(&ml->query.work);
	ml_request_free(ml->query.req);
}
