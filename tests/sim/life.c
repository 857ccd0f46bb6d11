// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One life of the daemon: open the lender, then random steps of guests, operators,
 * QEMUs and clocks, each followed by the check of every invariant. The hook at
 * each persistent write ends the life when its time has come.
 */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../host/base/step.h"
#include "world.h"

#define SIM_CRASHED 2
#define S_NS 1000000000ULL

static struct lender *lender;

static void die_here(const char *where)
{
	if (world->final || !world->crash_in || --world->crash_in)
		return;
	snprintf(world->crashed_at, sizeof(world->crashed_at), "%s", where);
	_exit(SIM_CRASHED);
}

static void on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	(void)ctx;
	(void)vm;
	(void)region;
	(void)slot;
	world->served++;
}

static void on_config(void *ctx, struct lend_vm *vm)
{
	(void)ctx;
	(void)vm;
}

static void on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			   uint32_t seq, uint64_t a, uint64_t b)
{
	(void)ctx;
	(void)vm;
	(void)type;
	(void)seq;
	(void)a;
	(void)b;
}

static void on_event(void *ctx, const struct lend_event *e)
{
	(void)ctx;
	(void)e;
}

/* --- who there is --- */

static struct lend_vm *some_vm(void)
{
	struct lend_vm *vm = NULL;
	uint64_t n = 0, i;

	while ((vm = lend_vm_next(lender, vm)))
		n++;
	if (!n)
		return NULL;
	i = sim_random(n);
	vm = lend_vm_next(lender, NULL);
	while (i--)
		vm = lend_vm_next(lender, vm);
	return vm;
}

static int qemu_of(const struct lend_vm *vm)
{
	for (int i = 0; i < SIM_QEMUS; i++) {
		if (vm->rec->pid && world->qemu[i] == vm->rec->pid)
			return i;
	}
	return -1;
}

static void free_qemu(int i)
{
	if (i < 0)
		return;
	kill(world->qemu[i], SIGKILL);
	world->qemu[i] = 0;		/* the parent makes another */
	world->qemu_used[i] = false;
}

/* A range of slots: usually a few. */
static uint64_t some_range(uint64_t size, uint64_t *first)
{
	*first = sim_random(size);
	return 1 + sim_random(sim_chance(20) ? size - *first : (size - *first + 3) / 4);
}

/* The guest gives slots up: until the answer it cannot know what they hold. */
static void want_unsure(struct lend_vm *vm, enum memlease_region region, uint64_t first,
			uint64_t count)
{
	struct sim_region *r = sim_region_of(vm, region);

	for (uint64_t i = first; i < first + count; i++)
		r->unsure[i] = true;
}

static void want_zeros(struct lend_vm *vm, enum memlease_region region, uint64_t first,
		       uint64_t count)
{
	struct sim_region *r = sim_region_of(vm, region);

	for (uint64_t i = first; i < first + count; i++) {
		SIM_MUST(!r->behind[i], "%s slot %llu was given up and is still there", r->name,
			 (unsigned long long)i);
		r->want[i] = 0;
		r->unsure[i] = false;
	}
}

/* --- steps --- */

static int regions_left(void)
{
	int n = 0;

	for (int i = 0; i < SIM_REGIONS_MAX; i++)
		n += world->regions[i].name[0] == '\0';
	return n;
}

static void step_create(void)
{
	struct vm_spec spec = { .weight = 100 };
	struct lend_vm *vm;
	char why[256];

	if (lender->vms >= SIM_VMS_MAX || regions_left() < 2 || world->seen_count + 8 > SIM_SEEN_MAX)
		return;
	snprintf(spec.name, sizeof(spec.name), "vm%llu", (unsigned long long)world->next_name++);
	snprintf(spec.tenant, sizeof(spec.tenant), "t%llu", (unsigned long long)sim_random(3));
	snprintf(spec.plan, sizeof(spec.plan), "p");
	spec.boot_blocks = 1 + sim_random(6);
	spec.limit_blocks = spec.boot_blocks + 1 + sim_random(50);
	spec.guarantee_blocks = sim_chance(50) ? sim_random(spec.limit_blocks / 2 + 1) : 0;
	lend_vm_create(lender, &spec, &vm, why, sizeof(why));
}

