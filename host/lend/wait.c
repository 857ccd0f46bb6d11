// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Touches that wait for a block. In memory only: a new daemon has every toucher
 * fault again. A slot waits at most once, however many vCPUs touch it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "lender.h"

static bool bit(const uint8_t *map, uint64_t i)
{
	return map && (map[i / 8] >> (i % 8) & 1);
}

bool wait_has(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	return bit(vm->region[region].waiting, slot);
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

void wait_add(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns)
{
	struct lender *l = vm->lender;
	struct lend_region *r = &vm->region[region];
	struct meter_events events = { .waits = 1 };
	struct meter_counts counts = vm_counts(vm);
	struct lend_wait *w;

	if (!r->waiting)
		r->waiting = calloc(1, (r->slots.count + 7) / 8);
	w = calloc(1, sizeof(*w));
	if (!w || !r->waiting) {
		ml_err("VM %s: out of memory for a touch that waits", vm->rec->spec.name);
		abort();
	}
	w->region = region;
	w->slot = slot;
	w->since_ns = now_ns;
	if (vm->wait_last)
		vm->wait_last->next = w;
	else
		vm->wait_first = w;
	vm->wait_last = w;
	r->waiting[slot / 8] |= (uint8_t)(1 << slot % 8);
	if (!vm->waiting++)
		link_waiter(vm);
	vm->since_sum += now_ns;
	meter_change(&vm->rec->meter, now_ns, &counts, &events);
	l->waiting++;
	/*
	 * Where the source tells of it, it may have been read by whoever wanted to know something
	 * else: so somebody is to look, and only then it is known whether the pool is short.
	 */
	if (lend_served(l))
		l->serve_more = true;
	else
		wait_tell(l);
}

/* Take w, whose predecessor is given, off the queue. */
static void take(struct lend_vm *vm, struct lend_wait *w, struct lend_wait *before,
		 uint64_t now_ns)
{
	struct lend_region *r = &vm->region[w->region];
	uint64_t ns = now_ns > w->since_ns ? now_ns - w->since_ns : 0;
	struct meter_events events = { .wait_ns = ns };
	struct meter_counts counts = vm_counts(vm);

	if (before)
		before->next = w->next;
	else
		vm->wait_first = w->next;
	if (vm->wait_last == w)
		vm->wait_last = before;
	r->waiting[w->slot / 8] &= (uint8_t)~(1 << w->slot % 8);
	vm->since_sum -= w->since_ns;
	vm->lender->waiting--;
	if (!--vm->waiting)
		unlink_waiter(vm);
	if (ns > vm->rec->longest_wait_ns)
		vm->rec->longest_wait_ns = ns;
	meter_change(&vm->rec->meter, now_ns, &counts, &events);
	free(w);
}

/* Do touches wait for memory, and not only for a block to be zeroed? */
static bool is_short(const struct lender *l)
{
	struct policy_pool pool;

	if (!l->waiting)
		return false;
	lender_snapshot(l, &pool);
	return pool.waiting;
}

void wait_tell(struct lender *l)
{
	if (!l->short_told && is_short(l)) {
		l->short_told = true;
		ml_info("pool short: a touch of VM %s waits", l->waiters->rec->spec.name);
		vm_event(l, LEND_EV_POOL_SHORT, l->waiters, NULL);
	} else if (l->short_told && !l->waiting) {
		l->short_told = false;
		ml_info("pool: no touch waits any more");
		vm_event(l, LEND_EV_POOL_OK, NULL, NULL);
	}
}

void wait_drop(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count)
{
	struct lender *l = vm->lender;
	struct lend_wait *w = vm->wait_first, *before = NULL, *next;
	uint64_t now_ns = lend_now(l);

	if (!w)
		return;
	for (; w; w = next) {
		uint64_t slot = w->slot;

		next = w->next;
		if (w->region != region || slot < first || slot - first >= count) {
			before = w;
			continue;
		}
		take(vm, w, before, now_ns);
		l->hooks.served(l->hooks.ctx, vm, region, slot);
		if (!l->waiting)
			wait_tell(l);
	}
}

void wait_forget(struct lend_vm *vm)
{
	uint64_t now_ns = lend_now(vm->lender);

	if (!vm->wait_first)
		return;
	while (vm->wait_first)
		take(vm, vm->wait_first, NULL, now_ns);
	wait_tell(vm->lender);
}

void wait_ample(struct lender *l)
{
	l->kept_turn += l->kept_drawn;
	l->kept_drawn = false;
}

/* A VM that is not below its guarantee got a block of a pool that was so. */
static void count_kept(struct lend_vm *vm, const struct policy_pool *before)
{
	struct lender *l = vm->lender;

	if (!policy_at_last(before)) {
		wait_ample(l);
		return;
	}
	if (vm->kept_turn != l->kept_turn)
		vm->kept_taken = 0;
	vm->kept_turn = l->kept_turn;
	vm->kept_taken++;
	l->kept_drawn = true;
}

int wait_give(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	      const struct policy_pool *pool)
{
	bool own = vm_resident(vm) < vm->rec->spec.guarantee_blocks;
	int ret = move_in(vm, region, slot, now_ns, own || !pool->offered);

	if (ret == 0 && !own)
		count_kept(vm, pool);
	return ret;
}

/* The VM whose turn it is, or NULL; and the pool as it is. */
static struct lend_vm *next_waiter(struct lender *l, struct policy_pool *pool)
{
	struct lend_vm *vm;
	size_t n = 0;
	int best;

	for (vm = l->waiters; vm && n < LEND_VMS_MAX; vm = vm->wait_next)
		vm_snapshot(vm, &l->snapshot[n++]);
	lender_snapshot(l, pool);
	best = policy_next_waiter(pool, l->snapshot, n);
	if (best < 0)
		return NULL;
	for (vm = l->waiters; best > 0; best--)
		vm = vm->wait_next;
	return vm;
}

void wait_serve(struct lender *l)
{
	unsigned int most = LEND_SERVE_MAX;

	served_read_all(l);
	l->serve_more = false;
	while (l->waiting && lend_free(l)) {
		struct policy_pool pool;
		struct lend_vm *vm = next_waiter(l, &pool);
		enum memlease_region region;
		uint64_t now_ns = lend_now(l), slot;

		if (!vm)
			break;
		if (!most--) {
			l->serve_more = true;
			break;
		}
		region = vm->wait_first->region;
		slot = vm->wait_first->slot;
		if (slots_state(&vm->region[region].slots, slot) == SLOT_COMMITTED &&
		    wait_give(vm, region, slot, now_ns, &pool) == -EAGAIN)
			break;	/* the source is short, or none is clean; tried again later */
		/* The source may have served it meanwhile. */
		if (!wait_has(vm, region, slot))
			continue;
		take(vm, vm->wait_first, NULL, now_ns);
		if (vm->foreign)
			audit_count(vm, now_ns);
		l->hooks.served(l->hooks.ctx, vm, region, slot);
		if (!l->waiting)
			wait_tell(l);
	}
}

void wait_ask(struct lender *l, uint64_t now_ns)
{
	struct policy_vm snap;

	if (!is_short(l) || (l->asked_ns && now_ns - l->asked_ns < LEND_ASK_NS))
		return;
	l->asked_ns = now_ns;
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		vm_snapshot(vm, &snap);
		if (policy_ask(&snap, now_ns))
			lend_report_now(vm);
	}
}
