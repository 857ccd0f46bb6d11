// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The event queue; see events.h. An event is copied out once, and then its
 * buffer goes back to the device before the event is acted on.
 */
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "../../proto/memlease_abi.h"
#include "../turn/turn.h"
#include "events.h"

#define ML_EVENT_BUFFERS	16

struct ml_events {
	struct ml_turn *turn;
	struct memlease_event *buffers;	/* in boot memory: allocated at probe */
	struct virtqueue *vq;		/* NULL while the device is stopped */
	spinlock_t lock;		/* of vq; taken in interrupts */
	struct work_struct work;
	atomic64_t count;
	atomic64_t unknown;
};

static int ml_event_offer(struct ml_events *e, struct memlease_event *buffer)
{
	struct scatterlist sg;

	sg_init_one(&sg, buffer, sizeof(*buffer));
	return virtqueue_add_inbuf(e->vq, &sg, 1, buffer, GFP_ATOMIC);
}

static void ml_event_act(struct ml_events *e, const struct memlease_event *event)
{
	struct ml_turn *t = e->turn;

	switch (le16_to_cpu(event->type)) {
	case MEMLEASE_EV_TARGET:
		ml_wire_nudge(t->wire);
		break;
	case MEMLEASE_EV_REPORT_NOW:
		ml_turn_wake(t, ML_REPORT);
		ml_turn_wake(t, ML_ANEW);
		break;
	case MEMLEASE_EV_RETIRED:
		dev_warn(ml_wire_dev(t->wire), "the host retired %llu blocks from slot %llu of the %s after a memory error\n",
			 le64_to_cpu(event->b), le64_to_cpu(event->a),
			 le16_to_cpu(event->region) == MEMLEASE_REGION_WINDOW ? "window" : "boot memory");
		if (le16_to_cpu(event->region) == MEMLEASE_REGION_WINDOW)
			ml_blocks_retire(t->blocks, le64_to_cpu(event->a), le64_to_cpu(event->b));
		break;
	default:
		/* Of a later version of the host: not for us. */
		atomic64_inc(&e->unknown);
	}
}

/* Take one event, if there is one, and give its buffer back. */
static bool ml_event_take(struct ml_events *e, struct memlease_event *event)
{
	struct memlease_event *buffer;
	unsigned long flags;
	bool got = false;
	u32 bytes;

	spin_lock_irqsave(&e->lock, flags);
	buffer = e->vq ? virtqueue_get_buf(e->vq, &bytes) : NULL;
	if (buffer) {
		*event = *buffer;
		got = true;
		if (bytes < sizeof(*event))
			event->type = 0;
		if (!ml_event_offer(e, buffer))
			virtqueue_kick(e->vq);
	}
	spin_unlock_irqrestore(&e->lock, flags);
	return got;
}

static void ml_events_work(struct work_struct *work)
{
	struct ml_events *e = container_of(work, struct ml_events, work);
	struct memlease_event event;
	u32 n;

	for (n = 0; n < ML_EVENT_BUFFERS && ml_event_take(e, &event); n++) {
		atomic64_inc(&e->count);
		ml_event_act(e, &event);
	}
	/* A flood of events shares the processor with everybody else. */
	if (n == ML_EVENT_BUFFERS)
		queue_work(e->turn->wire->wq, &e->work);
}

void ml_events_interrupt(struct ml_events *e)
{
	queue_work(e->turn->wire->wq, &e->work);
}

int ml_events_start(struct ml_events *e, struct virtqueue *vq)
{
	unsigned long flags;
	int rc = 0;
	u32 i;

	spin_lock_irqsave(&e->lock, flags);
	e->vq = vq;
	for (i = 0; i < min_t(u32, ML_EVENT_BUFFERS, virtqueue_get_vring_size(vq)) && !rc; i++)
		rc = ml_event_offer(e, &e->buffers[i]);
	virtqueue_kick(vq);
	spin_unlock_irqrestore(&e->lock, flags);
	return rc;
}

void ml_events_stop(struct ml_events *e)
{
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	e->vq = NULL;
	spin_unlock_irqrestore(&e->lock, flags);
	cancel_work_sync(&e->work);
}

u64 ml_events_count(const struct ml_events *e)
{
	return atomic64_read(&e->count);
}

int ml_events_init(struct ml_turn *t, struct ml_events **out)
{
	struct ml_events *e = kzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return -ENOMEM;
	e->turn = t;
	spin_lock_init(&e->lock);
	INIT_WORK(&e->work, ml_events_work);
	e->buffers = kcalloc(ML_EVENT_BUFFERS, sizeof(*e->buffers), GFP_KERNEL);
	if (!e->buffers) {
		kfree(e);
		return -ENOMEM;
	}
	*out = e;
	return 0;
}

void ml_events_exit(struct ml_events *e)
{
	kfree(e->buffers);
	kfree(e);
}
