// SPDX-License-Identifier: GPL-2.0-or-later
/* Start-up where the source serves touches; see told_settle.h. */
#include "told_settle.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "loan.h"
#include "orphan.h"
#include "told_read.h"
#include "told_resync.h"

#define SLOTS_AT_ONCE 1024

enum place { NOWHERE, IN_SUPPLY, BEHIND };

struct standing {
	uint8_t place;
	uint8_t region;
	uint16_t vm;
	uint32_t slot;
};

struct settling {
	struct lender *l;
	struct standing *at;	/* per block */
};

static enum block_state state_of(const struct lender *l, uint32_t block)
{
	return table_word(&l->pool.table, block).state;
}

static int read_supply(struct settling *s)
{
	struct backend *b = s->l->backend;
	uint32_t *blocks = calloc(b->supply_most, sizeof(*blocks)), n;
	bool strange = false;	/* the table was lost, or is of another pool */

	if (!blocks)
		return -ENOMEM;
	n = b->ops->read_supply(b, blocks, b->supply_most);
	for (uint32_t i = 0; i < n; i++)
		strange |= blocks[i] >= s->l->pool.table.blocks ||
			   state_of(s->l, blocks[i]) != BLOCK_OFFERED;
	if (strange) {
		ml_warn("the supply that was found is not this table's: taken back, and zeroed anew");
		while (b->ops->unsupply(b, blocks, b->supply_most))
			;
		n = 0;
	}
	for (uint32_t i = 0; i < n; i++)
		s->at[blocks[i]].place = IN_SUPPLY;
	free(blocks);
	return 0;
}

/* What may be touched is for the record to say: it is what is metered as committed. */
static int settle_commitment(struct lend_region *r, uint64_t slot, struct backend_slot_word *is)
{
	bool on = slots_state(&r->slots, slot) != SLOT_VACANT;
	uint32_t block, taken;
	int ret;

	if (on == (is->state != BACKEND_VACANT) || (on && r->vm->rec->ending))
		return 0;
	ml_step("commit again");
	ret = r->vm->lender->backend->ops->commit(&r->at, slot, 1, on, &block, &taken);
	is->state = on ? BACKEND_COMMITTED : BACKEND_VACANT;
	return ret;
}

static void set_slot(struct slots *s, uint64_t slot, enum slot_state to, uint32_t block)
{
	enum slot_state is = slots_state(s, slot);

	if (is == to && (to != SLOT_RESIDENT || slots_block(s, slot) == block))
		return;
	if (is != SLOT_COMMITTED)
		slots_set(s, slot, SLOT_COMMITTED, 0);
	if (to != SLOT_COMMITTED)
		slots_set(s, slot, to, block);
}

static int settle_slot(struct settling *s, struct lend_region *r, uint64_t slot,
		       struct backend_slot_word *is)
{
	uint32_t block = is->block;
	int ret = settle_commitment(r, slot, is);

	if (ret < 0)
		return ret;
	/*
	 * Was the guest told of it? Once more does no harm. What the last daemon knew to be
	 * there is billed until the error, of which an event tells: see forget_lost().
	 */
	if (is->state == BACKEND_LOST) {
		told_lost(r, slot);
		return 0;
	}
	if (is->state != BACKEND_RESIDENT || block >= s->l->pool.table.blocks) {
		if (slots_state(&r->slots, slot) == SLOT_RESIDENT)
			set_slot(&r->slots, slot, SLOT_COMMITTED, 0);
		return 0;
	}
	s->at[block] = (struct standing){ BEHIND, (uint8_t)r->which, (uint16_t)r->vm->rec->id,
					  (uint32_t)slot };
	if (state_of(s->l, block) == BLOCK_OFFERED)
		set_slot(&r->slots, slot, SLOT_COMMITTED, 0);
	else
		set_slot(&r->slots, slot, SLOT_RESIDENT, block);
	return 0;
}

static int settle_region(struct settling *s, struct lend_region *r)
{
	struct backend_slot_word words[SLOTS_AT_ONCE];
	int ret = 0;

	for (uint64_t at = 0; !ret && at < r->slots.count; at += SLOTS_AT_ONCE) {
		uint64_t left = r->slots.count - at;
		uint64_t n = left < SLOTS_AT_ONCE ? left : SLOTS_AT_ONCE;

		ret = s->l->backend->ops->slots(&r->at, at, n, words);
		for (uint64_t i = 0; !ret && i < n; i++)
			ret = settle_slot(s, r, at + i, &words[i]);
	}
	return ret;
}

static void stands_behind_orphan(void *ctx, uint32_t block)
{
	struct settling *s = ctx;

	s->at[block] = (struct standing){ .place = BEHIND, .vm = ORPHAN_ID };
}

static enum pool_truth truth(void *ctx, uint32_t block, struct block_owner *owner)
{
	struct settling *s = ctx;
	const struct standing *f = &s->at[block];

	if (f->place == NOWHERE)
		return POOL_NOWHERE;
	if (f->place == IN_SUPPLY || state_of(s->l, block) == BLOCK_OFFERED)
		return POOL_IN_RING;
	*owner = f->vm == ORPHAN_ID ? orphan_owner() :
		 loan_owner(s->l->by_id[f->vm], (enum memlease_region)f->region, f->slot);
	return POOL_BEHIND;
}

