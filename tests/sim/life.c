// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One life of the daemon: open the lender, then random steps of guests, operators,
 * QEMUs and clocks, each followed by the check of every invariant. The hook at
 * each persistent write ends the life when its time has come.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../host/base/step.h"
#include "world.h"

#define SIM_CRASHED 2
#define S_NS 1000000000ULL

struct lender *lender;

static void die_here(const char *where)
{
	if (world->final || !world->crash_in || --world->crash_in)
		return;
	snprintf(world->crashed_at, sizeof(world->crashed_at), "%s", where);
	_exit(SIM_CRASHED);
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

/* It is about to give them up, or has the answer. In between it does not touch them. */
static void give(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
		 bool given)
{
	struct sim_region *r = sim_region_of(vm, region);

	if (given)
		want_unsure(vm, region, first, count);
	for (uint64_t i = first; i < first + count; i++)
		r->given[i] = given;
}

static void want_zeros(struct lend_vm *vm, enum memlease_region region, uint64_t first,
		       uint64_t count)
{
	struct sim_region *r = sim_region_of(vm, region);

	for (uint64_t i = first; i < first + count; i++) {
		SIM_MUST(!sim_behind(r, i), "%s slot %llu was given up and is still there", r->name,
			 (unsigned long long)i);
		r->want[i] = 0;
		r->unsure[i] = false;
	}
}

/* --- steps --- */

static int regions_left(void)
{
	int n = 0;

	sim_follow_windows();
	for (int i = 0; i < SIM_REGIONS_MAX; i++)
		n += world->regions[i].name[0] == '\0';
	return n;
}

static void step_create(void)
{
	struct vm_spec spec = { .weight = 100 };
	struct lend_vm *vm;
	struct ml_why why = { "" };

	if (lender->vms >= SIM_VMS_MAX || regions_left() < 2 || world->seen_count + 8 > SIM_SEEN_MAX)
		return;
	snprintf(spec.name, sizeof(spec.name), "vm%llu", (unsigned long long)world->next_name++);
	snprintf(spec.tenant, sizeof(spec.tenant), "t%llu", (unsigned long long)sim_random(3));
	snprintf(spec.plan, sizeof(spec.plan), "p");
	spec.boot_blocks = 1 + sim_random(6);
	spec.limit_blocks = spec.boot_blocks + 1 + sim_random(50);
	spec.guarantee_blocks = sim_chance(50) ? sim_random(spec.limit_blocks / 2 + 1) : 0;
	if (lend_vm_create(lender, &spec, &vm, &why) == 0)
		lend_vm_set_user(vm, world);
	sim_follow_windows();
}

static void step_end(struct lend_vm *vm)
{
	int qemu = qemu_of(vm);

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		want_unsure(vm, (enum memlease_region)r, 0, lend_region_blocks(vm, r));
		sim_region_of(vm, r)->live = false;
		sim_close(sim_region_of(vm, r));
	}
	free_qemu(qemu);
	lend_vm_end(vm, "simulated");
}

