// SPDX-License-Identifier: GPL-2.0-or-later
/* From the meters to the ledger; see usage.h. */
#include "usage.h"

#include <stdio.h>

#include "../base/log.h"
#include "tell.h"
#include "vm.h"

/* Tags of entries: a closed row says how many rows are closed with it. */
#define TAG_OPEN 0
#define TAG_LAST UINT64_MAX

#define ACKS_AT_ONCE 256

static int post(struct lend_vm *vm, const struct meter_row *row, uint64_t tag)
{
	const struct record *rec = vm->rec;
	struct ledger_entry e = {
		.vm_key = rec->id,
		.tag = tag,
		.vm = { .boot_blocks = rec->spec.boot_blocks, .created_ms = rec->created_ms,
			.ended_ms = rec->ended_ms },
		.row = *row,
	};

	snprintf(e.vm.uuid, sizeof(e.vm.uuid), "%.36s", rec->uuid);
	snprintf(e.vm.name, sizeof(e.vm.name), "%s", rec->spec.name);
	snprintf(e.vm.tenant, sizeof(e.vm.tenant), "%s", rec->spec.tenant);
	snprintf(e.vm.plan, sizeof(e.vm.plan), "%s", rec->spec.plan);
	return ledger_post(vm->lender->ledger, &e);
}

void usage_post(struct lend_vm *vm)
{
	const struct meter *m = &vm->rec->meter;
	uint64_t closed = meter_now(m)->closed;
	struct meter_row row;

	for (uint64_t i = m->taken; i < closed; i++) {
		if (post(vm, meter_closed_row(m, i), i + 1) < 0)
			return;		/* the queue is full; again in a second */
	}
	meter_open_row(m, &row);
	post(vm, &row, vm->state == VM_ENDED ? TAG_LAST : TAG_OPEN);
}

static void acknowledged(struct lender *l, const struct ledger_ack *ack)
{
	struct lend_vm *vm = ack->vm_key < LEND_IDS ? l->by_id[ack->vm_key] : NULL;

	if (!vm || ack->tag == TAG_OPEN)
		return;
	if (ack->tag != TAG_LAST) {
		/* Rows come in order, but an earlier batch may have failed between two. */
		if (ack->tag == vm->rec->meter.taken + 1)
			meter_taken(&vm->rec->meter, ack->tag);
		return;
	}
	if (vm->state == VM_ENDED && vm->rec->meter.taken == meter_now(&vm->rec->meter)->closed)
		vm_forget(vm);
}

void usage_collect(struct lender *l)
{
	struct ledger_ack acks[ACKS_AT_ONCE];
	size_t n;

	do {
		n = ledger_acks(l->ledger, acks, ACKS_AT_ONCE);
		for (size_t i = 0; i < n; i++)
			acknowledged(l, &acks[i]);
	} while (n == ACKS_AT_ONCE);
}

void usage_tell(struct lender *l)
{
	char text[LEDGER_ERROR_BYTES], aside[ML_WHY_BYTES];
	bool behind = ledger_behind(l->ledger, text);

	if (ledger_was_aside(l->ledger, aside)) {
		ml_err("%s", aside);
		tell_event(l, LEND_EV_SET_ASIDE, NULL, aside);
	}

	if (behind == l->behind)
		return;
	l->behind = behind;
	if (behind)
		ml_warn("ledger %s is behind: %s; usage is kept in the VM records and written later",
			l->ledger_path, text);
	else
		ml_info("ledger %s has caught up", l->ledger_path);
	tell_event(l, behind ? LEND_EV_LEDGER_BEHIND : LEND_EV_LEDGER_OK, NULL,
		 behind ? text : NULL);
}

void usage_post_all(struct lender *l, uint64_t now_ns, int64_t wall_ms)
{
	for (struct lend_vm *vm = NULL; (vm = lend_next_alive(l, vm));) {
		meter_tick(&vm->rec->meter, now_ns, wall_ms, l->config.period_s);
		usage_post(vm);
	}
	for (struct lend_vm *vm = l->ended; vm; vm = vm->next)
		usage_post(vm);
	ledger_kick(l->ledger);
}
