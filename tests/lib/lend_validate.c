// SPDX-License-Identifier: GPL-2.0-or-later
/* The invariants of lending; see lend_validate.h. */
#include "lend_validate.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../../host/base/log.h"
#include "../../host/lend/account.h"
#include "../../host/lend/orphan.h"
#include "../../host/lend/waiting.h"

#define MUST(cond, ...) \
	do { \
		if (!(cond)) { \
			ml_err("broken invariant: " __VA_ARGS__); \
			abort(); \
		} \
	} while (0)

/* The counts agree with the words. */
static void slots_validate(const struct slots *s)
{
	uint64_t committed = 0, resident = 0;

	for (uint64_t i = 0; i < s->count; i++) {
		enum slot_state state = slots_state(s, i);

		MUST(state < SLOT_STATES && !(s->boot && state == SLOT_VACANT),
		     "slot %" PRIu64 " is in state %d", i, (int)state);
		committed += (state != SLOT_VACANT);
		resident += (state == SLOT_RESIDENT);
	}
	MUST(committed == s->committed && resident == s->resident,
	     "slots: %" PRIu64 " committed and %" PRIu64 " resident by count, %" PRIu64
	     " and %" PRIu64 " by state", s->committed, s->resident, committed, resident);
}

static void validate_region(const struct lend_vm *vm, int r)
{
	const struct slots *s = &vm->region[r].slots;

	slots_validate(s);
	for (uint64_t i = 0; i < s->count; i++) {
		struct block_word w;

		if (slots_state(s, i) != SLOT_RESIDENT)
			continue;
		MUST(slots_block(s, i) < vm->lender->pool.table.blocks, "slot names no block");
		w = table_word(&vm->lender->pool.table, slots_block(s, i));
		MUST(w.state == BLOCK_LENT && w.owner.vm == vm->rec->id && w.owner.region == r &&
		     w.owner.slot == i,
		     "VM %s: block %u is not lent to slot %" PRIu64, vm->rec->spec.name,
		     slots_block(s, i), i);
		MUST(!waiting_has(vm, (enum memlease_region)r, i),
		     "VM %s: resident slot %" PRIu64 " waits", vm->rec->spec.name, i);
	}
}

static void validate_vm(const struct lend_vm *vm)
{
	struct meter_counts counts = account_counts(vm);
	const struct meter_counts *metered = &meter_now(&vm->rec->meter)->counts;
	uint64_t waiting = 0;

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
		validate_region(vm, r);
	meter_validate(&vm->rec->meter);
	MUST(counts.resident == metered->resident && counts.committed == metered->committed &&
	     counts.guarantee == metered->guarantee,
	     "VM %s: the meter counts %" PRIu64 " resident and %" PRIu64
	     " committed, the slots %" PRIu64 " and %" PRIu64, vm->rec->spec.name,
	     metered->resident, metered->committed, counts.resident, counts.committed);
	for (const struct queued *w = queue_first(&vm->queue); w; w = queue_next(w)) {
		MUST(slots_state(&vm->region[w->region].slots, w->slot) != SLOT_VACANT,
		     "VM %s: a vacant slot waits", vm->rec->spec.name);
		waiting++;
	}
	MUST(waiting == queue_count(&vm->queue), "VM %s: waits are miscounted", vm->rec->spec.name);
	MUST(!vm->rec->intent.active, "VM %s: a move was not finished", vm->rec->spec.name);
}

struct sums {
	uint64_t lent, committed, limit, guarantee, unfilled, waiting;
	bool foreign;
};

static void validate_into(const struct lend_vm *vm, struct sums *sum)
{
	validate_vm(vm);
	sum->lent += account_resident(vm) - vm->foreign.count + vm->foreign.taken;
	sum->waiting += queue_count(&vm->queue);
	sum->foreign |= vm->foreign.count != 0;
	if (vm->state == VM_ENDING)
		return;
	sum->committed += account_lapsed(vm) ? 0 : account_committed(vm);
	sum->limit += vm->rec->spec.limit_blocks;
	sum->guarantee += account_guarantee(vm);
	sum->unfilled += policy_unfilled(account_guarantee(vm), account_resident(vm));
}

/* What is offered is neither owed by guarantee nor of the last blocks. */
static void validate_offered(const struct lender *l)
{
	struct policy_pool pool;

	account_pool(l, &pool);
	MUST(pool.offered <= policy_offer(&pool),
	     "%" PRIu64 " blocks are offered to all, of %" PRIu64 " that may be", pool.offered,
	     policy_offer(&pool));
}

void lender_validate(const struct lender *l)
{
	struct sums sum = { 0 };
	bool errors = table_count(&l->pool.table, BLOCK_RETIRED) > l->source_blocks;

	pool_validate(&l->pool);
	for (const struct lend_vm *vm = l->first; vm; vm = vm->next) {
		MUST(vm->state != VM_ENDING && vm->job == !!vm->rec->resetting,
		     "VM %s: its job is not as its record says", vm->rec->spec.name);
		validate_into(vm, &sum);
	}
	for (const struct lend_vm *vm = l->jobs; vm; vm = vm->job_next) {
		MUST(vm->job && (vm->state == VM_ENDING) == !!vm->rec->ending,
		     "VM %s: not what a job is for", vm->rec->spec.name);
		if (vm->state == VM_ENDING)
			validate_into(vm, &sum);
	}
	sum.lent += orphan_blocks(l);
	sum.foreign |= orphan_count(l) != 0;
	MUST(sum.lent == table_count(&l->pool.table, BLOCK_LENT),
	     "%u blocks are lent, VMs hold %" PRIu64, table_count(&l->pool.table, BLOCK_LENT),
	     sum.lent);
	MUST(sum.committed == l->sums.committed && sum.limit == l->sums.limit &&
	     sum.guarantee == l->sums.guarantee && sum.unfilled == l->sums.unfilled &&
	     sum.waiting == l->waiting, "sums over VMs do not add up");
	/* What QEMU takes past its leases is bounded by the file system only. */
	MUST(sum.foreign || errors ||
	     account_free(l) >= sum.unfilled + table_count(&l->pool.table, BLOCK_OFFERED),
	     "%" PRIu64 " blocks are free, %u of them offered to all, %" PRIu64
	     " are owed by guarantee",
	     account_free(l), table_count(&l->pool.table, BLOCK_OFFERED), sum.unfilled);
	if (!errors)
		validate_offered(l);
}
