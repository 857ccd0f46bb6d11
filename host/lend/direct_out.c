// SPDX-License-Identifier: GPL-2.0-or-later
/* Taking blocks out of VMs where the daemon put them in; see direct_out.h. */
#include "direct_out.h"

#include <errno.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "foreign.h"
#include "loan.h"

static void set_intent(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to)
{
	struct record_intent *in = &r->vm->rec->intent;

	in->region = r->which;
	in->first = first;
	in->count = count;
	in->to = to;
	ml_step("intent");
	__atomic_store_n(&in->active, 1, __ATOMIC_RELEASE);
}

static void clear_intent(struct lend_region *r)
{
	ml_step("intent done");
	__atomic_store_n(&r->vm->rec->intent.active, 0, __ATOMIC_RELEASE);
}

/* A run of RESIDENT slots, no longer than BACKEND_RUN_MAX. */
static int resident_run_out(struct lend_region *r, uint64_t first, uint64_t count,
			    enum slot_state to)
{
	struct lend_vm *vm = r->vm;
	uint64_t now_ns = lend_now(vm->lender);
	uint32_t blocks[BACKEND_RUN_MAX], taken;
	int ret;

	meter_advance(&vm->rec->meter, now_ns);
	set_intent(r, first, count, to);
	ml_step("unmap");
	ret = vm->lender->backend->ops->unmap(&r->at, first, count, blocks, &taken);
	if (ret < 0) {
		/* What is gone and what is not is found out by the audit; nothing becomes free. */
		ml_err("VM %s: cannot take %llu blocks from %s: %s", vm->rec->spec.name,
		       (unsigned long long)count, r->at.path, strerror(-ret));
		clear_intent(r);
		return -EUCLEAN;
	}
	for (uint64_t i = first; i < first + count; i++)
		loan_away(r, i, to);
	account_meter(vm, now_ns, NULL);
	clear_intent(r);
	return 0;
}

/* How many slots from first on, before end, are not RESIDENT? */
static uint64_t gap(const struct slots *s, uint64_t first, uint64_t end)
{
	uint64_t i = first;

	while (i < end && slots_state(s, i) != SLOT_RESIDENT)
		i++;
	return i - first;
}

/* The right to the slots goes, too. */
static void vacate(struct lend_region *r, uint64_t first, uint64_t count)
{
	uint64_t now_ns = lend_now(r->vm->lender);

	meter_advance(&r->vm->rec->meter, now_ns);
	for (uint64_t i = first; i < first + count; i++) {
		if (slots_state(&r->slots, i) == SLOT_COMMITTED)
			slots_set(&r->slots, i, SLOT_VACANT, 0);
	}
	account_meter(r->vm, now_ns, NULL);
}

int direct_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
	       uint64_t *moved)
{
	uint64_t at = first, end = first + count;
	bool foreign = account_foreign(r->vm) != 0;

	while (at < end) {
		uint64_t stop = end - at > BACKEND_RUN_MAX ? at + BACKEND_RUN_MAX : end;
		uint64_t run = slots_run(&r->slots, at, stop, SLOT_RESIDENT);
		int ret;

		if (!run) {
			run = gap(&r->slots, at, stop);
			if (foreign)
				foreign_out(r, at, run);
			at += run;
			continue;
		}
		ret = resident_run_out(r, at, run, to);
		if (ret < 0)
			return ret;
		if (moved)
			*moved += run;
		at += run;
	}
	if (foreign)
		foreign_count(r->vm, lend_now(r->vm->lender));
	if (to == SLOT_VACANT)
		vacate(r, first, count);
	return 0;
}

uint64_t direct_end_idle(const struct lend_region *r, uint64_t first)
{
	return account_foreign(r->vm) ? 0 : gap(&r->slots, first, r->slots.count);
}

void direct_end_out(struct lend_region *r, uint64_t first, uint64_t count)
{
	/* A run that cannot be taken out was logged, and goes with its file. */
	direct_out(r, first, count, SLOT_COMMITTED, NULL);
}

void direct_emptied(struct lend_region *r, uint64_t slot)
{
	resident_run_out(r, slot, 1, SLOT_COMMITTED);
}
