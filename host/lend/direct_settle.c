// SPDX-License-Identifier: GPL-2.0-or-later
/* Start-up where the daemon serves touches; see direct_settle.h. */
#include "direct_settle.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "foreign.h"
#include "loan.h"
#include "orphan.h"

/* Blocks that are LENT to each VM by the table, foreign ones included. */
static uint32_t *count_lent(const struct lender *l)
{
	uint32_t *lent = calloc(LEND_IDS, sizeof(*lent));

	for (uint32_t b = 0; lent && b < l->pool.table.blocks; b++) {
		struct block_word w = table_word(&l->pool.table, b);

		if (w.state == BLOCK_LENT && w.owner.vm < LEND_IDS)
			lent[w.owner.vm]++;
	}
	return lent;
}

/*
 * Bill the time without a daemon, closing periods that ended in it. Of a VM that ended in it, the
 * last that anybody knows is that it was there when its meter was looked at last.
 */
static void bridge_gap(struct lend_vm *vm, uint64_t lent, uint64_t now_ns, int64_t wall_ms)
{
	uint64_t metered = meter_now(&vm->rec->meter)->counts.resident;
	struct meter_counts gap = account_counts(vm);

	if (vm->ended_unseen) {
		meter_stop(&vm->rec->meter);
		return;
	}
	/* The meter knows of foreign blocks for which the pool had none. */
	if (lent < metered)
		lent = metered;
	gap.resident = account_in_source(vm);
	if (gap.resident > lent)
		gap.resident = lent;
	meter_correct(&vm->rec->meter, &gap);
	meter_tick(&vm->rec->meter, now_ns, wall_ms, vm->lender->config.period_s);
}

static bool lent_to(const struct lender *l, uint32_t block, const struct lend_vm *vm, int region,
		    uint64_t slot)
{
	struct block_word w;

	if (block >= l->pool.table.blocks)
		return false;
	w = table_word(&l->pool.table, block);
	return w.state == BLOCK_LENT && w.owner.vm == vm->rec->id && w.owner.region == region &&
	       w.owner.slot == slot;
}

/* Make an interrupted unmap whole; its blocks that are still LENT become free below. */
static int finish_intent(struct lend_vm *vm)
{
	struct record_intent *in = &vm->rec->intent;
	uint32_t blocks[BACKEND_RUN_MAX], taken;
	struct lend_region *r;
	int ret;

	if (!in->active)
		return 0;
	r = &vm->region[in->region];	/* record.c has checked it */
	ml_step("unmap again");
	ret = vm->lender->backend->ops->unmap(&r->at, in->first, in->count, blocks, &taken);
	for (uint64_t i = in->first; ret == 0 && i < in->first + in->count; i++) {
		if (slots_state(&r->slots, i) == SLOT_RESIDENT)
			slots_set(&r->slots, i, (enum slot_state)in->to, 0);
	}
	return ret;
}

/*
 * A resident slot without a block can only come of damage: it was of a table that was lost.
 * What is in the source is the guest's, and stays; the slot gets another block. Where there
 * is none it is touched anew.
 */
static void mend_stray(struct lend_region *r, uint64_t slot)
{
	struct pool_user *u = pool_self(&r->vm->lender->pool);
	uint32_t block;

	slots_set(&r->slots, slot, SLOT_COMMITTED, 0);
	block = pool_get(u, loan_owner(r->vm, r->which, slot));
	if (block == POOL_NO_BLOCK)
		return;
	ml_step("map again");
	if (r->vm->lender->backend->ops->map(&r->at, slot, block) == 0)
		slots_set(&r->slots, slot, SLOT_RESIDENT, block);
	else
		pool_put(u, block);
}

static void mend_strays(struct lend_vm *vm)
{
	unsigned long long n = 0;

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		struct slots *s = &vm->region[r].slots;

		for (uint64_t i = 0; i < s->count; i++) {
			if (slots_state(s, i) != SLOT_RESIDENT ||
			    lent_to(vm->lender, slots_block(s, i), vm, r, i))
				continue;
			mend_stray(&vm->region[r], i);
			n++;
		}
	}
	if (n)
		ml_err("VM %s: the block table did not have %llu blocks as lent to it; others are counted for them",
		       vm->rec->spec.name, n);
}

static bool in_intent(const struct lend_vm *vm, const struct block_owner *w)
{
	const struct record_intent *in = &vm->rec->intent;

	return in->active && in->region == w->region && w->slot >= in->first &&
	       w->slot - in->first < in->count;
}

/* One LENT block: whose is it, and is that done? */
static int settle_block(struct lender *l, uint32_t block, const struct block_owner *w)
{
	struct lend_vm *vm = w->vm < LEND_IDS ? l->by_id[w->vm] : NULL;
	struct lend_region *r = vm && vm->open ? &vm->region[w->region] : NULL;
	enum slot_state state;

	if (r && w->slot == TABLE_SLOT_FOREIGN && foreign_keep(vm, block))
		return 0;
	if (!r || w->slot >= r->slots.count) {
		/* Nobody's, or an orphan's, to which blocks are lent anew: orphan.h. */
		pool_put(pool_self(&l->pool), block);
		return 0;
	}
	state = slots_state(&r->slots, w->slot);
	if (state == SLOT_RESIDENT && slots_block(&r->slots, w->slot) == block)
		return 0;
	if (state == SLOT_COMMITTED && !in_intent(vm, w)) {
		ml_step("map again");
		if (l->backend->ops->map(&r->at, w->slot, block) == 0) {
			slots_set(&r->slots, w->slot, SLOT_RESIDENT, block);
			return 0;
		}
	} else if (state != SLOT_RESIDENT) {
		uint32_t blocks[BACKEND_RUN_MAX], taken;
		int ret = l->backend->ops->unmap(&r->at, w->slot, 1, blocks, &taken);

		if (ret < 0)
			return ret;
	}
	pool_put(pool_self(&l->pool), block);
	return 0;
}

static int settle_blocks(struct lender *l)
{
	for (uint32_t b = 0; b < l->pool.table.blocks; b++) {
		struct block_word w = table_word(&l->pool.table, b);
		int ret = w.state == BLOCK_LENT ? settle_block(l, b, &w.owner) : 0;

		if (ret < 0)
			return ret;
	}
	return 0;
}

int direct_settle(struct lender *l)
{
	uint64_t now_ns = lend_now(l);
	int64_t wall_ms = ml_wall_ms(l->config.clock);
	uint32_t *lent = count_lent(l);
	int ret;

	if (!lent)
		return -ENOMEM;
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		bridge_gap(vm, lent[vm->rec->id], now_ns, wall_ms);
	free(lent);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		ret = finish_intent(vm);
		if (ret < 0)
			return ret;
	}
	ret = settle_blocks(l);
	if (ret == 0)
		ret = orphan_find(l);
	if (ret < 0)
		return ret;
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		mend_strays(vm);
	orphan_lend(l);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		ml_step("intent done");
		vm->rec->intent.active = 0;
		/* With what is foreign: or, if this daemon dies too, the next would not bill it. */
		foreign_count(vm, now_ns);
		account_meter(vm, now_ns, NULL);
	}
	return 0;
}
