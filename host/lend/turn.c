// SPDX-License-Identifier: GPL-2.0-or-later
/* What is next; see turn.h. */
#include "turn.h"

#include "clean.h"
#include "compact.h"
#include "job.h"
#include "loan.h"
#include "orphan.h"
#include "serve.h"
#include "stock.h"
#include "supply.h"
#include "unstarted.h"
#include "usage.h"
#include "waiting.h"

#define NS_PER_MS 1000000
#define TICK_NS 1000000000ULL
#define EVENTS_PER_TURN 2048	/* a few milliseconds */

static void act(struct lender *l)
{
	if (l->loans->act)
		l->loans->act(l);
}

void turn_serve(struct lender *l)
{
	loan_read_all(l);
	serve_waiting(l);
}

/* Say so if the pool has become short, or is not any more, and ask guests for memory. */
static void tell_and_ask(struct lender *l)
{
	waiting_tell(l);
	serve_ask(l, lend_now(l));
}

/*
 * Where blocks are zeroed ahead one may be clean in a moment: so the next turn tries again,
 * and only then it is known whether the pool is short.
 */
void turn_waits(struct lender *l)
{
	if (l->backend->zeroes_itself)
		waiting_tell(l);
	else
		l->due |= DUE_SERVE;
	serve_ask(l, lend_now(l));
}

bool turn_has_work(const struct lender *l)
{
	return l->jobs || (l->due & (DUE_SERVE | DUE_ACT)) || compact_has_work(l);
}

void turn_work(struct lender *l)
{
	job_turn(l);
	if (l->due & DUE_ACT)
		act(l);
	turn_serve(l);
	tell_and_ask(l);
	stock_fill(l);
	compact_slice(l);
}

void turn_events(struct lender *l)
{
	clean_look(l);
	/* What one turn leaves comes up in the next one: the descriptor stays readable. */
	if (!loan_read(l, EVENTS_PER_TURN))
		return;
	act(l);
	turn_serve(l);
	tell_and_ask(l);
	stock_fill(l);
}

void turn_tick(struct lender *l)
{
	uint64_t now_ns = lend_now(l);
	int64_t wall_ms = ml_wall_ms(l->config.clock);

	l->ticked_ns = now_ns;
	l->boundary_ns = now_ns + (uint64_t)(meter_period_end(wall_ms, l->config.period_s) -
					     wall_ms) * NS_PER_MS;
	usage_collect(l);
	clean_look(l);
	loan_read_all(l);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		l->loans->audit(vm, now_ns);
	for (struct lend_vm *vm = l->jobs; vm; vm = vm->job_next) {
		if (vm->state == VM_ENDING)
			loan_count(vm, now_ns);
	}
	act(l);
	if (l->backend->ops->tick)
		l->backend->ops->tick(l->backend);
	orphan_tick(l);
	unstarted_tick(l);
	supply_tick(l);
	compact_tick(l);
	turn_work(l);
	tell_and_ask(l);
	usage_post_all(l, now_ns, wall_ms);
	usage_tell(l);
}

uint64_t turn_next_tick_ns(const struct lender *l)
{
	uint64_t next_ns = l->ticked_ns + TICK_NS;

	if ((l->due & DUE_RESYNC) && l->resynced_ns + LEND_RESYNC_NS < next_ns)
		next_ns = l->resynced_ns + LEND_RESYNC_NS;
	return next_ns < l->boundary_ns ? next_ns : l->boundary_ns;
}
