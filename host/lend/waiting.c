// SPDX-License-Identifier: GPL-2.0-or-later
/* Touches that wait, over all VMs; see waiting.h. */
#include "waiting.h"

#include <stdlib.h>

#include "../base/log.h"
#include "account.h"
#include "tell.h"

bool waiting_has(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	return queue_has(&vm->queue, region, slot);
}

static void link_waiter(struct lend_vm *vm)
{
	struct lender *l = vm->lender;

	vm->wait_prev = NULL;
	vm->wait_next = l->waiters;
	if (l->waiters)
		l->waiters->wait_prev = vm;
	l->waiters = vm;
}

static void unlink_waiter(struct lend_vm *vm)
{
	if (vm->wait_prev)
		vm->wait_prev->wait_next = vm->wait_next;
	else
		vm->lender->waiters = vm->wait_next;
	if (vm->wait_next)
		vm->wait_next->wait_prev = vm->wait_prev;
	vm->wait_prev = NULL;
	vm->wait_next = NULL;
}

void waiting_add(struct lend_vm *vm, enum memlease_region region, uint64_t slot,
		 uint64_t since_ns)
{
	struct meter_events events = { .waits = 1 };
	struct meter_counts counts = account_counts(vm);

	if (queue_add(&vm->queue, region, vm->region[region].slots.count, slot, since_ns) < 0) {
		ml_err("VM %s: out of memory for a touch that waits", vm->rec->spec.name);
		abort();
	}
	if (queue_count(&vm->queue) == 1)
		link_waiter(vm);
	meter_change(&vm->rec->meter, since_ns, &counts, &events);
	vm->lender->waiting++;
}

/* It has been taken off the queue: meter how long it took. */
static void waited(struct lend_vm *vm, const struct queued *t, uint64_t now_ns)
{
	uint64_t ns = now_ns > t->since_ns ? now_ns - t->since_ns : 0;
	struct meter_events events = { .served = 1 };
	struct meter_counts counts = account_counts(vm);

	vm->lender->waiting--;
	if (!queue_count(&vm->queue))
		unlink_waiter(vm);
	if (ns > vm->rec->longest_wait_ns)
		vm->rec->longest_wait_ns = ns;
	meter_change(&vm->rec->meter, now_ns, &counts, &events);
}

static void waited_and_woken(struct lend_vm *vm, const struct queued *t, uint64_t now_ns)
{
	waited(vm, t, now_ns);
	tell_served(vm, t->region, t->slot);
	if (!vm->lender->waiting)
		waiting_tell(vm->lender);
}

void waiting_served(struct lend_vm *vm, uint64_t now_ns)
{
	struct queued t;

	if (queue_take(&vm->queue, &t))
		waited_and_woken(vm, &t, now_ns);
}

void waiting_drop(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count)
{
	struct queued *after = NULL, t;
	uint64_t now_ns;

	if (!queue_count(&vm->queue))
		return;
	now_ns = lend_now(vm->lender);
	while (queue_take_of(&vm->queue, region, first, count, &after, &t))
		waited_and_woken(vm, &t, now_ns);
}

void waiting_forget(struct lend_vm *vm)
{
	uint64_t now_ns = lend_now(vm->lender);
	struct queued t;

	if (!queue_count(&vm->queue))
		return;
	while (queue_take(&vm->queue, &t))
		waited(vm, &t, now_ns);
	waiting_tell(vm->lender);
}

bool waiting_short(const struct lender *l)
{
	struct policy_pool pool;

	if (!l->waiting)
		return false;
	account_pool(l, &pool);
	return pool.waiting;
}

void waiting_tell(struct lender *l)
{
	if (!l->short_told && waiting_short(l)) {
		l->short_told = true;
		ml_info("pool short: a touch of VM %s waits", l->waiters->rec->spec.name);
		tell_event(l, LEND_EV_POOL_SHORT, l->waiters, NULL);
	} else if (l->short_told && !l->waiting) {
		l->short_told = false;
		ml_info("pool: no touch waits any more");
		tell_event(l, LEND_EV_POOL_OK, NULL, NULL);
	}
}
