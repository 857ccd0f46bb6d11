// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lending where the source serves touches by itself (backend.h): what it did is
 * learnt of afterwards, from its events and from what its calls return. Called by
 * the other files of lend/ only.
 *
 * A touch needs two changes here: the block leaves OFFERED for LENT, then the slot
 * becomes RESIDENT. A slot that is emptied needs two as well: it leaves RESIDENT,
 * then its block becomes DIRTY. At each instant in between the source knows better,
 * and settle.c asks it. No block can become free while it is behind a slot: only
 * what unmap() and commit() have returned is given to the pool, and what was never
 * OFFERED is never taken.
 *
 * The meter runs from the time that the event says, or from the last time at which
 * that VM's meter was read, if that is later: never earlier than the touch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"
#include "process.h"

#define SLOTS_AT_ONCE 1024
#define BLOCKS_AT_ONCE 4096

static const char *region_word(enum memlease_region region)
{
	return region == MEMLEASE_REGION_BOOT ? "boot memory" : "the window";
}

/* --- what happened --- */

/* In the time without a daemon metering periods may have ended before this. */
static void meter_to(struct lend_vm *vm, uint64_t at_ns)
{
	struct lender *l = vm->lender;
	uint64_t now_ns = lend_now(l);

	if (l->recovering && at_ns < now_ns && at_ns > meter_now(&vm->rec->meter)->at_ns)
		meter_tick(&vm->rec->meter, at_ns,
			   ml_wall_ms(l->config.clock) - (int64_t)((now_ns - at_ns) / 1000000),
			   l->config.period_s);
	else
		meter_advance(&vm->rec->meter, at_ns);
}

void served_taken(struct lend_region *r, uint64_t slot, uint32_t block, uint64_t at_ns)
{
	struct meter_events events = { .touches = 1 };
	struct lend_vm *vm = r->vm;
	struct lender *l = vm->lender;
	uint64_t now_ns = lend_now(l);

	if (block >= l->pool.table.blocks ||
	    table_word(&l->pool.table, block).state != BLOCK_OFFERED)
		return;
	if (at_ns > now_ns)
		at_ns = now_ns;
	meter_to(vm, at_ns);
	/* The last daemon died while it took away what was here. */
	if (slots_state(&r->slots, slot) == SLOT_RESIDENT)
		move_away(vm, r->which, slot, SLOT_COMMITTED);
	else if (slots_state(&r->slots, slot) == SLOT_VACANT)
		slots_set(&r->slots, slot, SLOT_COMMITTED, 0);
	if (pool_taken(pool_self(&l->pool), block, vm_owner(vm, r->which, slot)) < 0)
		return;
	slots_set(&r->slots, slot, SLOT_RESIDENT, block);
	vm_meter(vm, at_ns, &events);
	l->supply.taken++;
	l->supply.taken_ever++;
	if (wait_has(vm, r->which, slot))
		wait_drop(vm, r->which, slot, 1);
}

static void tell_retired(struct lender *l, const struct lend_vm *vm, uint32_t block)
{
	char text[80];

	snprintf(text, sizeof(text), "block %u had a memory error and is retired", block);
	ml_warn("%s%s%s%s", vm ? "VM " : "pool", vm ? vm->rec->spec.name : "", ": ", text);
	vm_event(l, LEND_EV_RETIRED, vm, text);
}

void served_lost(struct lend_region *r, uint64_t slot)
{
	struct lend_lost *lost;

	if (!r->lost)
		r->lost = calloc(1, (r->slots.count + 7) / 8);
	if (!r->lost || r->lost[slot / 8] >> slot % 8 & 1)
		return;
	lost = calloc(1, sizeof(*lost));
	if (!lost)
		return;
	r->lost[slot / 8] |= (uint8_t)(1 << slot % 8);
	lost->region = r->which;
	lost->slot = slot;
	lost->next = r->vm->lost;
	r->vm->lost = lost;
	r->vm->lender->acts = true;
	r->vm->lender->acts_soon = true;
}

