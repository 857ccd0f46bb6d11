// SPDX-License-Identifier: GPL-2.0-or-later
/* Lending where the source serves touches; see told.h. */
#include "told.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"
#include "told_act.h"
#include "told_out.h"
#include "told_read.h"
#include "told_resync.h"
#include "told_settle.h"

#define MISMATCH_MOST 10	/* looks in a row: chance alone does not do that */

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

static int told_refused(struct lend_region *r, uint64_t slot, uint32_t block, int error)
{
	struct lender *l = r->vm->lender;

	if (error == -EBUSY) {
		give_up_block(r->vm, block);
		return -EBUSY;
	}
	pool_put(pool_self(&l->pool), block);
	if (error == -EPERM)
		return -EIO;		/* lost to a memory error */
	if (error != -EEXIST)
		return loan_source_short(r->vm, error);
	/* A touch was faster; the event has it, unless it was lost. */
	told_read(l, UINT32_MAX);
	if (slots_state(&r->slots, slot) != SLOT_RESIDENT && (l->due & DUE_RESYNC))
		told_resync_slot(r, slot);
	return slots_state(&r->slots, slot) == SLOT_RESIDENT ? 0 : -EAGAIN;
}

/*
 * Called when the record says COMMITTED already: so whatever the source has, the record has
 * too, wherever a crash comes. If the source will not, nothing was lent.
 */
static int told_commit(struct lend_vm *vm, uint64_t first, uint64_t count)
{
	struct lend_region *r = &vm->region[MEMLEASE_REGION_WINDOW];
	uint32_t taken;
	int ret;

	ml_step("commit");
	ret = vm->lender->backend->ops->commit(&r->at, first, count, true, NULL, &taken);
	if (ret == 0)
		return 0;
	ml_err("VM %s: %" PRIu64 " slots cannot be committed: %s", vm->rec->spec.name, count,
	       strerror(-ret));
	told_resync(vm);
	return -EUCLEAN;
}

/*
 * Nothing is there that we did not put there, and only touches go on meanwhile: so the
 * source counts what the table had before, or has after, or something between. A memory
 * error can upset that, but not for long.
 */
static void told_audit(struct lend_vm *vm, uint64_t now_ns)
{
	uint64_t before, has, table;

	(void)now_ns;
	told_read(vm->lender, UINT32_MAX);
	before = account_resident(vm);
	has = account_in_source(vm);
	told_read(vm->lender, UINT32_MAX);
	table = account_resident(vm);
	vm->mismatch = before <= has && has <= table ? 0 : vm->mismatch + 1;
	if (vm->mismatch < MISMATCH_MOST)
		return;
	vm->mismatch = 0;
	ml_warn("VM %s: the source counts %" PRIu64 " blocks, the table %" PRIu64
		"; the source is right", vm->rec->spec.name, has, table);
	told_resync(vm);
}

const struct loan_ops told_loans = {
	.memory = "windows",
	.read = told_read,
	.refused = told_refused,
	.commit = told_commit,
	.out = told_out,
	.end_idle = told_end_idle,
	.end_out = told_end_out,
	.audit = told_audit,
	.act = told_act,
	.settle = told_settle,
};
