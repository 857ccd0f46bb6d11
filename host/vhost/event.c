// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Queue 1: events for the guest. See event.h. The merge rules are those of
 * proto/memlease_abi.h.
 */
#include "event.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64

void event_init(struct event_box *box, struct lend_vm *vm)
{
	memset(box, 0, sizeof(*box));
	box->vm = vm;
}

void event_close(struct event_box *box)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		free(box->retired[r]);
		box->retired[r] = NULL;
	}
}

static struct event_note *note_of(struct event_box *box, enum memlease_event_type type)
{
	return &box->note[type - 1];
}

static struct event_note *note_raise(struct event_box *box, enum memlease_event_type type)
{
	struct event_note *n = note_of(box, type);

	if (!n->place)
		n->place = ++box->places;
	return n;
}

bool event_note_target(struct event_box *box, uint32_t seq, uint64_t a, uint64_t b)
{
	struct event_note *n = note_raise(box, MEMLEASE_EV_TARGET);

	n->seq = seq;
	n->a = a;
	n->b = b;
	return true;
}

bool event_note_report_now(struct event_box *box, uint32_t seq)
{
	note_raise(box, MEMLEASE_EV_REPORT_NOW)->seq = seq;
	return true;
}

bool event_note_retired(struct event_box *box, enum memlease_region region, uint64_t first,
			uint64_t count)
{
	uint64_t blocks;

	if ((unsigned int)region >= MEMLEASE_REGION_COUNT)
		return false;
	blocks = lend_region_blocks(box->vm, region);
	if (count == 0 || first >= blocks || count > blocks - first)
		return false;
	if (!box->retired[region])
		box->retired[region] = calloc((blocks + WORD_BITS - 1) / WORD_BITS,
					      sizeof(uint64_t));
	if (!box->retired[region])
		return false;
	for (uint64_t s = first; s < first + count; s++)
		box->retired[region][s / WORD_BITS] |= 1ULL << (s % WORD_BITS);
	note_raise(box, MEMLEASE_EV_RETIRED);
	return true;
}

void event_forget_wishes(struct event_box *box)
{
	note_of(box, MEMLEASE_EV_TARGET)->place = 0;
	note_of(box, MEMLEASE_EV_REPORT_NOW)->place = 0;
}

bool event_waiting(const struct event_box *box)
{
	for (int i = 0; i < EVENT_KINDS; i++)
		if (box->note[i].place)
			return true;
	return false;
}

static bool retired_bit(const struct event_box *box, enum memlease_region region, uint64_t slot)
{
	return box->retired[region][slot / WORD_BITS] >> (slot % WORD_BITS) & 1;
}

/* The first run of retired slots of any region; false: none. */
static bool retired_run(const struct event_box *box, struct gmem_run *out)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		uint64_t blocks = lend_region_blocks(box->vm, r), s = 0, end;

		if (!box->retired[r])
			continue;
		while (s < blocks && !retired_bit(box, r, s))
			s += box->retired[r][s / WORD_BITS] ? 1 : WORD_BITS - s % WORD_BITS;
		if (s >= blocks)
			continue;
		for (end = s; end < blocks && retired_bit(box, r, end); end++)
			;
		*out = (struct gmem_run){ r, s, end - s };
		return true;
	}
	return false;
}

static void retired_clear(struct event_box *box, const struct gmem_run *run)
{
	for (uint64_t s = run->first; s < run->first + run->count; s++)
		box->retired[run->region][s / WORD_BITS] &= ~(1ULL << (s % WORD_BITS));
}

/*
 * The slots as the guest numbers them. May shorten the run to what is contiguous
 * for the guest too. False: the guest does not see the slot at all.
 */
static bool retired_guest_slot(const struct gmem *g, struct gmem_run *run, uint64_t *first)
{
	struct gmem_run same;

	*first = run->first;
	if (run->region == MEMLEASE_REGION_WINDOW)
		return true;
	if (gmem_boot_slot(g, run->first, first) < 0 ||
	    gmem_boot_run(g, *first, run->count, &same) < 0) {
		run->count = 1;
		return false;
	}
	run->count = same.count;
	return true;
}

/* Which kind is next? The one that came up first. */
static enum memlease_event_type event_oldest(const struct event_box *box)
{
	int oldest = -1;

	for (int i = 0; i < EVENT_KINDS; i++)
		if (box->note[i].place &&
		    (oldest < 0 || box->note[i].place < box->note[oldest].place))
			oldest = i;
	return (enum memlease_event_type)(oldest + 1);
}

/* Fills in the next event. False: nothing to say of it after all. */
static bool event_fill(struct event_box *box, const struct gmem *g, struct memlease_event *e,
		       struct gmem_run *run)
{
	enum memlease_event_type type = event_oldest(box);
	const struct event_note *n = note_of(box, type);
	uint64_t first;

	memset(e, 0, sizeof(*e));
	e->type = htole16((uint16_t)type);
	if (type != MEMLEASE_EV_RETIRED) {
		e->seq = htole32(n->seq);
		e->a = htole64(n->a);
		e->b = htole64(n->b);
		return true;
	}
	if (!retired_run(box, run))
		return false;
	if (!retired_guest_slot(g, run, &first)) {
		retired_clear(box, run);
		return false;
	}
	e->region = htole16((uint16_t)run->region);
	e->a = htole64(first);
	e->b = htole64(run->count);
	return true;
}

/* The event that event_fill() gave is with the guest. */
static void event_sent(struct event_box *box, const struct gmem_run *run)
{
	enum memlease_event_type type = event_oldest(box);
	struct gmem_run more;

	if (type == MEMLEASE_EV_RETIRED) {
		if (run->count)
			retired_clear(box, run);
		if (retired_run(box, &more))
			return;
	}
	note_of(box, type)->place = 0;
}

static int event_send(struct event_box *box, struct virtq *q, struct gmem *g,
		      const struct virtq_chain *chain, struct ml_why *why)
{
	struct gmem_run run = { 0 };
	struct memlease_event e;
	int r;

	if (chain->reads > 0 || chain->write_bytes < sizeof(e))
		return ml_refuse(why, -EPROTO,
				 "an event buffer has %" PRIu64 " writable and %" PRIu64 " readable bytes, not %zu and 0",
				 chain->write_bytes, chain->read_bytes, sizeof(e));
	if (!event_fill(box, g, &e, &run)) {
		event_sent(box, &(struct gmem_run){ 0 });
		return 0;
	}
	r = virtq_ready(q, chain, g, sizeof(e));
	if (r == 0)
		r = virtq_write(chain, g, &e, sizeof(e));
	if (r == 0)
		r = virtq_complete(q, g, chain, sizeof(e));
	if (r == 0)
		event_sent(box, &run);
	return r;
}

int event_run(struct event_box *box, struct virtq *q, struct gmem *g, unsigned int *units,
	      enum memlease_broken *reason, struct ml_why *why)
{
	struct virtq_chain chain;
	int r;

	*reason = MEMLEASE_BROKEN_NOT;
	while (event_waiting(box)) {
		if (*units == 0)
			return 1;
		--*units;
		r = virtq_next(q, g, &chain, why);
		if (r == 0)
			return 0;
		if (r > 0)
			r = event_send(box, q, g, &chain, why);
		if (r == -EAGAIN)
			return r;
		if (r < 0) {
			*reason = MEMLEASE_BROKEN_RING;
			if (r != -EPROTO)
				return ml_refuse(why, -EPROTO,
						 "an event buffer in boot memory cannot be reached: %s",
						 strerror(-r));
			return -EPROTO;
		}
	}
	return 0;
}