/* The last daemon's zeroing found it bad; the VM that has it since has to do without. */
static int empty_retired(struct settling *s, struct lend_region *r)
{
	uint32_t blocks[BACKEND_RUN_MAX], taken;
	int ret = 0;

	for (uint64_t i = 0; !ret && i < r->slots.count; i++) {
		if (slots_state(&r->slots, i) != SLOT_RESIDENT || lost_has(&r->vm->lost, r->which, i) ||
		    state_of(s->l, slots_block(&r->slots, i)) != BLOCK_RETIRED)
			continue;
		ret = s->l->backend->ops->unmap(&r->at, i, 1, blocks, &taken);
		slots_set(&r->slots, i, SLOT_COMMITTED, 0);
	}
	return ret;
}

/* Step 5, second half. */
static void take_unannounced(struct settling *s)
{
	struct lender *l = s->l;
	uint32_t n = 0;

	for (uint32_t b = 0; b < l->pool.table.blocks; b++) {
		const struct standing *f = &s->at[b];

		if (f->place != BEHIND || state_of(l, b) != BLOCK_OFFERED)
			continue;
		if (f->vm == ORPHAN_ID)
			orphan_took(l, b);
		else
			told_taken(&l->by_id[f->vm]->region[f->region], f->slot, b, lend_now(l));
		n++;
	}
	if (n)
		ml_warn("%u touches were lost sight of while no daemon ran; they are metered from now on",
			n);
}

static uint64_t count_orphaned(const struct settling *s)
{
	uint64_t n = 0;

	for (uint32_t b = 0; b < s->l->pool.table.blocks; b++)
		n += s->at[b].place == BEHIND && s->at[b].vm == ORPHAN_ID &&
		     state_of(s->l, b) == BLOCK_LENT;
	return n;
}

/* Slots that are lost, and of whose loss no event has told: as of now. */
static void forget_lost(struct lend_vm *vm)
{
	uint64_t now_ns = lend_now(vm->lender);

	for (const struct lost_slot *lost = lost_first(&vm->lost); lost; lost = lost_next(lost)) {
		struct slots *s = &vm->region[lost->region].slots;

		if (slots_state(s, lost->slot) != SLOT_RESIDENT ||
		    state_of(vm->lender, slots_block(s, lost->slot)) == BLOCK_LENT)
			continue;
		meter_advance(&vm->rec->meter, now_ns);
		slots_set(s, lost->slot, SLOT_COMMITTED, 0);
		account_meter(vm, now_ns, NULL);
	}
}

/* VMs that ended while no daemon ran: their last touch is the last that anybody knows of them. */
static void stop_meters(struct lender *l)
{
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		if (vm->ended_unseen)
			meter_stop(&vm->rec->meter);
	}
}

static int settle(struct settling *s)
{
	struct lender *l = s->l;
	uint32_t damaged;
	int ret;

	ml_step("sweep");
	ret = orphan_find(l);
	if (ret == 0)
		ret = read_supply(s);
	for (struct lend_vm *vm = l->first; !ret && vm; vm = vm->next) {
		for (int r = 0; !ret && r < MEMLEASE_REGION_COUNT; r++)
			ret = settle_region(s, &vm->region[r]);
	}
	if (ret == 0)
		ret = orphan_each_block(l, stands_behind_orphan, s);
	if (ret)
		return ret;
	damaged = pool_settle(&l->pool, truth, s);
	if (damaged)
		ml_err("block table: %u blocks were free by it, and behind slots; they are lent now",
		       damaged);
	ret = told_find_retired(l);
	for (struct lend_vm *vm = l->first; !ret && vm; vm = vm->next) {
		struct meter_counts counts;

		for (int r = 0; !ret && r < MEMLEASE_REGION_COUNT; r++)
			ret = empty_retired(s, &vm->region[r]);
		vm->rec->intent.active = 0;
		counts = account_counts(vm);
		meter_correct(&vm->rec->meter, &counts);
		account_sum(vm);
	}
	return ret;
}

int told_settle(struct lender *l)
{
	struct settling s = { .l = l };
	uint64_t now_ns;
	int ret;

	s.at = calloc(l->pool.table.blocks, sizeof(*s.at));
	if (!s.at)
		return -ENOMEM;
	l->recovering = true;
	ret = settle(&s);
	if (ret == 0) {
		orphan_settled(l, count_orphaned(&s));
		told_read(l, UINT32_MAX);
		stop_meters(l);
		take_unannounced(&s);
		for (struct lend_vm *vm = l->first; vm; vm = vm->next)
			forget_lost(vm);
	}
	l->recovering = false;
	free(s.at);
	/* The last daemon may have died over emptying what nobody has open; told_act() asks. */
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
			vm->region[r].closed = true;
		l->due |= DUE_ACT_LATER;
	}
	now_ns = lend_now(l);
	for (struct lend_vm *vm = l->first; !ret && vm; vm = vm->next)
		meter_tick(&vm->rec->meter, now_ns, ml_wall_ms(l->config.clock),
			   l->config.period_s);
	return ret;
}
