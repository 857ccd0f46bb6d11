// SPDX-License-Identifier: GPL-2.0-or-later
/* What operators ask: limit, guarantee, target, reports. Moves no block. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../base/size.h"
#include "lender.h"

#define DEADLINE_MS_MIN 100
#define DEADLINE_MS_MAX 3600000

static const char *size_text(uint64_t blocks, char buf[ML_SIZE_TEXT])
{
	return ml_size_human(blocks * MEMLEASE_BLOCK_BYTES, buf);
}

static void config_changed(struct lend_vm *vm)
{
	vm->lender->hooks.config_changed(vm->lender->hooks.ctx, vm);
}

int lend_set_limit(struct lend_vm *vm, uint64_t limit_blocks, char *why, size_t why_size)
{
	struct vm_spec *s = &vm->rec->spec;
	uint64_t most = s->boot_blocks + vm->rec->window_blocks;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (limit_blocks < s->boot_blocks || limit_blocks > most) {
		snprintf(why, why_size,
			 "a limit of %s is out of bounds: from %s (boot memory) to %s (boot memory and window, which were fixed when the VM was made)",
			 size_text(limit_blocks, a), size_text(s->boot_blocks, b),
			 size_text(most, c));
		return -EINVAL;
	}
	if (limit_blocks < s->guarantee_blocks) {
		snprintf(why, why_size,
			 "a limit of %s is below the guarantee of %s; lower the guarantee first",
			 size_text(limit_blocks, a), size_text(s->guarantee_blocks, b));
		return -EINVAL;
	}
	s->limit_blocks = limit_blocks;
	vm_account(vm);
	config_changed(vm);
	return 0;
}

int lend_set_guarantee(struct lend_vm *vm, uint64_t guarantee_blocks, char *why, size_t why_size)
{
	struct vm_spec *s = &vm->rec->spec;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT];
	struct policy_pool pool;
	uint64_t now_ns;
	int ret;

	if (guarantee_blocks > s->limit_blocks) {
		snprintf(why, why_size,
			 "a guarantee of %s is above the limit of %s; raise the limit first",
			 size_text(guarantee_blocks, a), size_text(s->limit_blocks, b));
		return -EINVAL;
	}
	/* What may be promised is what is free for certain. */
	supply_hold(vm->lender);
	lender_snapshot(vm->lender, &pool);
	ret = policy_guarantee(&pool, s->guarantee_blocks, guarantee_blocks, vm_resident(vm), why,
			       why_size);
	if (ret == 0) {
		now_ns = lend_now(vm->lender);
		meter_advance(&vm->rec->meter, now_ns);
		s->guarantee_blocks = guarantee_blocks;
		vm_meter(vm, now_ns, NULL);
		wait_serve(vm->lender);		/* a guarantee lowered frees blocks for others */
	}
	supply_fill(vm->lender);
	return ret;
}

static int check_target(const struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms,
			char *why, size_t why_size)
{
	const struct vm_spec *s = &vm->rec->spec;
	uint64_t most = s->boot_blocks + vm->rec->window_blocks;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (target_blocks < s->boot_blocks || target_blocks > most) {
		snprintf(why, why_size,
			 "a target of %s is out of bounds: from %s (boot memory) to %s (boot memory and window)",
			 size_text(target_blocks, a), size_text(s->boot_blocks, b),
			 size_text(most, c));
		return -EINVAL;
	}
	if (deadline_ms < DEADLINE_MS_MIN || deadline_ms > DEADLINE_MS_MAX) {
		snprintf(why, why_size, "a deadline of %u ms is out of bounds: from %d to %d ms",
			 deadline_ms, DEADLINE_MS_MIN, DEADLINE_MS_MAX);
		return -EINVAL;
	}
	return 0;
}

int lend_set_target(struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms, char *why,
		    size_t why_size)
{
	struct record *rec = vm->rec;
	struct lender *l = vm->lender;
	bool clear = target_blocks == MEMLEASE_NO_TARGET;
	int ret = clear ? 0 : check_target(vm, target_blocks, deadline_ms, why, why_size);

	if (ret < 0)
		return ret;
	rec->target_blocks = clear ? MEMLEASE_NO_TARGET : target_blocks - rec->spec.boot_blocks;
	rec->target_deadline_ms = clear ? 0 : deadline_ms;
	rec->target_seq++;
	config_changed(vm);
	l->hooks.guest_event(l->hooks.ctx, vm, MEMLEASE_EV_TARGET, rec->target_seq,
			     rec->target_blocks, rec->target_deadline_ms);
	vm_event(l, LEND_EV_TARGET, vm, NULL);
	return 0;
}

void lend_report_now(struct lend_vm *vm)
{
	struct lender *l = vm->lender;

	vm->asked_ns = lend_now(l);
	l->hooks.guest_event(l->hooks.ctx, vm, MEMLEASE_EV_REPORT_NOW, ++vm->event_seq, 0, 0);
}
