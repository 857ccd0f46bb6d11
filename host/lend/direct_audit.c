// SPDX-License-Identifier: GPL-2.0-or-later
/* The audit where the daemon serves touches; see direct_audit.h. */
#include "direct_audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "account.h"
#include "direct_out.h"
#include "foreign.h"
#include "loan.h"
#include "offence.h"
#include "tell.h"
#include "waiting.h"

#define SCAN_SLOTS 2048		/* looked at per VM and second: 4 GiB */

/*
 * Lend a block for a committed slot that others filled, as if it had been touched.
 * Where a touch would have to wait it stays foreign: nobody gets past a guarantee
 * this way.
 */
static void adopt(struct lend_region *r, uint64_t slot)
{
	struct lend_vm *vm = r->vm;
	struct policy_pool pool;
	struct policy_vm snap;

	foreign_found(vm);
	account_pool(vm->lender, &pool);
	account_vm(vm, &snap);
	snap.kept_taken = UINT64_MAX;	/* the last blocks are for guests */
	if (!policy_touch(&pool, &snap))
		return;
	/* It may be there in part only; mapping fills it up and keeps what is there. */
	if (loan_in(vm, r->which, slot, lend_now(vm->lender), true) == 0 &&
	    waiting_has(vm, r->which, slot))
		waiting_drop(vm, r->which, slot, 1);
}

static void scan_stretch(struct lend_region *r, uint64_t first, uint64_t count)
{
	struct backend *b = r->vm->lender->backend;
	uint8_t present[SCAN_SLOTS];

	if (b->ops->scan(&r->at, first, count, present) < 0)
		return;
	for (uint64_t i = 0; i < count; i++) {
		enum slot_state s = slots_state(&r->slots, first + i);

		if (present[i] && s == SLOT_COMMITTED)
			adopt(r, first + i);
		else if (!present[i] && s == SLOT_RESIDENT && b->scan_sees_all)
			direct_emptied(r, first + i);
	}
}

/* The next stretch of the search, over boot memory and then the window, round and round. */
static void scan_next(struct lend_vm *vm)
{
	uint64_t boot = vm->region[MEMLEASE_REGION_BOOT].slots.count;
	uint64_t all = boot + vm->region[MEMLEASE_REGION_WINDOW].slots.count;
	uint64_t left = SCAN_SLOTS < all ? SCAN_SLOTS : all, *at = &vm->scan_at;

	while (left) {
		bool in_boot;
		uint64_t end, n;

		if (*at >= all)
			*at = 0;
		in_boot = *at < boot;
		end = in_boot ? boot : all;
		n = end - *at < left ? end - *at : left;
		if (in_boot)
			scan_stretch(&vm->region[MEMLEASE_REGION_BOOT], *at, n);
		else
			scan_stretch(&vm->region[MEMLEASE_REGION_WINDOW], *at - boot, n);
		*at += n;
		left -= n;
	}
}

static void tell_mismatch(struct lend_vm *vm, int64_t difference)
{
	char text[120];

	if (difference == vm->mismatch)
		return;
	vm->mismatch = difference;
	if (!difference)
		return;
	snprintf(text, sizeof(text),
		 "the file system counts %" PRId64 " blocks %s than were lent; they are metered as they are",
		 difference > 0 ? difference : -difference, difference > 0 ? "more" : "fewer");
	ml_warn("VM %s: %s", vm->rec->spec.name, text);
	tell_event(vm->lender, LEND_EV_MISMATCH, vm, text);
}

/* Could this VM be without its foreign blocks? How many are they. */
static uint64_t to_blame_for(const struct lend_vm *vm)
{
	bool stopped = vm->rec->broken == MEMLEASE_BROKEN_TOUCH;

	return stopped || account_resident(vm) <= account_guarantee(vm) ? 0 : account_foreign(vm);
}

/*
 * Foreign blocks have taken what guarantees reserve, or more than the pool has: a VM that is
 * owed a block would wait for one. Who took most of them goes, and with it the blocks; if that
 * is not enough, the next one goes a second later.
 */
static void stop_offender(struct lend_vm *vm)
{
	bool past_pool = vm->foreign.taken < vm->foreign.count;
	uint64_t own = to_blame_for(vm);
	struct policy_pool pool;

	if (!own)
		return;
	account_pool(vm->lender, &pool);
	if (pool.free >= pool.unfilled && !past_pool)
		return;
	for (const struct lend_vm *other = vm->lender->first; other && !past_pool; other = other->next)
		if (to_blame_for(other) > own)
			return;
	offence_stop(vm, "filled %" PRIu64 " blocks of its files that were not lent to it, out of %s", own,
		     past_pool ? "memory that is not the pool's" : "what others are guaranteed");
}

void direct_audit(struct lend_vm *vm, uint64_t now_ns)
{
	uint64_t is = account_in_source(vm);
	uint64_t table = account_resident(vm) - account_foreign(vm);

	if (is == table && foreign_none(vm)) {
		vm->mismatch = 0;
		return;
	}
	tell_mismatch(vm, (int64_t)is - (int64_t)table);
	/* Also where the counts agree again: one slot may have been filled, another emptied. */
	scan_next(vm);
	foreign_count(vm, now_ns);
	stop_offender(vm);
}

/*
 * May a resident slot have lost its memory to QEMU? The counts tell, unless another
 * slot was filled meanwhile; then the source does, where it can.
 */
static bool emptied(struct lend_region *r, uint64_t slot)
{
	struct lend_vm *vm = r->vm;
	struct backend *b = vm->lender->backend;
	uint8_t present = 1;

	if (account_foreign(vm) || account_in_source(vm) != account_resident(vm))
		return true;
	return b->scan_sees_all && b->ops->scan(&r->at, slot, 1, &present) == 0 && !present;
}

void direct_again(struct lend_region *r, uint64_t slot)
{
	struct lend_vm *vm = r->vm;
	int ret;

	if (!emptied(r, slot))
		return;
	ret = vm->lender->backend->ops->map(&r->at, slot, slots_block(&r->slots, slot));
	if (ret < 0)
		ml_debug("VM %s: slot emptied by others cannot be filled: %s",
			 vm->rec->spec.name, strerror(-ret));
	foreign_count(vm, lend_now(vm->lender));
}
