// SPDX-License-Identifier: GPL-2.0-or-later
/* Acting on what the source has told; see told_act.h. */
#include "told_act.h"

#include <inttypes.h>

#include "../base/log.h"
#include "offence.h"
#include "tell.h"
#include "told_out.h"
#include "told_resync.h"
#include "waiting.h"

/* It is not served and cannot go on: the access that failed has stopped a vCPU, or QEMU. */
static void act_fault(struct lend_vm *vm)
{
	const struct lend_fault *f = &vm->fault;
	const char *where = told_region_word(f->region);

	if (f->pid && f->pid != vm->rec->pid)
		ml_warn("VM %s: it was process %d that did it", vm->rec->spec.name, (int)f->pid);
	if (f->type == BACKEND_VIOLATION)
		offence_stop(vm, "wrote to slot %" PRIu64 " of %s, which it had not borrowed",
			     f->slot, where);
	else
		offence_stop(vm, "waited too long for a block of slot %" PRIu64 " of %s", f->slot,
			     where);
}

/*
 * Nobody can read it any more: what is there goes, a slice a turn. Where a QEMU is known
 * its end empties the VM, and until then all is its own. Where somebody has opened it
 * again meanwhile, it is his: a QEMU writes there when it has shaken hands with us, not
 * between this look and the taking. True: that was the work of this turn.
 */
static bool act_closed(struct lend_region *r)
{
	struct lend_vm *vm = r->vm;
	uint64_t at = r->closed_at, left = r->slots.count - at;
	uint64_t n = left < vm->lender->slice_blocks ? left : vm->lender->slice_blocks;
	bool open = true;

	r->closed = false;
	if (vm->pidfd >= 0 || vm->lender->backend->ops->is_open(&r->at, &open) < 0 || open)
		return false;
	waiting_drop(vm, r->which, at, n);
	r->closed_at = at + n;
	r->closed = told_out(r, at, n, SLOT_COMMITTED, NULL) == 0 && n < left;
	return true;
}

static void act_lost(struct lend_vm *vm)
{
	struct lost_slot s;

	while (vm->user && lost_tell(&vm->lost, &s))
		tell_guest(vm, MEMLEASE_EV_RETIRED, s.region, s.slot, 1);
	if (lost_first(&vm->lost))
		vm->lender->due |= DUE_ACT_LATER;
}

void told_act(struct lender *l)
{
	bool emptied = false;

	if ((l->due & DUE_RESYNC) &&
	    (!l->resynced_ns || lend_now(l) - l->resynced_ns >= LEND_RESYNC_NS))
		told_resync_all(l);
	if (!(l->due & (DUE_ACT | DUE_ACT_LATER)))
		return;
	l->due &= ~(unsigned int)(DUE_ACT | DUE_ACT_LATER);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		if (vm->fault.type)
			act_fault(vm);
		vm->fault.type = 0;
		for (int i = 0; i < MEMLEASE_REGION_COUNT; i++) {
			struct lend_region *r = &vm->region[i];

			if (r->closed && !emptied)
				emptied = act_closed(r);
			if (r->closed)
				l->due |= DUE_ACT;
		}
		act_lost(vm);
	}
}
