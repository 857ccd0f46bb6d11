// SPDX-License-Identifier: GPL-2.0-or-later
/* What a source that serves touches tells; see told_read.h. */
#include "told_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "account.h"
#include "loan.h"
#include "orphan.h"
#include "supply.h"
#include "tell.h"
#include "waiting.h"

void told_taken(struct lend_region *r, uint64_t slot, uint32_t block, uint64_t at_ns)
{
	struct meter_events events = { .touches = 1 };
	struct lend_vm *vm = r->vm;
	struct lender *l = vm->lender;
	uint64_t now_ns = lend_now(l);

	if (block >= l->pool.table.blocks ||
	    table_word(&l->pool.table, block).state != BLOCK_OFFERED)
		return;
	if (at_ns > now_ns)
		at_ns = now_ns;
	account_advance(vm, at_ns);
	/* The last daemon died while it took away what was here. */
	if (slots_state(&r->slots, slot) == SLOT_RESIDENT)
		loan_away(r, slot, SLOT_COMMITTED);
	else if (slots_state(&r->slots, slot) == SLOT_VACANT)
		slots_set(&r->slots, slot, SLOT_COMMITTED, 0);
	if (pool_taken(pool_self(&l->pool), block, loan_owner(vm, r->which, slot)) < 0)
		return;
	slots_set(&r->slots, slot, SLOT_RESIDENT, block);
	account_meter(vm, at_ns, &events);
	supply_was_taken(l);
	if (waiting_has(vm, r->which, slot))
		waiting_drop(vm, r->which, slot, 1);
}

void told_say_retired(struct lender *l, const struct lend_vm *vm, uint32_t block)
{
	char text[80];

	snprintf(text, sizeof(text), "block %u had a memory error and is retired", block);
	ml_warn("%s%s%s%s", vm ? "VM " : "pool", vm ? vm->rec->spec.name : "", ": ", text);
	tell_event(l, LEND_EV_RETIRED, vm, text);
}

void told_lost(struct lend_region *r, uint64_t slot)
{
	if (lost_add(&r->vm->lost, r->which, r->slots.count, slot))
		r->vm->lender->due |= DUE_ACT;
}

static void take_error(struct lender *l, const struct backend_event *e)
{
	struct lend_region *r = e->region ? e->region->owner : NULL;
	/* An error is no sign of life: a VM that ended while no daemon ran is not billed up to it. */
	uint64_t at_ns = r && r->vm->ended_unseen ? 0 : e->boot_ns;

	if (e->block >= l->pool.table.blocks)
		return;
	pool_retire(pool_self(&l->pool), e->block);
	if (r && slots_state(&r->slots, e->slot) == SLOT_RESIDENT &&
	    slots_block(&r->slots, e->slot) == e->block) {
		account_advance(r->vm, at_ns);
		slots_set(&r->slots, e->slot, SLOT_COMMITTED, 0);
		account_meter(r->vm, at_ns, NULL);
	}
	if (r)
		told_lost(r, e->slot);
	told_say_retired(l, r ? r->vm : NULL, e->block);
}

static void take_event(struct lender *l, const struct backend_event *e)
{
	struct lend_region *r = e->region ? e->region->owner : NULL;
	struct lend_vm *vm = r ? r->vm : NULL;

	if (e->type == BACKEND_ERROR) {
		take_error(l, e);
		return;
	}
	if (!r && e->type == BACKEND_TAKEN && orphan_took(l, e->block))
		supply_was_taken(l);
	if (!r)
		return;		/* of a VM that has ended */
	switch (e->type) {
	case BACKEND_TAKEN:
		told_taken(r, e->slot, e->block, e->boot_ns);
		break;
	case BACKEND_WAITING:
		if (slots_state(&r->slots, e->slot) == SLOT_COMMITTED && !vm->rec->ending &&
		    !waiting_has(vm, r->which, e->slot)) {
			waiting_add(vm, r->which, e->slot, e->boot_ns);
			/* Perhaps it was read by the way: somebody is to look at it. */
			l->due |= DUE_SERVE;
		}
		break;
	case BACKEND_VIOLATION:
	case BACKEND_TIMEOUT:
		if (!vm->fault.type)
			vm->fault = (struct lend_fault){ e->type, r->which, e->slot, e->pid };
		l->due |= DUE_ACT;
		break;
	case BACKEND_CLOSED:
		r->closed = true;
		r->closed_at = 0;
		l->due |= DUE_ACT;
		break;
	case BACKEND_ERROR:
		break;
	}
}

bool told_read(struct lender *l, uint32_t most)
{
	const struct backend_ops *ops = l->backend->ops;
	struct backend_event e;
	int ret = 0;

	while (most-- && (ret = ops->next_event(l->backend, &e)) != 0) {
		if (ret == -EOVERFLOW) {
			if (!(l->due & DUE_RESYNC))
				ml_warn("the source lost events: reading all slots instead");
			l->due |= DUE_RESYNC;
		} else if (ret > 0) {
			take_event(l, &e);
		} else {
			ml_err("events cannot be read: %s", strerror(-ret));
			break;
		}
	}
	return ret <= 0;
}