static void step_attach(struct lend_vm *vm)
{
	int i = (int)sim_random(SIM_QEMUS);

	if (lend_vm_pidfd(vm) >= 0) {
		if (sim_chance(50))
			lend_vm_detach(vm);
		else
			SIM_MUST(lend_vm_attach(vm, vm->rec->pid, -1) == 0, "attach again");
		return;
	}
	if (!world->qemu[i] || world->qemu_used[i])
		return;
	world->qemu_used[i] = true;
	SIM_MUST(lend_vm_attach(vm, world->qemu[i], -1) == 0, "attach of a live process");
}

static void step_end(struct lend_vm *vm)
{
	int qemu = qemu_of(vm);

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
		want_unsure(vm, (enum memlease_region)r, 0, lend_region_blocks(vm, r));
	free_qemu(qemu);
	lend_vm_end(vm, "simulated");
}

static void step_borrow(struct lend_vm *vm)
{
	uint64_t size = lend_region_blocks(vm, MEMLEASE_REGION_WINDOW), first, done = ~0ULL;
	uint64_t count = some_range(size, &first);
	enum memlease_reason reason;

	SIM_MUST(lend_borrow(vm, first, count, &done, &reason) == 0 && done <= count, "borrow");
	SIM_MUST(!done || lend_committed(vm, MEMLEASE_REGION_WINDOW, first, done),
		 "borrowed and not committed");
	SIM_MUST((reason == MEMLEASE_WHY_OK) == (done == count), "borrow: done %llu of %llu, reason %d",
		 (unsigned long long)done, (unsigned long long)count, (int)reason);
}

static void step_return(struct lend_vm *vm)
{
	uint64_t size = lend_region_blocks(vm, MEMLEASE_REGION_WINDOW), first, done = ~0ULL;
	uint64_t count = some_range(size, &first);
	enum memlease_reason reason;

	want_unsure(vm, MEMLEASE_REGION_WINDOW, first, count);
	SIM_MUST(lend_return(vm, first, count, &done, &reason) == 0 && done == count, "return");
	want_zeros(vm, MEMLEASE_REGION_WINDOW, first, count);
}

static void step_report(struct lend_vm *vm)
{
	enum memlease_region region = sim_chance(30) ? MEMLEASE_REGION_BOOT :
						       MEMLEASE_REGION_WINDOW;
	uint64_t size = lend_region_blocks(vm, region), first, done = ~0ULL;
	uint64_t count = some_range(size, &first);
	enum memlease_reason reason;
	struct sim_region *r = sim_region_of(vm, region);

	if (!lend_committed(vm, region, first, count))
		return;
	want_unsure(vm, region, first, count);
	SIM_MUST(lend_report(vm, region, first, count, &done, &reason) == 0 && done == count,
		 "report");
	/* Serving waiters may have filled some of them again, with zeros. */
	for (uint64_t i = first; i < first + count; i++) {
		SIM_MUST(!r->behind[i] || !r->content[i], "reported, and not zeros");
		r->want[i] = 0;
		r->unsure[i] = false;
	}
}

/* The vCPU goes on: it reads what is there, and writes. */
static void guest_writes(struct sim_region *r, uint64_t slot)
{
	SIM_MUST(r->behind[slot], "%s slot %llu was served and nothing is there", r->name,
		 (unsigned long long)slot);
	SIM_MUST(r->content[slot] == r->want[slot] || (r->unsure[slot] && !r->content[slot]),
		 "%s slot %llu holds %llu, the guest expects %llu", r->name,
		 (unsigned long long)slot, (unsigned long long)r->content[slot],
		 (unsigned long long)r->want[slot]);
	r->content[slot] = ++world->stamp;
	r->want[slot] = world->stamp;
	r->unsure[slot] = false;
}

