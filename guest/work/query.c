// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions to the host's meter; see query.h. A question is answered by figures
 * that were asked for after it. While the daemon is away one request waits for it,
 * however many readers give up meanwhile.
 */
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include <linux/virtio_config.h>

#include "../../proto/memlease_abi.h"
#include "../turn/turn.h"
#include "query.h"

#define ML_QUERY_WAIT_MS	2000

struct ml_query {
	struct ml_turn *turn;
	struct work_struct work;
	struct ml_request *req;		/* the worker's; NULL: this host does not tell */
	spinlock_t lock;		/* the rest */
	u32 asked;			/* questions, by readers */
	u32 answered;			/* the last question that the figures answer */
	int status;			/* of that answer */
	struct ml_figures figures;
};

/* The device is asked for figures in the order of their tags. */
static u64 ml_query_figure(const struct ml_request *req, enum memlease_query_tag tag)
{
	u32 got;

	return ml_request_figure(req, tag - 1, &got);
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
	u32 i, tag;

	if (ml_request_figures(req) < MEMLEASE_QUERY_METERED_HIGH)
		return -EPROTO;
	for (i = 0; i < MEMLEASE_QUERY_COUNT; i++) {
		ml_request_figure(req, i, &tag);
		if (tag != i + 1)
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
	struct ml_turn *t = q->turn;
	struct ml_figures figures = { 0 };
	u32 question;
	int rc;

	spin_lock(&q->lock);
	question = q->asked;
	spin_unlock(&q->lock);
	ml_request_query(q->req, MEMLEASE_QUERY_COUNT);
	rc = ml_turn_call(t, q->req);
	if (!rc)
		rc = ml_query_read(q->req, &figures);
	if (rc)
		ml_wire_failed(t->wire, "QUERY", rc);

	spin_lock(&q->lock);
	q->answered = question;
	q->status = rc;
	q->figures = figures;
	spin_unlock(&q->lock);
	wake_up_all(ml_turn_waitqueue(t, ML_QUERY));
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

int ml_query_figures(struct ml_query *q, struct ml_figures *figures)
{
	struct ml_turn *t = q->turn;
	int status = -ETIMEDOUT;
	u32 question;
	long left;

	if (!q->req)
		return -EOPNOTSUPP;
	if (READ_ONCE(t->held))
		return -ENODEV;
	spin_lock(&q->lock);
	question = ++q->asked;
	spin_unlock(&q->lock);
	queue_work(t->wire->wq, &q->work);
	left = wait_event_interruptible_timeout(*ml_turn_waitqueue(t, ML_QUERY),
			ml_query_answered(q, question, &status, figures) || READ_ONCE(t->held),
			msecs_to_jiffies(ML_QUERY_WAIT_MS));
	if (left < 0)
		return left;
	return READ_ONCE(t->held) ? -ENODEV : status;
}

int ml_query_init(struct ml_turn *t, struct ml_query **out)
{
	struct ml_query *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return -ENOMEM;
	q->turn = t;
	spin_lock_init(&q->lock);
	INIT_WORK(&q->work, ml_query_work);
	if (virtio_has_feature(t->wire->vdev, MEMLEASE_F_QUERY)) {
		q->req = ml_request_alloc();
		if (!q->req) {
			kfree(q);
			return -ENOMEM;
		}
	}
	*out = q;
	return 0;
}

void ml_query_stop(struct ml_query *q)
{
	cancel_work_sync(&q->work);
}

void ml_query_exit(struct ml_query *q)
{
	ml_query_stop(q);
	ml_request_free(q->req);
	kfree(q);
}
