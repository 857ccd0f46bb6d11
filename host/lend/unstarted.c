// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs that no QEMU has come for; see unstarted.h. */
#include "unstarted.h"

#include <stdio.h>

#include "../base/log.h"
#include "account.h"
#include "stock.h"
#include "tell.h"

#define NS_PER_MS 1000000

static bool holds_claim(const struct lend_vm *vm)
{
	return vm->lender->config.start_timeout_ms && !vm->rec->pid && !vm->rec->ending &&
	       !account_lapsed(vm);
}

/* When, by the boot clock, a claim lapses: all that was counted so far was its boot memory. */
static uint64_t lapses_ns(const struct lend_vm *vm)
{
	const struct meter_state *m = meter_now(&vm->rec->meter);
	uint64_t held_ns = ml_clamp64(m->total.committed_ns / vm->rec->spec.boot_blocks);
	uint64_t all_ns = vm->lender->config.start_timeout_ms * NS_PER_MS;

	return m->at_ns + (all_ns > held_ns ? all_ns - held_ns : 0);
}

static void lapse(struct lend_vm *vm, uint64_t at_ns)
{
	account_lapse(vm, at_ns);
	ml_info("VM %s: no QEMU has come for it in %llu s: it holds neither boot memory nor guarantee any more, and is not billed; its QEMU is admitted if there is room then",
		vm->rec->spec.name,
		(unsigned long long)vm->lender->config.start_timeout_ms / 1000);
	tell_event(vm->lender, LEND_EV_VM_LAPSED, vm, NULL);
}

void unstarted_tick(struct lender *l)
{
	uint64_t now_ns = lend_now(l);

	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		if (holds_claim(vm) && lapses_ns(vm) <= now_ns)
			lapse(vm, now_ns);
	}
}

void unstarted_settle(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	uint64_t now_ns = lend_now(l), at_ns;

	if (!holds_claim(vm))
		return;
	at_ns = lapses_ns(vm);
	if (at_ns >= now_ns)
		return;
	meter_tick(&vm->rec->meter, at_ns,
		   ml_wall_ms(l->config.clock) - (int64_t)((now_ns - at_ns) / NS_PER_MS),
		   l->config.period_s);
	lapse(vm, at_ns);
}

int64_t unstarted_lapses_ms(const struct lend_vm *vm)
{
	return holds_claim(vm) ? vm->rec->created_ms + (int64_t)vm->lender->config.start_timeout_ms : 0;
}

int unstarted_claim(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	const struct vm_spec *s = &vm->rec->spec;
	struct policy_pool pool;
	struct ml_why why = { "" };
	int ret;

	if (!account_lapsed(vm))
		return 0;
	/* What may be promised is what is free for certain. */
	stock_hold(l);
	account_pool(l, &pool);
	ret = policy_admit(&pool, s->boot_blocks, s->guarantee_blocks, &why);
	if (ret == 0)
		return 0;
	stock_fill(l);
	snprintf(vm->refused, sizeof(vm->refused), "%s", why.text);
	/* A QEMU tries again at once, and some for ever. */
	if (ml_quiet_allows(&vm->refusals, lend_now(l) / 1000))
		tell_event(l, LEND_EV_START_REFUSED, vm, vm->refused);
	return ret;
}

void unstarted_begin(struct lend_vm *vm)
{
	/* Whether it had lapsed its record does not say any more; its sums do. */
	vm->refused[0] = '\0';
	account_meter(vm, lend_now(vm->lender), NULL);
	stock_fill(vm->lender);
}