static void take_error(struct lender *l, const struct backend_event *e)
{
	struct lend_region *r = e->region ? e->region->owner : NULL;

	if (e->block >= l->pool.table.blocks)
		return;
	pool_retire(pool_self(&l->pool), e->block);
	if (r && slots_state(&r->slots, e->slot) == SLOT_RESIDENT &&
	    slots_block(&r->slots, e->slot) == e->block) {
		meter_to(r->vm, e->boot_ns);
		slots_set(&r->slots, e->slot, SLOT_COMMITTED, 0);
		vm_meter(r->vm, e->boot_ns, NULL);
	}
	if (r)
		served_lost(r, e->slot);
	tell_retired(l, r ? r->vm : NULL, e->block);
}

static void take_event(struct lender *l, const struct backend_event *e)
{
	struct lend_region *r = e->region ? e->region->owner : NULL;
	struct lend_vm *vm = r ? r->vm : NULL;

	if (e->type == BACKEND_ERROR) {
		take_error(l, e);
		return;
	}
	if (!r)
		return;		/* of a VM that has ended */
	switch (e->type) {
	case BACKEND_TAKEN:
		served_taken(r, e->slot, e->block, e->boot_ns);
		break;
	case BACKEND_WAITING:
		if (slots_state(&r->slots, e->slot) == SLOT_COMMITTED && !vm->rec->ending &&
		    !wait_has(vm, r->which, e->slot))
			wait_add(vm, r->which, e->slot, e->boot_ns);
		break;
	case BACKEND_VIOLATION:
	case BACKEND_TIMEOUT:
		if (!vm->fault) {
			vm->fault = e->type;
			vm->fault_region = r->which;
			vm->fault_slot = e->slot;
			vm->fault_pid = e->pid;
		}
		l->acts = true;
		l->acts_soon = true;
		break;
	case BACKEND_CLOSED:
		vm->closed[r->which] = true;
		vm->closed_at[r->which] = 0;
		l->acts = true;
		l->acts_soon = true;
		break;
	case BACKEND_ERROR:
		break;
	}
}

bool served_read(struct lender *l, uint32_t most)
{
	const struct backend_ops *ops = l->backend->ops;
	struct backend_event e;
	int ret = 0;

	while (most-- && (ret = ops->next_event(l->backend, &e)) != 0) {
		if (ret == -EOVERFLOW) {
			if (!l->resync)
				ml_warn("the source lost events: reading all slots instead");
			l->resync = true;
		} else if (ret > 0) {
			take_event(l, &e);
		} else {
			ml_err("events cannot be read: %s", strerror(-ret));
			break;
		}
	}
	return ret <= 0;
}

/* --- taking away --- */

/* A block that was behind one of the VM's slots, and is mapped nowhere now. */
static void take_back(struct lend_vm *vm, uint32_t block, enum slot_state to, uint64_t *moved)
{
	struct lender *l = vm->lender;
	struct block_word w;
	struct slots *s;

	if (block >= l->pool.table.blocks) {
		ml_err("VM %s: the source returns block %u, of %u", vm->rec->spec.name, block,
		       l->pool.table.blocks);
		return;
	}
	w = table_word(&l->pool.table, block);
	if (moved)
		++*moved;
	if (w.state == BLOCK_LENT && w.owner.vm == vm->rec->id) {
		s = &vm->region[w.owner.region].slots;
		if (w.owner.slot < s->count && slots_state(s, w.owner.slot) == SLOT_RESIDENT &&
		    slots_block(s, w.owner.slot) == block) {
			move_away(vm, (enum memlease_region)w.owner.region, w.owner.slot, to);
			return;
		}
	}
	/* OFFERED: the event that says that it was taken is still to come, and will be old. */
	if (w.state == BLOCK_LENT || w.state == BLOCK_OFFERED)
		pool_put(pool_self(&l->pool), block);
}

