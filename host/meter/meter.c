// SPDX-License-Identifier: GPL-2.0-or-later
/* The meter; see meter.h. commit_state() is the only writer of a meter's state. */
#include "meter.h"

#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"

#define NS_PER_MS 1000000

const struct meter_state *meter_now(const struct meter *m)
{
	return &m->copy[m->index & 1];
}

static void commit_state(struct meter *m, const struct meter_state *s)
{
	uint32_t next = (m->index & 1) ^ 1;

	m->copy[next] = *s;
	ml_step("meter");
	__atomic_store_n(&m->index, next, __ATOMIC_RELEASE);
}

/* Up to when time counts. */
static uint64_t counted_ns(const struct meter *m, uint64_t now_ns)
{
	return m->stopped ? meter_now(m)->at_ns : now_ns;
}

static void integrate(struct meter_state *s, uint64_t now_ns, const struct meter_counts *counts)
{
	uint64_t dt;

	if (now_ns <= s->at_ns)
		return;
	dt = now_ns - s->at_ns;
	s->total.resident_ns += (ml_u128)counts->resident * dt;
	s->total.committed_ns += (ml_u128)counts->committed * dt;
	s->total.guarantee_ns += (ml_u128)counts->guarantee * dt;
	s->total.wait_ns += s->waiting * dt;
	s->at_ns = now_ns;
}

static void set_counts(struct meter_state *s, const struct meter_counts *counts)
{
	s->counts = *counts;
	if (counts->resident > s->peak_resident)
		s->peak_resident = counts->resident;
	if (counts->resident > s->period_peak_resident)
		s->period_peak_resident = counts->resident;
}

void meter_init(struct meter *m, uint64_t now_ns, int64_t wall_ms)
{
	struct meter_state s = { .at_ns = now_ns, .start_ms = wall_ms, .until_ms = wall_ms };

	memset(m, 0, sizeof(*m));
	commit_state(m, &s);
}

void meter_change(struct meter *m, uint64_t now_ns, const struct meter_counts *counts,
		  const struct meter_events *events)
{
	struct meter_state s = *meter_now(m);

	integrate(&s, counted_ns(m, now_ns), &s.counts);
	set_counts(&s, counts);
	if (events) {
		/* A wait may have begun before what is integrated. */
		if (s.at_ns > now_ns && !m->stopped)
			s.total.wait_ns += events->waits * (s.at_ns - now_ns);
		s.total.touches += events->touches;
		s.total.waits += events->waits;
		s.waiting += events->waits;
		s.waiting -= events->served < s.waiting ? events->served : s.waiting;
	}
	commit_state(m, &s);
}

void meter_waits_anew(struct meter *m, uint64_t now_ns)
{
	struct meter_state s = *meter_now(m);

	if (!s.waiting)
		return;
	integrate(&s, counted_ns(m, now_ns), &s.counts);
	s.waiting = 0;
	commit_state(m, &s);
}

void meter_advance(struct meter *m, uint64_t now_ns)
{
	struct meter_state s;

	if (counted_ns(m, now_ns) <= meter_now(m)->at_ns)
		return;
	s = *meter_now(m);
	integrate(&s, now_ns, &s.counts);
	commit_state(m, &s);
}

void meter_correct(struct meter *m, const struct meter_counts *counts)
{
	struct meter_state s = *meter_now(m);

	set_counts(&s, counts);
	commit_state(m, &s);
}

void meter_stop(struct meter *m)
{
	ml_step("meter stop");
	__atomic_store_n(&m->stopped, 1, __ATOMIC_RELEASE);
}

static uint64_t row_value(ml_u128 v)
{
	return v > INT64_MAX ? INT64_MAX : (uint64_t)v;	/* SQLite's integers are signed */
}

static void make_row(const struct meter_state *s, struct meter_row *row)
{
	const struct meter_sums *t = &s->total, *b = &s->base;

	row->start_ms = s->start_ms;
	row->until_ms = s->until_ms;
	row->resident_block_ns = row_value(t->resident_ns - b->resident_ns);
	row->committed_block_ns = row_value(t->committed_ns - b->committed_ns);
	row->guarantee_block_ns = row_value(t->guarantee_ns - b->guarantee_ns);
	row->peak_resident_blocks = s->period_peak_resident;
	row->touches = t->touches - b->touches;
	row->waits = t->waits - b->waits;
	row->wait_ns = t->wait_ns - b->wait_ns;
}

int64_t meter_period_end(int64_t wall_ms, uint32_t period_s)
{
	int64_t period_ms = (int64_t)period_s * 1000;

	return (wall_ms / period_ms + 1) * period_ms;
}

/* Close the open row at end_ms, which lies at boundary_ns; the new one starts at next_ms. */
static void close_row(struct meter *m, struct meter_state *s, int64_t end_ms, int64_t next_ms)
{
	s->until_ms = end_ms;
	make_row(s, &m->closed[s->closed % METER_CLOSED_MAX]);
	s->closed++;
	s->base = s->total;
	s->start_ms = next_ms;
	s->until_ms = next_ms;
	s->period_peak_resident = s->counts.resident;
	commit_state(m, s);
}

void meter_tick(struct meter *m, uint64_t now_ns, int64_t wall_ms, uint32_t period_s)
{
	struct meter_state s = *meter_now(m);
	int64_t period_ms = (int64_t)period_s * 1000;

	if (m->stopped)
		return;
	for (;;) {
		int64_t from = s.until_ms > s.start_ms ? s.until_ms : s.start_ms;
		int64_t end_ms = meter_period_end(from, period_s), at_ms, next_ms;
		uint64_t since_ns;

		if (wall_ms < end_ms || s.closed - m->taken >= METER_CLOSED_MAX)
			break;
		since_ns = (uint64_t)(wall_ms - end_ms) * NS_PER_MS;
		if (since_ns < now_ns)
			integrate(&s, now_ns - since_ns, &s.counts);
		/*
		 * After a jump of the wall clock that instant lies before what is
		 * integrated; then the periods in between are skipped: they have no time.
		 */
		at_ms = wall_ms - (int64_t)((now_ns - (s.at_ns < now_ns ? s.at_ns : now_ns) +
					     NS_PER_MS - 1) / NS_PER_MS);
		next_ms = at_ms / period_ms * period_ms;
		close_row(m, &s, end_ms, next_ms > end_ms ? next_ms : end_ms);
	}
	integrate(&s, now_ns, &s.counts);
	if (wall_ms > s.until_ms)
		s.until_ms = wall_ms;
	commit_state(m, &s);
}

void meter_open_row(const struct meter *m, struct meter_row *row)
{
	make_row(meter_now(m), row);
}

const struct meter_row *meter_closed_row(const struct meter *m, uint64_t i)
{
	return &m->closed[i % METER_CLOSED_MAX];
}

void meter_taken(struct meter *m, uint64_t i)
{
	if (i > m->taken)
		__atomic_store_n(&m->taken, i, __ATOMIC_RELEASE);
}

bool meter_plausible(const struct meter *m)
{
	const struct meter_state *s = meter_now(m);

	return m->index <= 1 && m->stopped <= 1 && s->closed >= m->taken &&
	       s->closed - m->taken <= METER_CLOSED_MAX && s->until_ms >= s->start_ms &&
	       s->total.resident_ns >= s->base.resident_ns &&
	       s->peak_resident >= s->counts.resident;
}

void meter_validate(const struct meter *m)
{
	if (!meter_plausible(m)) {
		ml_err("a meter is out of order");
		abort();
	}
}
