// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What must hold after each step, and at the end of a run; called by life.c.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

/* The table, the backend and what guests expect agree. */
void check_world(void)
{
	struct pool_status st;

	sim_follow_windows();
	lender_validate(lender);
	lender_status(lender, &st);
	SIM_MUST(st.fs_resident_blocks == sim_present(), "blocks in regions of no VM");
	SIM_MUST(st.free_blocks + st.lent_blocks + st.retired_blocks == SIM_POOL_BLOCKS,
		 "blocks are missing");
	sim_check_mapped();
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; r->name[0] && s < r->blocks; s++) {
			if (r->want[s] && !r->unsure[s])
				SIM_MUST(sim_behind(r, s) &&
					 *sim_content((struct sim_region *)r, s) == r->want[s],
					 "%s slot %llu has lost its contents", r->name,
					 (unsigned long long)s);
		}
	}
}

/* An event that no daemon has read yet says that it has a block no more. */
static bool lost_unread(const struct lend_vm *vm)
{
	const struct memlease_rings *rings = &world->module.rings;

	(void)vm;
	for (uint32_t i = rings->touches_tail; world->served && i != rings->touches_head; i++) {
		if (rings->touches[i % MEMLEASE_POOL_TOUCHES].type == MEMLEASE_TOUCH_ERROR)
			return true;
	}
	return world->served && rings->overflow != world->overflow_seen;
}

static void check_count(const struct lend_vm *vm)
{
	SIM_MUST(account_resident(vm) + (world->served ? sim_unseen(vm->rec->uuid) : 0) ==
			 sim_resident(vm->rec->uuid) || lender->due & DUE_RESYNC || lost_unread(vm),
		 "VM %s: %llu blocks by count, %llu in memory", lend_vm_name(vm),
		 (unsigned long long)account_resident(vm),
		 (unsigned long long)sim_resident(vm->rec->uuid));
}

static void check_window_waits(const struct fake_window *w)
{
	struct lend_vm *vm = NULL;

	while ((vm = lend_vm_next(lender, vm))) {
		for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
			if (strcmp(lend_region_path(vm, (enum memlease_region)r), w->name) != 0)
				continue;
			for (uint32_t s = 0; s < w->slots; s++)
				SIM_MUST(w->told[s] != world->module.daemons + 1 ||
					 w->word[s] != MEMLEASE_SLOT_COMMITTED ||
					 waiting_has(vm, (enum memlease_region)r, s),
					 "a task waits at slot %u of %s, and nobody knows", s, w->name);
		}
	}
}

/* All records have been read: each task that waits and has told is waited for. */
void check_waits(void)
{
	for (int i = 0; world->served && i < FAKE_WINDOWS_MAX; i++) {
		if (world->module.window[i].id)
			check_window_waits(&world->module.window[i]);
	}
}

static void check_told_of(struct lend_vm *vm, enum memlease_region region)
{
	const struct fake_window *w = fake_named(&world->module, lend_region_path(vm, region));
	struct sim_region *r = sim_region_of(vm, region);

	for (uint32_t s = 0; w && r && s < w->slots; s++) {
		bool lost = MEMLEASE_SLOT_STATE(w->word[s]) == MEMLEASE_SLOT_LOST;

		SIM_MUST(!lost || r->told[s], "slot %u of %s is lost, and its guest not told", s,
			 w->name);
		r->told[s] &= lost;
	}
}

void check_told(void)
{
	struct lend_vm *vm = NULL;

	while (world->served && !(lender->due & DUE_RESYNC) && (vm = lend_vm_next(lender, vm))) {
		for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
			check_told_of(vm, (enum memlease_region)r);
	}
}

void check_guarantees(void)
{
	const struct table *t = &lender->pool.table;
	struct lend_vm *vm = NULL;

	/* Turns are bounded; memory errors can take what was promised. */
	if (!world->served || lender->due & (DUE_SERVE | DUE_RESYNC) ||
	    table_count(t, BLOCK_RETIRED) > lender->source_blocks)
		return;
	while ((vm = lend_vm_next(lender, vm)))
		SIM_MUST(!queue_count(&vm->queue) || account_resident(vm) >= vm->rec->spec.guarantee_blocks ||
			 (!table_count(t, BLOCK_CLEAN) && fake_supply_empty(&world->module)),
			 "VM %s waits with %llu of %llu promised, %u are clean", lend_vm_name(vm),
			 (unsigned long long)account_resident(vm),
			 (unsigned long long)vm->rec->spec.guarantee_blocks,
			 table_count(t, BLOCK_CLEAN));
}

