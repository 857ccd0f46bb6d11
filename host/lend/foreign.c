// SPDX-License-Identifier: GPL-2.0-or-later
/* Foreign blocks; see foreign.h. */
#include "foreign.h"

#include <stdlib.h>

#include "../base/step.h"
#include "account.h"
#include "loan.h"

/* Take blocks for them, or give some back, until so many are taken or the pool is empty. */
static void take(struct lend_vm *vm, uint64_t want)
{
	struct pool_user *u = pool_self(&vm->lender->pool);
	struct foreign *f = &vm->foreign;

	while (f->taken > want)
		pool_put(u, f->blocks[--f->taken]);
	if (want > f->taken) {
		uint32_t *grown = realloc(f->blocks, want * sizeof(*grown));

		if (!grown)
			return;		/* the next count tries again */
		f->blocks = grown;
	}
	while (f->taken < want) {
		uint32_t block = pool_get(u, loan_owner(vm, MEMLEASE_REGION_BOOT,
							TABLE_SLOT_FOREIGN));

		if (block == POOL_NO_BLOCK)
			break;
		f->blocks[f->taken++] = block;
	}
}

void foreign_count(struct lend_vm *vm, uint64_t now_ns)
{
	struct foreign *f = &vm->foreign;
	uint64_t is = account_in_source(vm), table = account_resident(vm) - f->count;
	uint64_t want = is > table ? is - table : 0;

	if (want != f->taken)
		take(vm, want);
	f->count = want;
	if (meter_now(&vm->rec->meter)->counts.resident != account_resident(vm))
		account_meter(vm, now_ns, NULL);
	else
		account_sum(vm);
}

bool foreign_none(const struct lend_vm *vm)
{
	return !vm->foreign.count && !vm->foreign.taken;
}

void foreign_found(struct lend_vm *vm)
{
	struct foreign *f = &vm->foreign;

	if (!f->count)
		return;
	f->count--;
	if (f->taken > f->count)
		take(vm, f->count);
	account_sum(vm);
}

void foreign_out(struct lend_region *r, uint64_t first, uint64_t count)
{
	uint32_t blocks[BACKEND_RUN_MAX], taken;

	meter_advance(&r->vm->rec->meter, lend_now(r->vm->lender));
	ml_step("unmap foreign");
	r->vm->lender->backend->ops->unmap(&r->at, first, count, blocks, &taken);
}

void foreign_end(struct lend_vm *vm)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		if (vm->region[r].slots.count)
			foreign_out(&vm->region[r], 0, vm->region[r].slots.count);
	}
	take(vm, 0);
	vm->foreign.count = 0;
}

bool foreign_keep(struct lend_vm *vm, uint32_t block)
{
	struct foreign *f = &vm->foreign;
	uint32_t *grown = realloc(f->blocks, (f->taken + 1) * sizeof(*grown));

	if (!grown)
		return false;
	f->blocks = grown;
	grown[f->taken++] = block;
	return true;
}
