// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts of VMs and of the pool; see account.h. */
#include "account.h"

#define NS_PER_MS 1000000

uint64_t account_committed(const struct lend_vm *vm)
{
	return vm->region[MEMLEASE_REGION_BOOT].slots.committed +
	       vm->region[MEMLEASE_REGION_WINDOW].slots.committed;
}

uint64_t account_resident(const struct lend_vm *vm)
{
	return vm->region[MEMLEASE_REGION_BOOT].slots.resident +
	       vm->region[MEMLEASE_REGION_WINDOW].slots.resident + vm->foreign.count;
}

uint64_t account_foreign(const struct lend_vm *vm)
{
	return vm->foreign.count;
}

uint64_t account_in_source(const struct lend_vm *vm)
{
	uint64_t blocks = 0;

	for (int r = 0; vm->open && r < MEMLEASE_REGION_COUNT; r++) {
		struct backend_region *at = (struct backend_region *)&vm->region[r].at;
		uint64_t bytes = 0;

		if (at->backend->ops->resident_bytes(at, &bytes) == 0)
			blocks += (bytes + MEMLEASE_BLOCK_BYTES - 1) / MEMLEASE_BLOCK_BYTES;
	}
	return blocks;
}

uint64_t account_free(const struct lender *l)
{
	const struct table *t = &l->pool.table;

	return (uint64_t)table_count(t, BLOCK_CLEAN) + table_count(t, BLOCK_DIRTY) +
	       table_count(t, BLOCK_ZEROING) + table_count(t, BLOCK_OFFERED);
}

bool account_lapsed(const struct lend_vm *vm)
{
	return !vm->rec->pid && !vm->rec->ending && !meter_now(&vm->rec->meter)->counts.committed;
}

uint64_t account_guarantee(const struct lend_vm *vm)
{
	return vm->rec->ending || account_lapsed(vm) ? 0 : vm->rec->spec.guarantee_blocks;
}

struct meter_counts account_counts(const struct lend_vm *vm)
{
	if (vm->rec->ending || account_lapsed(vm))
		return (struct meter_counts){ .resident = account_resident(vm) };
	return (struct meter_counts){ account_resident(vm), account_committed(vm),
				      vm->rec->spec.guarantee_blocks };
}

void account_sum(struct lend_vm *vm)
{
	struct lend_sums *all = &vm->lender->sums, *own = &vm->counted;
	bool gone = vm->state == VM_ENDED || vm->rec->ending;
	uint64_t guarantee = gone ? 0 : account_guarantee(vm);

	all->committed -= own->committed;
	all->limit -= own->limit;
	all->guarantee -= own->guarantee;
	all->unfilled -= own->unfilled;
	own->committed = gone || account_lapsed(vm) ? 0 : account_committed(vm);
	own->limit = gone ? 0 : vm->rec->spec.limit_blocks;
	own->guarantee = guarantee;
	own->unfilled = policy_unfilled(guarantee, account_resident(vm));
	all->committed += own->committed;
	all->limit += own->limit;
	all->guarantee += own->guarantee;
	all->unfilled += own->unfilled;
}

void account_meter(struct lend_vm *vm, uint64_t now_ns, const struct meter_events *events)
{
	struct meter_counts counts = account_counts(vm);

	meter_change(&vm->rec->meter, now_ns, &counts, events);
	account_sum(vm);
}

void account_lapse(struct lend_vm *vm, uint64_t at_ns)
{
	struct meter_counts counts = { .resident = account_resident(vm) };

	meter_change(&vm->rec->meter, at_ns, &counts, NULL);
	account_sum(vm);
}

void account_advance(struct lend_vm *vm, uint64_t at_ns)
{
	struct lender *l = vm->lender;
	uint64_t now_ns = lend_now(l);

	if (l->recovering && at_ns < now_ns && at_ns > meter_now(&vm->rec->meter)->at_ns)
		meter_tick(&vm->rec->meter, at_ns,
			   ml_wall_ms(l->config.clock) - (int64_t)((now_ns - at_ns) / NS_PER_MS),
			   l->config.period_s);
	else
		meter_advance(&vm->rec->meter, at_ns);
}

void account_vm(const struct lend_vm *vm, struct policy_vm *out)
{
	const struct queued *oldest = queue_first(&vm->queue);

	*out = (struct policy_vm){
		.boot = vm->rec->spec.boot_blocks,
		.limit = vm->rec->spec.limit_blocks,
		.guarantee = account_guarantee(vm),
		.window_committed = vm->region[MEMLEASE_REGION_WINDOW].slots.committed,
		.committed = account_committed(vm),
		.resident = account_resident(vm),
		.window_target = vm->rec->target_blocks,
		.oldest_wait_ns = oldest ? oldest->since_ns : 0,
		.waiting = queue_count(&vm->queue),
		.asked_ns = vm->asked_ns,
		.kept_taken = vm->kept_turn == vm->lender->kept_turn ? vm->kept_taken : 0,
		.connected = vm->state == VM_RUNNING && !vm->rec->broken,
	};
}

void account_pool(const struct lender *l, struct policy_pool *out)
{
	*out = (struct policy_pool){
		.blocks = l->config.pool_blocks - table_count(&l->pool.table, BLOCK_RETIRED),
		.free = account_free(l) - table_count(&l->pool.table, BLOCK_OFFERED),
		.offered = table_count(&l->pool.table, BLOCK_OFFERED),
		.committed = l->sums.committed,
		.guarantee = l->sums.guarantee,
		.unfilled = l->sums.unfilled,
		.waiting = l->waiting,
		.vms = l->vms,
		.overbook_percent = l->config.overbook_percent,
	};
	/* With blocks left that anybody may have, they wait for zeroing, or are about to be served. */
	if (!l->backend->zeroes_itself && !policy_at_last(out))
		out->waiting = 0;
}

void account_ample(struct lender *l)
{
	l->kept_turn += l->kept_drawn;
	l->kept_drawn = false;
}

void account_kept(struct lend_vm *vm, const struct policy_pool *before)
{
	struct lender *l = vm->lender;

	if (!policy_at_last(before)) {
		account_ample(l);
		return;
	}
	if (vm->kept_turn != l->kept_turn)
		vm->kept_taken = 0;
	vm->kept_turn = l->kept_turn;
	vm->kept_taken++;
	l->kept_drawn = true;
}