/*
 * What the table has behind a slot and the source has not. A memory error can have taken
 * it, of which an event tells, too. Else the two have fallen apart: the block is free only
 * if the source says that it is behind no other slot.
 */
static void stray_out(struct lend_region *r, uint64_t slot, enum slot_state to)
{
	struct lender *l = r->vm->lender;
	uint32_t block = slots_block(&r->slots, slot);
	uint8_t state = BACKEND_BEHIND;

	l->backend->ops->blocks(l->backend, block, 1, &state);
	if (state == BACKEND_BEHIND) {
		ml_err("VM %s: block %u is not behind slot %llu of %s, but behind another; it is not lent any more",
		       r->vm->rec->spec.name, block, (unsigned long long)slot,
		       region_word(r->which));
		slots_set(&r->slots, slot, to, 0);
	} else if (state == BACKEND_UNUSED) {
		move_away(r->vm, r->which, slot, to);
	} else {
		slots_set(&r->slots, slot, to, 0);
		pool_retire(pool_self(&l->pool), block);
	}
}

static void strays_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to)
{
	for (uint64_t i = first; i < first + count; i++) {
		if (slots_state(&r->slots, i) == SLOT_RESIDENT)
			stray_out(r, i, to);
	}
}

/* Up to BACKEND_RUN_MAX slots. off: they fail from now on. */
static int run_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
		   bool off, uint64_t *moved)
{
	struct lend_vm *vm = r->vm;
	struct lender *l = vm->lender;
	const struct backend_ops *ops = l->backend->ops;
	uint32_t blocks[BACKEND_RUN_MAX], taken = 0;
	uint64_t now_ns = lend_now(l);
	int ret;

	meter_advance(&vm->rec->meter, now_ns);
	ml_step("unmap");
	ret = off ? ops->commit(&r->at, first, count, false, blocks, &taken)
		  : ops->unmap(&r->at, first, count, blocks, &taken);
	if (ret < 0) {
		ml_err("VM %s: cannot take %llu slots from %s: %s", vm->rec->spec.name,
		       (unsigned long long)count, region_word(r->which), strerror(-ret));
		return -EUCLEAN;
	}
	ml_step("unmapped");
	/* What was lost there can be had anew. */
	for (uint64_t i = first; r->lost && i < first + count; i++)
		r->lost[i / 8] &= (uint8_t)~(1 << i % 8);
	for (uint32_t i = 0; i < taken; i++)
		take_back(vm, blocks[i], to, moved);
	strays_out(r, first, count, to);
	for (uint64_t i = first; to == SLOT_VACANT && i < first + count; i++) {
		if (slots_state(&r->slots, i) == SLOT_COMMITTED)
			slots_set(&r->slots, i, SLOT_VACANT, 0);
	}
	vm_meter(vm, now_ns, NULL);
	return 0;
}

static uint64_t vacant_run(const struct slots *s, uint64_t first, uint64_t end)
{
	return slots_run(s, first, end, SLOT_VACANT);
}

int served_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	       enum slot_state to, uint64_t *moved)
{
	struct lend_region *r = &vm->region[region];
	uint64_t at = first, end = first + count;
	int ret;

	served_read_all(vm->lender);
	while (at < end) {
		uint64_t n = vacant_run(&r->slots, at, end);

		if (n) {
			at += n;
			continue;
		}
		while (at + n < end && n < LEND_RUN_MAX &&
		       slots_state(&r->slots, at + n) != SLOT_VACANT)
			n++;
		ret = run_out(r, at, n, to, to == SLOT_VACANT, moved);
		if (ret < 0)
			return ret;
		at += n;
	}
	return 0;
}

