// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What takes longer than the event loop may wait: emptying all of a VM as it ends,
 * and all of its window at a reset. 1 TiB is seconds of work, in which touches of
 * other VMs would wait. So it is done in slices, the first at once, the others by
 * lender_work(), in turn between the VMs that have such work.
 *
 * What is to be done stands in the record (ending, resetting) before the first
 * slice, and is cleared after the last: recover.c starts it over. How far it came
 * does not, because the slots say so.
 *
 * A VM that ends is off the list of VMs at once, and its name is free; it stays on
 * the list of jobs, its blocks metered, until it is empty.
 *
 * Called by lend/ only, except for what lend.h has.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"

uint32_t lend_slice_blocks = LEND_SLICE_BLOCKS;

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

/*
 * How many slots from first on, before end, hold nothing that this job is about?
 * Only a look at the table: whole stretches of an empty window cost nothing.
 */
static uint64_t idle_run(const struct slots *s, uint64_t first, uint64_t end, bool ending)
{
	uint64_t i = first;

	while (i < end && (ending ? slots_state(s, i) != SLOT_RESIDENT
				  : slots_state(s, i) == SLOT_VACANT))
		i++;
	return i - first;
}

/* --- the end --- */

/*
 * Where the source serves touches, every slot is made to fail, or a task that outlives
 * QEMU could go on taking blocks. Empty stretches of the window are vacant already.
 */
static bool end_slice_served(struct lend_vm *vm)
{
	uint64_t boot = vm->region[MEMLEASE_REGION_BOOT].slots.count;
	uint64_t all = boot + vm->region[MEMLEASE_REGION_WINDOW].slots.count;
	uint64_t budget = lend_slice_blocks;

	while (vm->job_at < all && budget) {
		enum memlease_region r = vm->job_at < boot ? MEMLEASE_REGION_BOOT
							   : MEMLEASE_REGION_WINDOW;
		const struct slots *s = &vm->region[r].slots;
		uint64_t first = vm->job_at - (r == MEMLEASE_REGION_BOOT ? 0 : boot);
		uint64_t n = slots_run(s, first, s->count, SLOT_VACANT);

		if (!n) {
			n = s->count - first < budget ? s->count - first : budget;
			served_end(vm, r, first, n);
			budget -= n;
		}
		vm->job_at += n;
	}
	return vm->job_at == all;
}

/* True: empty. */
static bool end_slice(struct lend_vm *vm)
{
	uint64_t boot = vm->region[MEMLEASE_REGION_BOOT].slots.count;
	uint64_t all = boot + vm->region[MEMLEASE_REGION_WINDOW].slots.count;
	uint64_t budget = lend_slice_blocks;

	if (lend_served(vm->lender))
		return end_slice_served(vm);
	audit_count(vm, lend_now(vm->lender));
	while (vm->job_at < all) {
		enum memlease_region r = vm->job_at < boot ? MEMLEASE_REGION_BOOT
							   : MEMLEASE_REGION_WINDOW;
		const struct slots *s = &vm->region[r].slots;
		uint64_t first = vm->job_at - (r == MEMLEASE_REGION_BOOT ? 0 : boot), n;

		n = vm->foreign ? 0 : idle_run(s, first, s->count, true);
		if (!n && !budget)
			return false;
		if (!n) {
			n = s->count - first < budget ? s->count - first : budget;
			/* A run that cannot be taken out was logged, and goes with its file. */
			move_out(vm, r, first, n, SLOT_COMMITTED, NULL);
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

	move_foreign_out(vm);
	now_ns = lend_now(l);
	meter_tick(&rec->meter, now_ns, ml_wall_ms(l->config.clock), l->config.period_s);
	meter_change(&rec->meter, now_ns, &none, NULL);
	ml_step("ended");
	rec->ended_ms = ml_wall_ms(l->config.clock);
	served_read_all(l);
	vm_close_regions(vm);
	vm_remove_regions(vm);
	ml_info("VM %s: ended: %s", rec->spec.name, vm->end_why);
	vm_to_ended(vm);
	vm_event(l, LEND_EV_VM_ENDED, vm, vm->end_why);
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
	wait_forget(vm);
	vm_unlink(vm);
	vm->state = VM_ENDING;
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	vm->pidfd = -1;
	/* From here on it has no guarantee and is committed to nothing; blocks it has. */
	vm_meter(vm, lend_now(l), NULL);
	job_add(vm);
}

/* --- reset --- */

/* True: the window is vacant. */
static bool reset_slice(struct lend_vm *vm)
{
	const struct slots *s = &vm->region[MEMLEASE_REGION_WINDOW].slots;
	uint64_t budget = lend_slice_blocks, done;
	enum memlease_reason reason;

	while (vm->job_at < s->count) {
		uint64_t left = s->count - vm->job_at;
		uint64_t n = vm->foreign ? 0 : idle_run(s, vm->job_at, s->count, false);

		if (!n && !budget)
			return false;
		if (!n) {
			n = left < budget ? left : budget;
			lend_return(vm, vm->job_at, n, &done, &reason);
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
	vm->lender->hooks.config_changed(vm->lender->hooks.ctx, vm);
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

static void job_slice(struct lend_vm *vm)
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

void lend_vm_end(struct lend_vm *vm, const char *why)
{
	struct lender *l = vm->lender;

	served_read_all(l);
	job_end(vm, why);
	job_slice(vm);
	wait_serve(l);
	supply_fill(l);
}

void lend_reset(struct lend_vm *vm)
{
	job_reset(vm);
	job_slice(vm);
}

bool lend_resetting(const struct lend_vm *vm)
{
	return vm->rec->resetting;
}

bool lender_has_work(const struct lender *l)
{
	return l->jobs || l->serve_more || l->acts_soon || compact_has_work(l);
}

void lender_work(struct lender *l)
{
	struct lend_vm *vm = l->jobs;

	if (vm) {
		job_remove(vm);
		job_append(vm);
		job_slice(vm);
	}
	if (l->acts_soon)
		served_act(l);
	wait_serve(l);
	if (lend_served(l)) {
		wait_tell(l);
		wait_ask(l, lend_now(l));
	}
	supply_fill(l);
	compact_slice(l);
}
