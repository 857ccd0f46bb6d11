/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queue 1: events for the guest. What has happened is noted here by kind, and
 * put into the guest's buffers as it offers them, in the order in which the
 * kinds came up. TARGET and REPORT_NOW replace an earlier one of their kind that
 * still waits; RETIRED slots are kept in a bitmap, so that none is lost however
 * long the guest offers no buffer.
 */
#ifndef ML_VHOST_EVENT_H
#define ML_VHOST_EVENT_H

#include <stdbool.h>

#include "virtq.h"

#define EVENT_KINDS 3			/* of enum memlease_event_type, from 1 on */
#define EVENT_UNITS_PER_TURN 64		/* events for one VM in one turn of the event loop */

struct event_note {
	uint64_t place;			/* when its kind came up; 0: nothing waits */
	uint32_t seq;
	uint64_t a, b;
};

struct event_box {
	struct lend_vm *vm;
	uint64_t places;
	struct event_note note[EVENT_KINDS];
	uint64_t *retired[MEMLEASE_REGION_COUNT];	/* a bit per slot of the file; NULL: none */
};

void event_init(struct event_box *box, struct lend_vm *vm);
void event_close(struct event_box *box);

/*
 * Note an event. For RETIRED, a and b are slots of the region's file. False:
 * RETIRED of slots that do not exist, or no memory for it.
 */
bool event_note_target(struct event_box *box, uint32_t seq, uint64_t a, uint64_t b);
bool event_note_report_now(struct event_box *box, uint32_t seq);
bool event_note_retired(struct event_box *box, enum memlease_region region, uint64_t first,
			uint64_t count);
/* The device was reset: what was asked of the guest no longer holds; retired slots do. */
void event_forget_wishes(struct event_box *box);

bool event_waiting(const struct event_box *box);

/* As request_run(): 0: nothing waits or no buffer. 1: more to do. -EAGAIN, -EPROTO. */
int event_run(struct event_box *box, struct virtq *q, struct gmem *g, unsigned int *units,
	      enum memlease_broken *reason, struct ml_why *why);

#endif /* ML_VHOST_EVENT_H */