int served_end(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count)
{
	int ret = 0;

	served_read_all(vm->lender);
	for (uint64_t at = first; !ret && at < first + count; at += LEND_RUN_MAX) {
		uint64_t left = first + count - at;

		/* Boot memory's slots are never VACANT here, though they are so in the source now. */
		ret = run_out(&vm->region[region], at, left < LEND_RUN_MAX ? left : LEND_RUN_MAX,
			      SLOT_COMMITTED, true, NULL);
	}
	return ret;
}

/* --- when the two may have fallen apart --- */

static void resync_slot(struct lend_region *r, uint64_t slot, const struct backend_slot_word *is)
{
	bool here = slots_state(&r->slots, slot) == SLOT_RESIDENT;
	uint32_t had = here ? slots_block(&r->slots, slot) : 0;

	if (here && (is->state != BACKEND_RESIDENT || is->block != had))
		stray_out(r, slot, SLOT_COMMITTED);
	if (is->state == BACKEND_LOST)
		served_lost(r, slot);
	/* Of boot memory, and while it ends, a VM has the right to slots that fail already. */
	if (is->state == BACKEND_VACANT && slots_state(&r->slots, slot) == SLOT_COMMITTED &&
	    r->which == MEMLEASE_REGION_WINDOW && !r->vm->rec->ending)
		slots_set(&r->slots, slot, SLOT_VACANT, 0);
	if (is->state == BACKEND_RESIDENT && !(here && is->block == had))
		served_taken(r, slot, is->block, lend_now(r->vm->lender));
}

void served_resync_slot(struct lend_region *r, uint64_t slot)
{
	uint64_t now_ns = lend_now(r->vm->lender);
	struct backend_slot_word word;

	if (r->vm->lender->backend->ops->slots(&r->at, slot, 1, &word) < 0)
		return;
	meter_advance(&r->vm->rec->meter, now_ns);
	resync_slot(r, slot, &word);
	vm_meter(r->vm, now_ns, NULL);
}

void served_resync(struct lend_vm *vm)
{
	uint64_t now_ns = lend_now(vm->lender);

	meter_advance(&vm->rec->meter, now_ns);
	for (int i = 0; i < MEMLEASE_REGION_COUNT; i++) {
		struct lend_region *r = &vm->region[i];
		struct backend_slot_word words[SLOTS_AT_ONCE];

		for (uint64_t at = 0; at < r->slots.count; at += SLOTS_AT_ONCE) {
			uint64_t left = r->slots.count - at;
			uint64_t n = left < SLOTS_AT_ONCE ? left : SLOTS_AT_ONCE;

			if (vm->lender->backend->ops->slots(&r->at, at, n, words) < 0)
				return;
			for (uint64_t s = 0; s < n; s++)
				resync_slot(r, at + s, &words[s]);
		}
	}
	vm_meter(vm, now_ns, NULL);
}

int served_retired(struct lender *l)
{
	const struct table *t = &l->pool.table;
	uint8_t states[BLOCKS_AT_ONCE];
	uint32_t n, found = 0;

	l->source_blocks = 0;
	for (uint32_t at = 0; at < t->blocks; at += n) {
		int ret;

		n = t->blocks - at < BLOCKS_AT_ONCE ? t->blocks - at : BLOCKS_AT_ONCE;
		ret = l->backend->ops->blocks(l->backend, at, n, states);
		if (ret < 0)
			return ret;
		for (uint32_t i = 0; i < n; i++) {
			if (states[i] != BACKEND_RETIRED && states[i] != BACKEND_OWN)
				continue;
			l->source_blocks += states[i] == BACKEND_OWN;
			if (table_word(t, at + i).state == BLOCK_RETIRED)
				continue;
			pool_retire(pool_self(&l->pool), at + i);
			found += states[i] == BACKEND_RETIRED;
			/* At start there is nobody yet to tell, and perhaps an event to come. */
			if (states[i] == BACKEND_RETIRED && !l->recovering)
				tell_retired(l, NULL, at + i);
		}
	}
	if (found && l->recovering)
		ml_warn("pool: %u blocks had memory errors that the table did not know of; they are retired",
			found);
	return 0;
}

