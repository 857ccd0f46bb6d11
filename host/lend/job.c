// SPDX-License-Identifier: GPL-2.0-or-later
/* Work in slices; see job.h. */
#include "job.h"

#include <stdio.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "loan.h"
#include "tell.h"
#include "usage.h"
#include "vm.h"
#include "waiting.h"

/* To the end of the line. */
static void job_append(struct lend_vm *vm)
{
	struct lend_vm **at = &vm->lender->jobs;

	while (*at)
		at = &(*at)->job_next;
	*at = vm;
	vm->job_next = NULL;
	vm->job = true;
}

/* Begin a job from its start, perhaps in place of another of this VM. */
static void job_add(struct lend_vm *vm)
{
	vm->job_at = 0;
	if (!vm->job)
		job_append(vm);
}

static void job_remove(struct lend_vm *vm)
{
	struct lend_vm **at = &vm->lender->jobs;

	while (*at != vm)
		at = &(*at)->job_next;
	*at = vm->job_next;
	vm->job = false;
}

/* --- the end --- */

/* True: empty. Whole stretches of an empty window cost only a look at the slots. */
static bool end_slice(struct lend_vm *vm)
{
	const struct loan_ops *ops = vm->lender->loans;
	uint64_t boot = vm->region[MEMLEASE_REGION_BOOT].slots.count;
	uint64_t all = boot + vm->region[MEMLEASE_REGION_WINDOW].slots.count;
	uint64_t budget = vm->lender->slice_blocks;

	loan_count(vm, lend_now(vm->lender));
	while (vm->job_at < all) {
		bool in_boot = vm->job_at < boot;
		struct lend_region *r = &vm->region[in_boot ? MEMLEASE_REGION_BOOT
							    : MEMLEASE_REGION_WINDOW];
		uint64_t first = vm->job_at - (in_boot ? 0 : boot);
		uint64_t n = ops->end_idle(r, first), left = r->slots.count - first;

		if (!n && !budget)
			return false;
		if (!n) {
			n = left < budget ? left : budget;
			ops->end_out(r, first, n);
			budget -= n;
		}
		vm->job_at += n;
	}
	return true;
}

static void end_finish(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	struct record *rec = vm->rec;
	struct meter_counts none = { 0 };
	uint64_t now_ns;

	if (l->loans->end_rest)
		l->loans->end_rest(vm);
	now_ns = lend_now(l);
	meter_tick(&rec->meter, now_ns, ml_wall_ms(l->config.clock), l->config.period_s);
	meter_change(&rec->meter, now_ns, &none, NULL);
	ml_step("ended");
	rec->ended_ms = rec->meter.stopped ? meter_now(&rec->meter)->until_ms :
			ml_wall_ms(l->config.clock);
	loan_read_all(l);
	vm_close_regions(vm);
	vm_remove_regions(vm);
	ml_info("VM %s: ended: %s", rec->spec.name, vm->end_why);
	vm_to_ended(vm);
	tell_event(l, LEND_EV_VM_ENDED, vm, vm->end_why);
	usage_post(vm);
	ledger_kick(l->ledger);
}

void job_end(struct lend_vm *vm, const char *why)
{
	struct lender *l = vm->lender;

	meter_advance(&vm->rec->meter, lend_now(l));
	ml_step("ending");
	vm->rec->ending = 1;
	snprintf(vm->end_why, sizeof(vm->end_why), "%s", why);
	waiting_forget(vm);
	vm_unlink(vm);
	vm->state = VM_ENDING;
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	vm->pidfd = -1;
	/* From here on it has no guarantee and is committed to nothing; blocks it has. */
	account_meter(vm, lend_now(l), NULL);
	job_add(vm);
}

/* --- reset --- */

/* True: the window is vacant. */
static bool reset_slice(struct lend_vm *vm)
{
	const struct slots *s = &vm->region[MEMLEASE_REGION_WINDOW].slots;
	uint64_t budget = vm->lender->slice_blocks;

	while (vm->job_at < s->count) {
		uint64_t left = s->count - vm->job_at;
		uint64_t n = account_foreign(vm) ? 0
						 : slots_run(s, vm->job_at, s->count, SLOT_VACANT);

		if (!n && !budget)
			return false;
		if (!n) {
			n = left < budget ? left : budget;
			/* What cannot be taken out was logged, and stays the guest's. */
			loan_return(vm, vm->job_at, n);
			budget -= n;
		}
		vm->job_at += n;
	}
	return true;
}

static void reset_finish(struct lend_vm *vm)
{
	ml_step("reset done");
	__atomic_store_n(&vm->rec->resetting, 0, __ATOMIC_RELEASE);
	tell_config(vm);
}

void job_reset(struct lend_vm *vm)
{
	struct record *rec = vm->rec;

	ml_step("reset");
	__atomic_store_n(&rec->resetting, 1, __ATOMIC_RELEASE);
	rec->target_blocks = MEMLEASE_NO_TARGET;
	rec->target_deadline_ms = 0;
	rec->broken = MEMLEASE_BROKEN_NOT;
	rec->broken_text[0] = '\0';
	rec->guest_stat_valid = 0;
	job_add(vm);
}

/* --- both --- */

void job_slice(struct lend_vm *vm)
{
	bool ending = vm->state == VM_ENDING;

	ml_step("slice");
	if (!(ending ? end_slice(vm) : reset_slice(vm)))
		return;
	job_remove(vm);
	if (ending)
		end_finish(vm);
	else
		reset_finish(vm);
}

void job_turn(struct lender *l)
{
	struct lend_vm *vm = l->jobs;

	if (!vm)
		return;
	job_remove(vm);
	job_append(vm);
	job_slice(vm);
}