static void step_touch(struct lend_vm *vm)
{
	enum memlease_region region = sim_chance(25) || lend_resetting(vm) ?
				      MEMLEASE_REGION_BOOT : MEMLEASE_REGION_WINDOW;
	uint64_t size = lend_region_blocks(vm, region), slot = sim_random(size);
	struct sim_region *r = sim_region_of(vm, region);
	uint64_t resident = vm_resident(vm), guarantee = vm->rec->spec.guarantee_blocks;
	uint64_t more = 1 + sim_random(12);

	for (; more && slot < size; more--, slot++) {
		int ret;

		if (!lend_committed(vm, region, slot, 1))
			continue;
		resident = vm_resident(vm);
		ret = lend_touch(vm, region, slot);
		if (ret == 0)
			guest_writes(r, slot);
		else
			world->waited++;
		SIM_MUST(ret == 0 || resident >= guarantee || sim_any_foreign(),
			 "a touch below the guarantee waits");
	}
}

static void step_vacant_touch(struct lend_vm *vm)
{
	uint64_t slot = sim_random(lend_region_blocks(vm, MEMLEASE_REGION_WINDOW));
	int qemu = qemu_of(vm);

	if (qemu < 0 || lend_committed(vm, MEMLEASE_REGION_WINDOW, slot, 1) || !sim_chance(5))
		return;
	SIM_MUST(lend_touch(vm, MEMLEASE_REGION_WINDOW, slot) == -EACCES, "vacant touch served");
	step_end(vm);
}

/* QEMU sends a reset; and again to a new daemon, while it has not seen that it is through. */
static void step_reset(struct lend_vm *vm)
{
	want_unsure(vm, MEMLEASE_REGION_WINDOW, 0, lend_region_blocks(vm, MEMLEASE_REGION_WINDOW));
	sim_region_of(vm, MEMLEASE_REGION_WINDOW)->emptying = true;
	lend_reset(vm);
}

/* After each step: whose reset is through? And nobody misses what a VM had that ended between two lives. */
static void see_jobs(void)
{
	struct lend_vm *vm = NULL;

	for (vm = lender->jobs; vm; vm = vm->job_next) {
		for (int r = 0; vm->state == VM_ENDING && r < MEMLEASE_REGION_COUNT; r++)
			want_unsure(vm, (enum memlease_region)r, 0, vm->region[r].slots.count);
	}

	while ((vm = lend_vm_next(lender, vm))) {
		struct sim_region *r = sim_region_of(vm, MEMLEASE_REGION_WINDOW);

		if (!r->emptying || lend_resetting(vm))
			continue;
		r->emptying = false;
		SIM_MUST(!vm->region[MEMLEASE_REGION_WINDOW].slots.committed,
			 "VM %s was reset and has a window", lend_vm_name(vm));
		/* What QEMU filled and nobody borrowed may be there still. */
		if (!vm->foreign)
			want_zeros(vm, MEMLEASE_REGION_WINDOW, 0, r->blocks);
	}
}

static void send_resets_again(void)
{
	struct lend_vm *vm = NULL;

	while ((vm = lend_vm_next(lender, vm))) {
		/* What the last daemon had begun, this one goes on with by itself. */
		if (sim_region_of(vm, MEMLEASE_REGION_WINDOW)->emptying && !lend_resetting(vm))
			step_reset(vm);
	}
}

static void step_steer(struct lend_vm *vm)
{
	uint64_t boot = vm->rec->spec.boot_blocks, window = vm->rec->window_blocks;
	uint64_t blocks = boot + sim_random(window + 1);
	char why[256];

	switch (sim_random(4)) {
	case 0:
		lend_set_limit(vm, blocks, why, sizeof(why));
		break;
	case 1:
		lend_set_guarantee(vm, sim_random(blocks + 1), why, sizeof(why));
		break;
	case 2:
		lend_set_target(vm, sim_chance(40) ? MEMLEASE_NO_TARGET : blocks, 1000, why,
				sizeof(why));
		break;
	default:
		lend_report_now(vm);
	}
}

