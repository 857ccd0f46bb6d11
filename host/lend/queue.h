/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The touches of one VM that wait for a block, oldest first. A list and no more: who is
 * served is for serve.c to say, what a wait costs for waiting.c. In memory only: a new
 * daemon has every toucher fault again. A slot waits at most once, however many vCPUs
 * touch it. The struct is opened by queue.c only.
 */
#ifndef ML_LEND_QUEUE_H
#define ML_LEND_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../proto/memlease_abi.h"

struct queued {
	struct queued *next;	/* for queue_next() */
	enum memlease_region region;
	uint64_t slot;
	uint64_t since_ns;	/* boot clock */
};

struct queue {
	struct queued *first, *last;
	uint8_t *slots[MEMLEASE_REGION_COUNT];	/* which slots wait */
	uint64_t count;
};

uint64_t queue_count(const struct queue *q);
bool queue_has(const struct queue *q, enum memlease_region region, uint64_t slot);
/* The oldest, or NULL. */
const struct queued *queue_first(const struct queue *q);
const struct queued *queue_next(const struct queued *t);

/* To the end. The region has so many slots; this one does not wait yet. -ENOMEM. */
int queue_add(struct queue *q, enum memlease_region region, uint64_t slots, uint64_t slot,
	      uint64_t since_ns);
/* Take the oldest out. False: none waits. */
bool queue_take(struct queue *q, struct queued *out);
/*
 * Take out the next that is of the range; *after is NULL at first, and where the search goes
 * on from call to call, with nothing else taken out in between. False: there is none any more.
 */
bool queue_take_of(struct queue *q, enum memlease_region region, uint64_t first, uint64_t count,
		   struct queued **after, struct queued *out);
void queue_free(struct queue *q);

#endif /* ML_LEND_QUEUE_H */
