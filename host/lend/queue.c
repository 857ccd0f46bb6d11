// SPDX-License-Identifier: GPL-2.0-or-later
/* The touches of one VM that wait; see queue.h. */
#include "queue.h"

#include <errno.h>

#include "bits.h"

uint64_t queue_count(const struct queue *q)
{
	return q->count;
}

bool queue_has(const struct queue *q, enum memlease_region region, uint64_t slot)
{
	return bits_has(q->slots[region], slot);
}

const struct queued *queue_first(const struct queue *q)
{
	return q->first;
}

const struct queued *queue_next(const struct queued *t)
{
	return t->next;
}

int queue_add(struct queue *q, enum memlease_region region, uint64_t slots, uint64_t slot,
	      uint64_t since_ns)
{
	struct queued *t = calloc(1, sizeof(*t));

	if (!q->slots[region])
		q->slots[region] = bits_new(slots);
	if (!t || !q->slots[region]) {
		free(t);
		return -ENOMEM;
	}
	t->region = region;
	t->slot = slot;
	t->since_ns = since_ns;
	if (q->last)
		q->last->next = t;
	else
		q->first = t;
	q->last = t;
	bits_add(q->slots[region], slot);
	q->count++;
	return 0;
}

/* Take t, whose predecessor is given, off the list. */
static void take(struct queue *q, struct queued *t, struct queued *before, struct queued *out)
{
	if (before)
		before->next = t->next;
	else
		q->first = t->next;
	if (q->last == t)
		q->last = before;
	bits_remove(q->slots[t->region], t->slot);
	q->count--;
	*out = *t;
	out->next = NULL;
	free(t);
}

bool queue_take(struct queue *q, struct queued *out)
{
	if (!q->first)
		return false;
	take(q, q->first, NULL, out);
	return true;
}

bool queue_take_of(struct queue *q, enum memlease_region region, uint64_t first, uint64_t count,
		   struct queued **after, struct queued *out)
{
	struct queued *t = *after ? (*after)->next : q->first;

	for (; t; t = t->next) {
		if (t->region == region && t->slot >= first && t->slot - first < count) {
			take(q, t, *after, out);
			return true;
		}
		*after = t;
	}
	return false;
}

void queue_free(struct queue *q)
{
	struct queued t;

	while (queue_take(q, &t))
		;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		free(q->slots[r]);
		q->slots[r] = NULL;
	}
}