/* QEMU fills or empties a slot of its file behind the daemon's back; the audit finds it at once. */
static void step_foreign(struct lend_vm *vm)
{
	struct sim_region *r = sim_region_of(vm, MEMLEASE_REGION_WINDOW);
	uint64_t slot = sim_random(r->blocks);

	/* What it does between two ticks is seen a second late; here the tick comes first. */
	lender_tick(lender);
	if (lend_resetting(vm))
		return;
	if (r->behind[slot]) {
		r->behind[slot] = 0;
		r->content[slot] = 0;
		r->want[slot] = 0;
	} else if (sim_present() < SIM_POOL_BLOCKS) {
		r->behind[slot] = SIM_FOREIGN;
		r->unseen[slot] = true;
		r->content[slot] = ++world->stamp;
		r->want[slot] = world->stamp;
	}
	r->unsure[slot] = false;
	lender_tick(lender);
	sim_all_seen();
}

static void step_time(void)
{
	static const uint64_t most_ns[] = { 1000, 1000000, S_NS, 60 * S_NS, 3000 * S_NS };

	sim_pass(1 + sim_random(most_ns[sim_random(5)]));
	if (sim_chance(2))
		sim_jump_wall((int64_t)sim_random(4000000) - 2000000);
	if (sim_chance(60))
		lender_tick(lender);
}

/* No file can grow past a byte; what is mapped already can be written. */
static void set_disk(bool full)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void one_step(void)
{
	struct lend_vm *vm = some_vm();
	uint64_t what = sim_random(1000);

	if (sim_chance(2))
		world->disk_full = !world->disk_full;
	set_disk(world->disk_full && what >= 25 && vm);
	/* The event loop between two things that happen. */
	if (lender_has_work(lender) && sim_chance(50))
		lender_work(lender);
	else if (what < 25 || !vm)
		step_create();
	else if (what < 32)
		step_end(vm);
	else if (what < 50)
		step_attach(vm);
	else if (what < 380 && lend_resetting(vm))
		return;		/* vhost/ looks at no queue */
	else if (what < 200)
		step_borrow(vm);
	else if (what < 260)
		step_return(vm);
	else if (what < 380)
		step_report(vm);
	else if (what < 700)
		step_touch(vm);
	else if (what < 710)
		step_vacant_touch(vm);
	else if (what < 720 && !lend_resetting(vm))
		step_reset(vm);
	else if (what < 760)
		step_steer(vm);
	else if (what < 768)
		step_foreign(vm);
	else
		step_time();
}

/* --- checks --- */

/* The table, the backend and what guests expect agree. */
static void check_world(void)
{
	struct pool_status st;

	lender_validate(lender);
	lender_status(lender, &st);
	SIM_MUST(st.fs_resident_blocks == sim_present(), "blocks in regions of no VM");
	SIM_MUST(st.free_blocks + st.lent_blocks == SIM_POOL_BLOCKS, "blocks are missing");
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; r->name[0] && s < r->blocks; s++) {
			if (r->want[s] && !r->unsure[s])
				SIM_MUST(r->behind[s] && r->content[s] == r->want[s],
					 "%s slot %llu has lost its contents", r->name,
					 (unsigned long long)s);
		}
	}
}

static void check_count(const struct lend_vm *vm)
{
	SIM_MUST(vm_resident(vm) == sim_resident(vm->rec->uuid),
		 "VM %s: %llu blocks by count, %llu in memory", lend_vm_name(vm),
		 (unsigned long long)vm_resident(vm),
		 (unsigned long long)sim_resident(vm->rec->uuid));
}