/*
 * Costs milliseconds for a pool of a TiB: so not more often than every LEND_RESYNC_NS,
 * whatever a QEMU does to have events lost. Until then each slot that matters is looked
 * at by itself (move.c), and what was taken meanwhile counts as offered still.
 */
static void resync_all(struct lender *l)
{
	l->resync = false;
	l->resynced_ns = lend_now(l);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		served_resync(vm);
	for (struct lend_vm *vm = l->jobs; vm; vm = vm->job_next) {
		if (vm->state == VM_ENDING)
			served_resync(vm);
	}
	served_retired(l);
}

/* --- acting on it --- */

/* It is not served and cannot go on: the access that failed has stopped a vCPU, or QEMU. */
static void act_fault(struct lend_vm *vm)
{
	char text[sizeof(vm->rec->broken_text)], slot[80];

	snprintf(slot, sizeof(slot), "slot %llu of %s", (unsigned long long)vm->fault_slot,
		 region_word(vm->fault_region));
	if (vm->fault == BACKEND_VIOLATION)
		snprintf(text, sizeof(text),
			 "wrote to %.40s, which it had not borrowed; QEMU (pid %d) was killed", slot,
			 (int)vm->rec->pid);
	else
		snprintf(text, sizeof(text),
			 "waited too long for a block of %.40s; QEMU (pid %d) was killed", slot,
			 (int)vm->rec->pid);
	if (vm->fault_pid && vm->fault_pid != vm->rec->pid)
		ml_warn("VM %s: it was process %d that did it", vm->rec->spec.name,
			(int)vm->fault_pid);
	lend_break(vm, MEMLEASE_BROKEN_TOUCH, text);
	process_kill(vm->pidfd);
	ml_warn("VM %s: %s", vm->rec->spec.name, text);
	vm_event(vm->lender, LEND_EV_VM_STOPPED, vm, text);
}

/*
 * Nobody can read it any more: what is there goes, a slice a turn. Where a QEMU is known
 * its end empties the VM, and until then all is its own. Where somebody has opened it
 * again meanwhile, it is his: a QEMU writes there when it has shaken hands with us, not
 * between this look and the taking. True: that was the work of this turn.
 */
static bool act_closed(struct lend_vm *vm, enum memlease_region region)
{
	uint64_t at = vm->closed_at[region], left = vm->region[region].slots.count - at;
	uint64_t n = left < lend_slice_blocks ? left : lend_slice_blocks;
	bool open = true;

	vm->closed[region] = false;
	if (vm->pidfd >= 0 ||
	    vm->lender->backend->ops->is_open(&vm->region[region].at, &open) < 0 || open)
		return false;
	wait_drop(vm, region, at, n);
	vm->closed_at[region] = at + n;
	vm->closed[region] = served_out(vm, region, at, n, SLOT_COMMITTED, NULL) == 0 && n < left;
	return true;
}

static void act_lost(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	struct lend_lost *lost;

	while (vm->user && (lost = vm->lost)) {
		vm->lost = lost->next;
		l->hooks.guest_event(l->hooks.ctx, vm, MEMLEASE_EV_RETIRED, lost->region,
				     lost->slot, 1);
		free(lost);
	}
	if (vm->lost)
		l->acts = true;
}

void served_act(struct lender *l)
{
	bool emptied = false;

	if (l->resync && (!l->resynced_ns || lend_now(l) - l->resynced_ns >= LEND_RESYNC_NS))
		resync_all(l);
	if (!l->acts)
		return;
	l->acts = false;
	l->acts_soon = false;
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		if (vm->fault)
			act_fault(vm);
		vm->fault = 0;
		for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
			if (vm->closed[r] && !emptied)
				emptied = act_closed(vm, (enum memlease_region)r);
			l->acts_soon |= vm->closed[r];
			l->acts |= vm->closed[r];
		}
		act_lost(vm);
	}
}
