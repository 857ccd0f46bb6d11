// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each second: does the file system count what the table says? QEMU has its files
 * open and can fill or empty them past its leases; so can whoever wrote to boot
 * memory before QEMU had its userfaultfd. What is there is metered at once, as
 * a number of foreign blocks. Which slots it is, is searched a stretch at a time:
 * a committed slot found filled becomes resident, and a resident one found empty,
 * committed. Vacant slots that were filled stay foreign until returned or ended.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "lender.h"

#define SCAN_SLOTS 2048		/* looked at per VM and second: 4 GiB */
#define SERVED_MISMATCH_MOST 10	/* looks in a row: chance alone does not do that */

/*
 * Lend a block for a committed slot that others filled, as if it had been touched.
 * Where a touch would have to wait it stays foreign: nobody gets past a guarantee
 * this way.
 */
static void adopt(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct policy_pool pool;
	struct policy_vm snap;

	if (vm->foreign) {
		vm->foreign--;
		if (vm->foreign_taken > vm->foreign)
			move_foreign(vm, vm->foreign);
		vm_account(vm);
	}
	lender_snapshot(vm->lender, &pool);
	vm_snapshot(vm, &snap);
	snap.kept_taken = UINT64_MAX;	/* the last blocks are for guests */
	if (policy_touch(&pool, &snap))
		move_adopt_in(vm, region, slot);
}

static void scan_stretch(struct lend_vm *vm, enum memlease_region region, uint64_t first,
			 uint64_t count)
{
	struct backend *b = vm->lender->backend;
	struct lend_region *r = &vm->region[region];
	uint8_t present[SCAN_SLOTS];

	if (b->ops->scan(&r->at, first, count, present) < 0)
		return;
	for (uint64_t i = 0; i < count; i++) {
		enum slot_state s = slots_state(&r->slots, first + i);

		if (present[i] && s == SLOT_COMMITTED)
			adopt(vm, region, first + i);
		else if (!present[i] && s == SLOT_RESIDENT && b->scan_sees_all)
			move_adopt_out(vm, region, first + i);
	}
}

/* The next stretch of the search, over boot memory and then the window, round and round. */
static void scan_next(struct lend_vm *vm)
{
	uint64_t boot = vm->region[MEMLEASE_REGION_BOOT].slots.count;
	uint64_t all = boot + vm->region[MEMLEASE_REGION_WINDOW].slots.count;
	uint64_t left = SCAN_SLOTS < all ? SCAN_SLOTS : all;

	while (left) {
		bool in_boot;
		uint64_t end, n;

		if (vm->scan_at >= all)
			vm->scan_at = 0;
		in_boot = vm->scan_at < boot;
		end = in_boot ? boot : all;
		n = end - vm->scan_at < left ? end - vm->scan_at : left;
		if (in_boot)
			scan_stretch(vm, MEMLEASE_REGION_BOOT, vm->scan_at, n);
		else
			scan_stretch(vm, MEMLEASE_REGION_WINDOW, vm->scan_at - boot, n);
		vm->scan_at += n;
		left -= n;
	}
}

static void set_foreign(struct lend_vm *vm, uint64_t want, uint64_t now_ns)
{
	if (want != vm->foreign_taken)
		move_foreign(vm, want);
	vm->foreign = want;
	if (meter_now(&vm->rec->meter)->counts.resident != vm_resident(vm))
		vm_meter(vm, now_ns, NULL);
	else
		vm_account(vm);
}

static void tell(struct lend_vm *vm, int64_t difference)
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
	vm_event(vm->lender, LEND_EV_MISMATCH, vm, text);
}

/*
 * Where the source serves touches, nothing is there that we did not put there, and only
 * touches go on meanwhile: so the source counts what the table had before, or has after,
 * or something between. A memory error can upset that, but not for long.
 */
static void audit_served(struct lend_vm *vm)
{
	uint64_t before, has, table;

	served_read_all(vm->lender);
	before = vm_resident(vm);
	has = vm_fs_blocks(vm);
	served_read_all(vm->lender);
	table = vm_resident(vm);
	vm->mismatch = before <= has && has <= table ? 0 : vm->mismatch + 1;
	if (vm->mismatch < SERVED_MISMATCH_MOST)
		return;
	vm->mismatch = 0;
	ml_warn("VM %s: the source counts %" PRIu64 " blocks, the table %" PRIu64
		"; the source is right", vm->rec->spec.name, has, table);
	served_resync(vm);
}

void audit_count(struct lend_vm *vm, uint64_t now_ns)
{
	uint64_t fs, table;

	if (lend_served(vm->lender))
		return;
	fs = vm_fs_blocks(vm);
	table = vm_resident(vm) - vm->foreign;
	set_foreign(vm, fs > table ? fs - table : 0, now_ns);
}

void audit_vm(struct lend_vm *vm, uint64_t now_ns)
{
	uint64_t fs, table;

	if (lend_served(vm->lender)) {
		audit_served(vm);
		return;
	}
	fs = vm_fs_blocks(vm);
	table = vm_resident(vm) - vm->foreign;
	if (fs == table && !vm->foreign && !vm->foreign_taken) {
		vm->mismatch = 0;
		return;
	}
	tell(vm, (int64_t)fs - (int64_t)table);
	/* Also where the counts agree again: one slot may have been filled, another emptied. */
	scan_next(vm);
	audit_count(vm, now_ns);
}