/* Every VM's resident count is what is there. */
static void check_counts(void)
{
	struct lend_vm *vm = NULL;

	while ((vm = lend_vm_next(lender, vm)))
		check_count(vm);
	for (vm = lender->jobs; vm; vm = vm->job_next)
		check_count(vm);
}

/* At every step each meter stands where the observer stands. */
static void check_meter(const struct lend_vm *vm)
{
	const struct meter_state *m = meter_now(&vm->rec->meter);
	ml_u128 resident = m->total.resident_ns +
			   (ml_u128)m->counts.resident * (world->boot_ns - m->at_ns);
	const struct sim_seen *of = sim_seen_of(vm->rec->uuid);
	ml_u128 seen = of->resident_ns;

	/* Where it cannot be known since when a block was there, it is billed later, never earlier. */
	SIM_MUST(resident >= seen && resident <= seen + of->unseen_ns, "VM %s: metered %llu resident ns, seen %llu", lend_vm_name(vm),
		 (unsigned long long)resident, (unsigned long long)seen);
}

static void check_meters(void)
{
	struct lend_vm *vm = NULL;

	while ((vm = lend_vm_next(lender, vm)))
		check_meter(vm);
	for (vm = lender->jobs; vm; vm = vm->job_next)
		check_meter(vm);
	for (vm = lender->ended; vm; vm = vm->next)
		check_meter(vm);
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
	SIM_MUST(resident >= seen->resident_ns &&
		 resident <= seen->resident_ns + seen->unseen_ns && committed == seen->committed_ns &&
		 guarantee == seen->guarantee_ns,
		 "VM %s: billed %llu resident, %llu committed, %llu guarantee ns; seen %llu, %llu, %llu",
		 seen->uuid, (unsigned long long)resident, (unsigned long long)committed,
		 (unsigned long long)guarantee, (unsigned long long)seen->resident_ns,
		 (unsigned long long)seen->committed_ns, (unsigned long long)seen->guarantee_ns);
}

static void check_ledger(void)
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

/* After the storm: all end, all is billed, nothing is left. */
static void finish(void)
{
	struct pool_status st;
	struct lend_vm *vm;

	world->final = true;
	set_disk(false);
	while ((vm = lend_vm_next(lender, NULL))) {
		free_qemu(qemu_of(vm));
		lend_vm_end(vm, "the run is over");
	}
	while (lender_has_work(lender))
		lender_work(lender);
	lender_tick(lender);
	lender_tick(lender);
	check_world();
	lender_status(lender, &st);
	SIM_MUST(st.free_blocks == SIM_POOL_BLOCKS && !sim_present(), "blocks are still lent");
	SIM_MUST(!lender->ended, "an ended VM is still remembered");
	lender_close(lender);
	check_ledger();
}

void sim_life(void)
{
	const struct lend_hooks hooks = { on_served, on_config, on_guest_event, on_event, NULL };
	const struct lender_config config = {
		.state_dir = world->state, .ledger_path = world->ledger,
		.pool_blocks = SIM_POOL_BLOCKS, .period_s = SIM_PERIOD_S, .clock = &sim_clock,
		.overbook_percent = world->seed % 3 ? 150 : 0,
	};
	int ret;

	ml_step_hook = die_here;
	lend_slice_blocks = world->seed % 4 ? 1 + (uint32_t)world->seed % 9 : LEND_SLICE_BLOCKS;
	signal(SIGXFSZ, SIG_IGN);
	ret = lender_open_on(&lender, &config, &hooks, sim_backend(), LENDER_LEDGER_INLINE);
	SIM_MUST(ret == 0, "the lender does not open: %s", strerror(-ret));
	world->alive_ns = world->boot_ns;
	sim_all_seen();
	send_resets_again();
	see_jobs();
	check_world();
	check_counts();
	check_meters();
	while (world->step < world->steps) {
		world->step++;
		one_step();
		world->alive_ns = world->boot_ns;
		see_jobs();
		check_world();
		check_counts();
		check_meters();
	}
	finish();
}
