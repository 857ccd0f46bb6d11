// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moves of blocks between the pool and VMs. Two orders make every crash
 * repairable (recover.c does it):
 *
 *   in:   the block is LENT, then mapped, then the slot is RESIDENT
 *   out:  the intent is written, the run unmapped, then slot by slot: the slot
 *         leaves RESIDENT, its block becomes free; then the intent is cleared
 *
 * So a block that may be mapped is never free. The meter is brought up to the
 * time of the move before anything changes, and takes the new counts after, as
 * of the same instant; what was resident after a crash in between is asked of
 * the source. Where the source serves touches itself, served.c has another way
 * out, and settle.c repairs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"

/* Only a source that serves touches can move a block; it can move any. */
struct block_owner vm_owner(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	return (struct block_owner){ .vm = (uint16_t)vm->rec->id, .region = (uint8_t)region,
				     .fixed = !lend_served(vm->lender) &&
					      region == MEMLEASE_REGION_BOOT,
				     .slot = (uint32_t)slot };
}

/*
 * The source will not have it behind a slot: it was retired just now, or it is behind one
 * already, against all rules. It is no more to be lent; another will do.
 */
static void give_up_block(struct lend_vm *vm, uint32_t block)
{
	struct lender *l = vm->lender;
	uint8_t state = BACKEND_BEHIND;

	l->backend->ops->blocks(l->backend, block, 1, &state);
	if (state == BACKEND_BEHIND)
		ml_err("VM %s: block %u was free by the table, and is behind a slot; it is not lent any more",
		       vm->rec->spec.name, block);
	else
		pool_retire(pool_self(&l->pool), block);
}

/* The block goes, as it could not be put there. */
static int map_failed(struct lend_vm *vm, struct lend_region *r, uint64_t slot, uint32_t block,
		      int error)
{
	struct lender *l = vm->lender;

	pool_put(pool_self(&l->pool), block);
	if (lend_served(l) && error == -EEXIST) {
		/* A touch was faster; the event has it, unless it was lost. */
		served_read_all(l);
		if (slots_state(&r->slots, slot) != SLOT_RESIDENT && l->resync)
			served_resync_slot(r, slot);
		return slots_state(&r->slots, slot) == SLOT_RESIDENT ? 0 : -EAGAIN;
	}
	if (lend_served(l) && error == -EPERM)
		return -EIO;		/* lost to a memory error */
	/* What is behind the slot in part is the guest's, and stays. */
	if (!l->source_short)
		ml_warn("VM %s: the pool's memory gives no block though %u are free (%s); touches wait",
			vm->rec->spec.name, pool_free_blocks(&l->pool), strerror(-error));
	l->source_short = true;
	return -EAGAIN;
}

int move_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	    bool owed)
{
	struct lender *l = vm->lender;
	struct lend_region *r = &vm->region[region];
	struct meter_events events = { .touches = 1 };
	uint32_t block;
	bool refused;
	int ret;

	meter_advance(&vm->rec->meter, now_ns);
	do {
		block = POOL_NO_BLOCK;
		if (owed)
			block = pool_get(pool_self(&l->pool), vm_owner(vm, region, slot));
		if (block == POOL_NO_BLOCK && owed && compact_yield(l))
			block = pool_get(pool_self(&l->pool), vm_owner(vm, region, slot));
		if (block == POOL_NO_BLOCK)
			block = supply_get(l, vm_owner(vm, region, slot));
		if (block == POOL_NO_BLOCK) {
			clean_want(l);
			return -EAGAIN;
		}
		ml_step("map");
		ret = l->backend->ops->map(&r->at, slot, block);
		refused = ret == -EBUSY && lend_served(l);
		if (refused)
			give_up_block(vm, block);
	} while (refused);
	if (ret < 0)
		return map_failed(vm, r, slot, block, ret);
	l->source_short = false;
	slots_set(&r->slots, slot, SLOT_RESIDENT, block);
	vm_meter(vm, now_ns, &events);
	return 0;
}

void move_again(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct lend_region *r = &vm->region[region];
	int ret = vm->lender->backend->ops->map(&r->at, slot, slots_block(&r->slots, slot));

	if (ret < 0)
		ml_debug("VM %s: slot emptied by others cannot be filled: %s",
			 vm->rec->spec.name, strerror(-ret));
}

void move_away(struct lend_vm *vm, enum memlease_region region, uint64_t slot, enum slot_state to)
{
	struct slots *s = &vm->region[region].slots;
	uint32_t block = slots_block(s, slot);

	slots_set(s, slot, to, 0);
	pool_put(pool_self(&vm->lender->pool), block);
}

static void set_intent(struct lend_vm *vm, enum memlease_region region, uint64_t first,
		       uint64_t count, enum slot_state to)
{
	struct record_intent *in = &vm->rec->intent;

	in->region = region;
	in->first = first;
	in->count = count;
	in->to = to;
	ml_step("intent");
	__atomic_store_n(&in->active, 1, __ATOMIC_RELEASE);
}