static void step_attach(struct lend_vm *vm)
{
	int i = (int)sim_random(SIM_QEMUS);

	if (lend_vm_pidfd(vm) >= 0) {
		/* The lender has stopped it, for what it filled at the cost of others. */
		if (sim_has_ended(vm, 0)) {
			step_end(vm);
			return;
		}
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

	give(vm, MEMLEASE_REGION_WINDOW, first, count, true);
	SIM_MUST(lend_return(vm, first, count, &done, &reason) == 0 && done == count, "return");
	give(vm, MEMLEASE_REGION_WINDOW, first, count, false);
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
	give(vm, region, first, count, true);
	SIM_MUST(lend_report(vm, region, first, count, &done, &reason) == 0 && done == count,
		 "report");
	give(vm, region, first, count, false);
	/* Serving waiters may have filled some of them again, with zeros. */
	for (uint64_t i = first; i < first + count; i++) {
		SIM_MUST(!sim_behind(r, i) || !*sim_content(r, i), "reported, and not zeros");
		r->want[i] = 0;
		r->unsure[i] = false;
	}
}

/* A touch below the guarantee may wait: for zeroing, or for what is not the pool's. */
static bool excused(int ret)
{
	const struct table *t = &lender->pool.table;

	if (!world->served)
		return sim_any_foreign();
	return ret == -EIO ||
	       (!table_count(t, BLOCK_CLEAN) && fake_supply_empty(&world->module)) ||
	       table_count(t, BLOCK_RETIRED) > lender->source_blocks;
}

static void step_touch(struct lend_vm *vm)
{
	enum memlease_region region = sim_chance(25) || lend_resetting(vm) ?
				      MEMLEASE_REGION_BOOT : MEMLEASE_REGION_WINDOW;
	uint64_t size = lend_region_blocks(vm, region), slot = sim_random(size);
	struct sim_region *r = sim_region_of(vm, region);
	uint64_t resident = account_resident(vm), guarantee = vm->rec->spec.guarantee_blocks;
	uint64_t more = 1 + sim_random(12);
	bool waited;

	sim_open(r);
	for (; more && slot < size; more--, slot++) {
		int ret;

		if (!lend_committed(vm, region, slot, 1))
			continue;
		resident = account_resident(vm);
		/* Who waits already is served when the event loop comes to it. */
		loan_read_all(lender);
		waited = world->served && waiting_has(vm, region, slot);
		ret = lend_touch(vm, region, slot);
		if (ret == 0)
			sim_guest_writes(r, slot);
		else
			world->waited++;
		/* Touches that the lender has heard of only now count, too. */
		if (account_resident(vm) > resident)
			resident = account_resident(vm);
		SIM_MUST(ret == 0 || resident >= guarantee || waited || excused(ret),
			 "a touch below the guarantee waits: %d, %llu of %llu resident, %u clean, supply of %u",
			 ret, (unsigned long long)resident, (unsigned long long)guarantee,
			 table_count(&lender->pool.table, BLOCK_CLEAN),
			 world->module.rings.supply_head - world->module.supply_tail);
	}
}

/* The module refuses; the daemon learns of it, and ends the VM, saying why. */
static void vacant_write(struct lend_vm *vm, uint64_t slot)
{
	struct fake_window *w = fake_named(&world->module,
					   lend_region_path(vm, MEMLEASE_REGION_WINDOW));
	char want[40];
	uint32_t block;

	world->module.now_ns = world->boot_ns;
	SIM_MUST(fake_touch(&world->module, w, (uint32_t)slot, true, (uint32_t)vm->rec->pid,
			    &block) == FAKE_FAILS, "a vacant slot can be written to");
	snprintf(want, sizeof(want), "slot %llu of the window", (unsigned long long)slot);
	lender_events(lender);
	world->overflow_seen = world->module.rings.overflow;
	SIM_MUST(strstr(vm->rec->broken_text, want) || vm->rec->broken != MEMLEASE_BROKEN_TOUCH,
		 "VM %s wrote to slot %llu, its reason is: %s", lend_vm_name(vm),
		 (unsigned long long)slot, vm->rec->broken_text);
}

static void step_vacant_touch(struct lend_vm *vm)
{
	uint64_t slot = sim_random(lend_region_blocks(vm, MEMLEASE_REGION_WINDOW));
	int qemu = qemu_of(vm);

	if (qemu < 0 || lend_committed(vm, MEMLEASE_REGION_WINDOW, slot, 1) || !sim_chance(5))
		return;
	if (world->served) {
		vacant_write(vm, slot);
		step_end(vm);
		return;
	}
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
		if (!account_foreign(vm))
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
	struct ml_why why = { "" };

	switch (sim_random(4)) {
	case 0:
		lend_set_limit(vm, blocks, &why);
		break;
	case 1:
		lend_set_guarantee(vm, sim_random(blocks + 1), &why);
		break;
	case 2:
		lend_set_target(vm, sim_chance(40) ? MEMLEASE_NO_TARGET : blocks, 1000, &why);
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

	if (world->served)
		return;
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
	if (sim_chance(60)) {
		lender_tick(lender);
		if (!(lender->due & DUE_RESYNC))
			world->overflow_seen = world->module.rings.overflow;
		check_told();
	}
}

/* No file can grow past a byte; what is mapped already can be written. */
static void set_disk(bool full)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* What the zeroing threads do, a few blocks at a time. */
static void step_zero(void)
{
	struct pool_user *u = pool_self(&lender->pool);
	uint32_t blocks[16], n = pool_take_dirty(u, blocks, 1 + (uint32_t)sim_random(16));

	for (uint32_t i = 0; i < n; i++) {
		if (sim_chance(5)) {
			pool_undo_dirty(u, blocks[i]);
			continue;
		}
		SIM_MUST(!world->module.owner[blocks[i]] ||
			 world->module.owner[blocks[i]] == FAKE_RETIRED,
			 "block %u is zeroed behind a slot", blocks[i]);
		world->module.content[blocks[i]] = 0;
		pool_clean(u, blocks[i]);
	}
}

/* The hardware finds a block bad. What it held is lost; the guest knows that it is. */
static void step_error(void)
{
	uint32_t block = (uint32_t)sim_random(world->module.blocks);
	uint64_t owner = world->module.owner[block];
	struct fake_window *w = owner && owner < FAKE_MODULE ?
				fake_find(&world->module, (uint32_t)(owner >> 32)) : NULL;
	struct sim_region *r = w ? sim_region_find(w->name) : NULL;

	if (table_count(&lender->pool.table, BLOCK_RETIRED) > SIM_RETIRED_MAX)
		return;
	world->module.now_ns = world->boot_ns;
	if (fake_retire(&world->module, block) == 0 && r) {
		r->want[(uint32_t)owner] = 0;
		r->unsure[(uint32_t)owner] = true;
	}
}

static void step_move(void)
{
	uint32_t block = (uint32_t)sim_random(world->module.blocks);
	struct block_word w;

	loan_read_all(lender);
	w = table_word(&lender->pool.table, block);
	if (w.state == BLOCK_LENT)
		loan_move(lender, block, (uint32_t)sim_random(lender->pool.area_count));
}

/* Somebody who is no QEMU that the daemon knows had it open, and closes it. */
static void step_close(struct lend_vm *vm)
{
	if (vm && lend_vm_pidfd(vm) < 0)
		sim_close(sim_region_of(vm, sim_chance(30) ? MEMLEASE_REGION_BOOT :
							   MEMLEASE_REGION_WINDOW));
}

static void step_events(void)
{
	world->module.now_ns = world->boot_ns;
	fake_waiters_look(&world->module);
	lender_events(lender);
	check_waits();
	for (int i = 0; lender->due & DUE_SERVE && i < 4; i++)
		lender_work(lender);
	check_guarantees();
	if (!(lender->due & DUE_RESYNC))
		world->overflow_seen = world->module.rings.overflow;
}

/* What only a source that serves touches has; true: that was the step. */
static bool step_served(struct lend_vm *vm)
{
	uint64_t what = sim_random(100);

	if (!world->served || what >= 60)
		return false;
	if (what < 20)
		sim_task_touches();
	else if (what < 35)
		step_events();
	else if (what < 52)
		step_zero();
	else if (what < 58)
		step_move();
	else if (sim_chance(3))
		step_error();
	else if (sim_chance(40))
		step_close(vm);
	else
		world->module.touches_max = sim_chance(20) ? 3 : 0;
	return true;
}

static void one_step(void)
{
	struct lend_vm *vm = some_vm();
	uint64_t what = sim_random(1000);

	if (step_served(vm))
		return;

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

/* After the storm: all end, all is billed, nothing is left. */
static void finish(void)
{
	struct pool_status st;
	struct lend_vm *vm;

	world->final = true;
	set_disk(false);
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		if (world->served && world->regions[i].name[0])
			sim_close(&world->regions[i]);
	}
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
	SIM_MUST(st.free_blocks + st.retired_blocks == SIM_POOL_BLOCKS && !sim_present(),
		 "blocks are still lent");
	SIM_MUST(!lender->ended, "an ended VM is still remembered");
	lender_close(lender);
	check_ledger();
}

void sim_life(void)
{
	const struct lender_config config = {
		.state_dir = world->state, .ledger_path = world->ledger,
		.pool_blocks = SIM_POOL_BLOCKS, .period_s = SIM_PERIOD_S, .clock = &sim_clock,
		.overbook_percent = world->seed % 3 ? 150 : 0,
		.slice_blocks = world->seed % 4 ? 1 + (uint32_t)world->seed % 9 : 0,
	};
	int ret;

	ml_step_hook = die_here;
	signal(SIGXFSZ, SIG_IGN);
	ret = lender_open_on(&lender, &config, &sim_hooks, sim_backend(),
			     LENDER_LEDGER_INLINE | LENDER_NO_ZEROING);
	SIM_MUST(ret == 0, "the lender does not open: %s", strerror(-ret));
	world->alive_ns = world->boot_ns;
	sim_all_seen();
	world->overflow_seen = world->module.rings.overflow;
	sim_follow_windows();
	for (struct lend_vm *vm = NULL; (vm = lend_vm_next(lender, vm));) {
		lend_vm_set_user(vm, world);
		if (vm->rec->broken == MEMLEASE_BROKEN_TOUCH)
			sim_has_ended(vm, -1);	/* killed while the lender came up */
	}
	for (int i = 0; i < SIM_REGIONS_MAX; i++)
		memset(world->regions[i].told, 0, sizeof(world->regions[i].told));
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
