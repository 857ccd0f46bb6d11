// SPDX-License-Identifier: GPL-2.0-or-later
/* Moves of blocks between the pool and VMs; see loan.h. */
#include "loan.h"

#include <errno.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "clean.h"
#include "compact_plan.h"
#include "supply.h"
#include "waiting.h"

bool loan_read(struct lender *l, uint32_t most)
{
	return !l->loans->read || l->loans->read(l, most);
}

void loan_read_all(struct lender *l)
{
	loan_read(l, UINT32_MAX);
}

/* What the source can move it can move anywhere; else boot memory stays where it is put. */
struct block_owner loan_owner(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	return (struct block_owner){ .vm = (uint16_t)vm->rec->id, .region = (uint8_t)region,
				     .fixed = !vm->lender->backend->ops->move &&
					      region == MEMLEASE_REGION_BOOT,
				     .slot = (uint32_t)slot };
}

int loan_source_short(struct lend_vm *vm, int error)
{
	struct lender *l = vm->lender;

	if (!l->source_short)
		ml_warn("VM %s: the pool's memory gives no block though %u are free (%s); touches wait",
			vm->rec->spec.name, pool_free_blocks(&l->pool), strerror(-error));
	l->source_short = true;
	return -EAGAIN;
}

/* A block that is LENT to the owner now, or POOL_NO_BLOCK. */
static uint32_t get_block(struct lender *l, struct block_owner owner, bool owed)
{
	uint32_t block = POOL_NO_BLOCK;

	if (owed)
		block = pool_get(pool_self(&l->pool), owner);
	/* What is being emptied for whole GiBs is open to touches again. */
	if (block == POOL_NO_BLOCK && owed && compact_plan_end(l))
		block = pool_get(pool_self(&l->pool), owner);
	if (block == POOL_NO_BLOCK)
		block = supply_get(l, owner);
	return block;
}

int loan_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	    bool owed)
{
	struct lender *l = vm->lender;
	struct lend_region *r = &vm->region[region];
	struct meter_events events = { .touches = 1 };
	uint32_t block;
	int ret;

	meter_advance(&vm->rec->meter, now_ns);
	for (;;) {
		block = get_block(l, loan_owner(vm, region, slot), owed);
		if (block == POOL_NO_BLOCK) {
			clean_want(l);
			return -EAGAIN;
		}
		ml_step("map");
		ret = l->backend->ops->map(&r->at, slot, block);
		if (ret == 0)
			break;
		ret = l->loans->refused(r, slot, block, ret);
		if (ret != -EBUSY)
			return ret;
	}
	l->source_short = false;
	slots_set(&r->slots, slot, SLOT_RESIDENT, block);
	account_meter(vm, now_ns, &events);
	return 0;
}

void loan_again(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	if (vm->lender->loans->again)
		vm->lender->loans->again(&vm->region[region], slot);
}

int loan_commit(struct lend_vm *vm, uint64_t first, uint64_t count)
{
	return vm->lender->loans->commit ? vm->lender->loans->commit(vm, first, count) : 0;
}

int loan_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	     uint64_t *moved)
{
	return vm->lender->loans->out(&vm->region[region], first, count, SLOT_COMMITTED, moved);
}

int loan_return(struct lend_vm *vm, uint64_t first, uint64_t count)
{
	int ret = vm->lender->loans->out(&vm->region[MEMLEASE_REGION_WINDOW], first, count,
					 SLOT_VACANT, NULL);

	waiting_drop(vm, MEMLEASE_REGION_WINDOW, first, count);
	return ret;
}

void loan_count(struct lend_vm *vm, uint64_t now_ns)
{
	if (vm->lender->loans->count)
		vm->lender->loans->count(vm, now_ns);
}

void loan_count_again(struct lend_vm *vm, uint64_t now_ns)
{
	if (account_foreign(vm))
		loan_count(vm, now_ns);
}

void loan_away(struct lend_region *r, uint64_t slot, enum slot_state to)
{
	uint32_t block = slots_block(&r->slots, slot);

	slots_set(&r->slots, slot, to, 0);
	pool_put(pool_self(&r->vm->lender->pool), block);
}

/*
 * In the order of pool.h: the new block is MOVING, the source exchanges, the slot names
 * the new one, the old becomes DIRTY. After a crash the source says which of both it has.
 */
int loan_move(struct lender *l, uint32_t from, uint32_t into)
{
	struct block_word w = table_word(&l->pool.table, from);
	struct lend_region *r = &l->by_id[w.owner.vm]->region[w.owner.region];
	struct pool_user *u = pool_self(&l->pool);
	uint32_t to, old;
	int ret;

	if (slots_state(&r->slots, w.owner.slot) != SLOT_RESIDENT ||
	    slots_block(&r->slots, w.owner.slot) != from)
		return -EAGAIN;
	to = pool_move_begin(u, from, into);
	if (to == POOL_NO_BLOCK)
		return -ENOSPC;
	old = to;
	ml_step("exchange");
	ret = l->backend->ops->move(&r->at, w.owner.slot, &old);
	if (ret < 0) {
		pool_move_undo(u, to);
		return ret;
	}
	slots_moved(&r->slots, w.owner.slot, to);
	if (old != from) {
		ml_err("VM %s: block %u was behind slot %u, not %u", r->vm->rec->spec.name, old,
		       w.owner.slot, from);
		l->due |= DUE_RESYNC;
	}
	pool_move_end(u, from, to);
	return 0;
}