static void clear_intent(struct lend_vm *vm)
{
	ml_step("intent done");
	__atomic_store_n(&vm->rec->intent.active, 0, __ATOMIC_RELEASE);
}

/* A run of RESIDENT slots, no longer than LEND_RUN_MAX. */
static int run_out(struct lend_vm *vm, enum memlease_region region, uint64_t first,
		   uint64_t count, enum slot_state to)
{
	struct lender *l = vm->lender;
	struct lend_region *r = &vm->region[region];
	uint64_t now_ns = lend_now(l);
	uint32_t blocks[BACKEND_RUN_MAX], taken;
	int ret;

	meter_advance(&vm->rec->meter, now_ns);
	set_intent(vm, region, first, count, to);
	ml_step("unmap");
	ret = l->backend->ops->unmap(&r->at, first, count, blocks, &taken);
	if (ret < 0) {
		/* What is gone and what is not is found out by the audit; nothing becomes free. */
		ml_err("VM %s: cannot take %llu blocks from %s: %s", vm->rec->spec.name,
		       (unsigned long long)count, r->at.path, strerror(-ret));
		clear_intent(vm);
		return -EUCLEAN;
	}
	for (uint64_t i = first; i < first + count; i++)
		move_away(vm, region, i, to);
	vm_meter(vm, now_ns, NULL);
	clear_intent(vm);
	return 0;
}

static uint64_t gap_run(const struct slots *s, uint64_t first, uint64_t end)
{
	uint64_t i = first;

	while (i < end && slots_state(s, i) != SLOT_RESIDENT)
		i++;
	return i - first;
}

/* What others put behind slots is not in the table, but goes too; the audit then counts anew. */
static void foreign_out(struct lend_vm *vm, enum memlease_region region, uint64_t first,
			uint64_t count)
{
	struct backend *b = vm->lender->backend;
	uint32_t blocks[BACKEND_RUN_MAX], taken;

	meter_advance(&vm->rec->meter, lend_now(vm->lender));
	ml_step("unmap foreign");
	b->ops->unmap(&vm->region[region].at, first, count, blocks, &taken);
}

int move_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	     enum slot_state to, uint64_t *moved)
{
	const struct slots *s = &vm->region[region].slots;
	uint64_t at = first, end = first + count;
	bool foreign = vm->foreign != 0;

	if (lend_served(vm->lender))
		return served_out(vm, region, first, count, to, moved);
	while (at < end) {
		uint64_t stop = end - at > LEND_RUN_MAX ? at + LEND_RUN_MAX : end;
		uint64_t run = slots_run(s, at, stop, SLOT_RESIDENT);
		int ret;

		if (!run) {
			run = gap_run(s, at, stop);
			if (foreign)
				foreign_out(vm, region, at, run);
			at += run;
			continue;
		}
		ret = run_out(vm, region, at, run, to);
		if (ret < 0)
			return ret;
		if (moved)
			*moved += run;
		at += run;
	}
	if (foreign)
		audit_count(vm, lend_now(vm->lender));
	return 0;
}

void move_foreign(struct lend_vm *vm, uint64_t want)
{
	struct lender *l = vm->lender;

	while (vm->foreign_taken > want)
		pool_put(pool_self(&l->pool), vm->foreign_blocks[--vm->foreign_taken]);
	if (want > vm->foreign_taken) {
		uint32_t *grown = realloc(vm->foreign_blocks, want * sizeof(*grown));

		if (!grown)
			return;		/* the next audit tries again */
		vm->foreign_blocks = grown;
	}
	while (vm->foreign_taken < want) {
		uint32_t block = pool_get(pool_self(&l->pool),
					  vm_owner(vm, MEMLEASE_REGION_BOOT, TABLE_SLOT_FOREIGN));

		if (block == POOL_NO_BLOCK)
			break;
		vm->foreign_blocks[vm->foreign_taken++] = block;
	}
}

void move_foreign_out(struct lend_vm *vm)
{
	if (lend_served(vm->lender))
		return;		/* there is nothing that we did not put there */
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		if (vm->region[r].slots.count)
			foreign_out(vm, (enum memlease_region)r, 0, vm->region[r].slots.count);
	}
	move_foreign(vm, 0);
	vm->foreign = 0;
}

int move_adopt_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	/* It may be there in part only; mapping fills it up and keeps what is there. */
	int ret = move_in(vm, region, slot, lend_now(vm->lender), true);

	if (ret == 0 && wait_has(vm, region, slot))
		wait_drop(vm, region, slot, 1);
	return ret;
}

void move_adopt_out(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	run_out(vm, region, slot, 1, SLOT_COMMITTED);
}