/* QEMU has emptied a slot of this VM's that the daemon filled. */
static bool has_emptied(struct lend_vm *vm)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		const struct sim_region *region = sim_region_of(vm, (enum memlease_region)r);
		const struct slots *slots = &vm->region[r].slots;

		for (uint64_t s = 0; region && s < slots->count; s++) {
			if (slots_state(slots, s) == SLOT_RESIDENT && !region->behind[s])
				return true;
		}
	}
	return false;
}

static bool any_has_emptied(void)
{
	struct lend_vm *vm = NULL;

	while (!world->served && (vm = lend_vm_next(lender, vm))) {
		if (has_emptied(vm))
			return true;
	}
	return false;
}

/*
 * Every VM's resident count is what is there. The audit compares sums: a slot that QEMU emptied
 * hides one that it filled, until the guest gives up the first; the second is found a tick later.
 */
void check_counts(void)
{
	static bool hidden;		/* after the last step */
	struct lend_vm *vm = NULL;

	if (hidden)
		lender_tick(lender);
	hidden = any_has_emptied();
	while ((vm = lend_vm_next(lender, vm)))
		check_count(vm);
	for (vm = lender->jobs; vm; vm = vm->job_next)
		check_count(vm);
}

/* At every step each meter stands where the observer stands. */
static void check_meter(const struct lend_vm *vm)
{
	const struct meter_state *m = meter_now(&vm->rec->meter);
	uint64_t since_ns = vm->rec->meter.stopped ? 0 : world->boot_ns - m->at_ns;
	ml_u128 resident = m->total.resident_ns + (ml_u128)m->counts.resident * since_ns;
	const struct sim_seen *of = sim_seen_of(vm->rec->uuid);
	ml_u128 seen = of->resident_ns;

	/* Where it cannot be known since when a block was there, it is billed later, never earlier. */
	SIM_MUST(resident >= seen && resident <= seen + of->unseen_ns, "VM %s: metered %llu resident ns, seen %llu", lend_vm_name(vm),
		 (unsigned long long)resident, (unsigned long long)seen);
}

void check_meters(void)
{
	struct lend_vm *vm = NULL;

	while ((vm = lend_vm_next(lender, vm)))
		check_meter(vm);
	for (vm = lender->jobs; vm; vm = vm->job_next)
		check_meter(vm);
	for (vm = lender->ended; vm; vm = vm->next)
		check_meter(vm);
}

static bool within(ml_u128 billed, ml_u128 seen, ml_u128 unknown)
{
	return billed >= seen && billed <= seen + unknown;
}

/* Rows of one VM: in order, without overlap, and their sums the exact integrals. */
static void check_bill(sqlite3_stmt *st, const struct sim_seen *seen)
{
	ml_u128 resident = 0, committed = 0, guarantee = 0;
	int64_t last = INT64_MIN;

	sqlite3_reset(st);
	sqlite3_bind_text(st, 1, seen->uuid, -1, SQLITE_STATIC);
	while (sqlite3_step(st) == SQLITE_ROW) {
		int64_t start = sqlite3_column_int64(st, 0), until = sqlite3_column_int64(st, 1);

		SIM_MUST(start >= last && until >= start, "VM %s: rows overlap", seen->uuid);
		last = until;
		resident += (uint64_t)sqlite3_column_int64(st, 2);
		committed += (uint64_t)sqlite3_column_int64(st, 3);
		guarantee += (uint64_t)sqlite3_column_int64(st, 4);
	}
	SIM_MUST(within(resident, seen->resident_ns, seen->unseen_ns) &&
		 within(committed, seen->committed_ns, seen->unknown_committed_ns) &&
		 within(guarantee, seen->guarantee_ns, seen->unknown_guarantee_ns),
		 "VM %s: billed %llu resident, %llu committed, %llu guarantee ns; seen %llu, %llu, %llu",
		 seen->uuid, (unsigned long long)resident, (unsigned long long)committed,
		 (unsigned long long)guarantee, (unsigned long long)seen->resident_ns,
		 (unsigned long long)seen->committed_ns, (unsigned long long)seen->guarantee_ns);
}

void check_ledger(void)
{
	sqlite3_stmt *st;
	sqlite3 *db;

	SIM_MUST(sqlite3_open(world->ledger, &db) == SQLITE_OK, "ledger");
	SIM_MUST(sqlite3_prepare_v2(db,
				    "SELECT start_ms, until_ms, resident_block_ns, committed_block_ns,"
				    " guarantee_block_ns FROM usage JOIN vm ON vm.id = usage.vm"
				    " WHERE uuid = ?1 ORDER BY start_ms",
				    -1, &st, NULL) == SQLITE_OK, "ledger");
	for (size_t i = 0; i < world->seen_count; i++)
		check_bill(st, &world->seen[i]);
	sqlite3_finalize(st);
	sqlite3_close(db);
}
