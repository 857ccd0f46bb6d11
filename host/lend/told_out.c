// SPDX-License-Identifier: GPL-2.0-or-later
/* Taking blocks out of VMs where the source serves touches; see told_out.h. */
#include "told_out.h"

#include <errno.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "loan.h"
#include "told_read.h"

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
			loan_away(&vm->region[w.owner.region], w.owner.slot, to);
			return;
		}
	}
	/* OFFERED: the event that says that it was taken is still to come, and will be old. */
	if (w.state == BLOCK_LENT || w.state == BLOCK_OFFERED)
		pool_put(pool_self(&l->pool), block);
}

void told_stray_out(struct lend_region *r, uint64_t slot, enum slot_state to)
{
	struct lender *l = r->vm->lender;
	uint32_t block = slots_block(&r->slots, slot);
	uint8_t state = BACKEND_BEHIND;

	l->backend->ops->blocks(l->backend, block, 1, &state);
	if (state == BACKEND_BEHIND) {
		ml_err("VM %s: block %u is not behind slot %llu of %s, but behind another; it is not lent any more",
		       r->vm->rec->spec.name, block, (unsigned long long)slot,
		       told_region_word(r->which));
		slots_set(&r->slots, slot, to, 0);
	} else if (state == BACKEND_UNUSED) {
		loan_away(r, slot, to);
	} else {
		slots_set(&r->slots, slot, to, 0);
		pool_retire(pool_self(&l->pool), block);
	}
}

static void strays_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to)
{
	for (uint64_t i = first; i < first + count; i++) {
		if (slots_state(&r->slots, i) == SLOT_RESIDENT)
			told_stray_out(r, i, to);
	}
}

/* Up to BACKEND_RUN_MAX slots. off: they fail from now on. */
static int slots_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
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
		       (unsigned long long)count, told_region_word(r->which), strerror(-ret));
		return -EUCLEAN;
	}
	ml_step("unmapped");
	/* What was lost there can be had anew. */
	lost_mend(&vm->lost, r->which, first, count);
	for (uint32_t i = 0; i < taken; i++)
		take_back(vm, blocks[i], to, moved);
	strays_out(r, first, count, to);
	for (uint64_t i = first; to == SLOT_VACANT && i < first + count; i++) {
		if (slots_state(&r->slots, i) == SLOT_COMMITTED)
			slots_set(&r->slots, i, SLOT_VACANT, 0);
	}
	account_meter(vm, now_ns, NULL);
	return 0;
}

int told_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
	     uint64_t *moved)
{
	uint64_t at = first, end = first + count;
	int ret;

	told_read(r->vm->lender, UINT32_MAX);
	while (at < end) {
		uint64_t n = slots_run(&r->slots, at, end, SLOT_VACANT);

		if (n) {
			at += n;
			continue;
		}
		while (at + n < end && n < BACKEND_RUN_MAX &&
		       slots_state(&r->slots, at + n) != SLOT_VACANT)
			n++;
		ret = slots_out(r, at, n, to, to == SLOT_VACANT, moved);
		if (ret < 0)
			return ret;
		at += n;
	}
	return 0;
}

/* Empty stretches of the window are vacant already, also in the source. */
uint64_t told_end_idle(const struct lend_region *r, uint64_t first)
{
	return slots_run(&r->slots, first, r->slots.count, SLOT_VACANT);
}

/* Every slot is made to fail, or a task that outlives QEMU could go on taking blocks. */
void told_end_out(struct lend_region *r, uint64_t first, uint64_t count)
{
	int ret = 0;

	told_read(r->vm->lender, UINT32_MAX);
	for (uint64_t at = first; !ret && at < first + count; at += BACKEND_RUN_MAX) {
		uint64_t left = first + count - at;

		/* Boot memory's slots are never VACANT here, though they are so in the source now. */
		ret = slots_out(r, at, left < BACKEND_RUN_MAX ? left : BACKEND_RUN_MAX, SLOT_COMMITTED,
				true, NULL);
	}
}
