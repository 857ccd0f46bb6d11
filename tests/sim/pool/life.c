// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One life of the daemon in the pool's simulation: settle what the last one left, then
 * lend, take back, zero, supply the module, move blocks and lose some to memory errors, in
 * random order, with a check of everything after each. The hook at each write that survives
 * kills the process when its time has come.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "../../../host/base/step.h"
#include "sim.h"

/* Edges, a GiB, a slow tier: areas of 60, 212 + 512 + 216 and 300 blocks. */
static const struct pool_range ranges[] = {
	{ .first = 0, .blocks = 60, .base = 0x3f80ULL << 21, .node = 0 },
	{ .first = 60, .blocks = 940, .base = (0x80000ULL + 300) << 21, .node = 1 },
	{ .first = 1000, .blocks = 300, .base = 0x400000ULL << 21, .node = 0, .tier = 1 },
};

static struct pool pool;
static struct pool_user *self, *other;
static bool threads;	/* one of them zeroes */

static void die_here(const char *where)
{
	world->writes++;
	if (!world->crash_in || --world->crash_in)
		return;
	snprintf(world->crashed_at, sizeof(world->crashed_at), "%s", where);
	kill(getpid(), SIGKILL);
	pause();
}

void sim_open(struct pool *p)
{
	const struct pool_setup setup = {
		.dirfd = world->dirfd, .blocks = SIM_BLOCKS, .zeroed_on_map = world->zeroed_on_map,
		.boot_id = "sim", .ranges = ranges, .range_count = 3,
	};
	bool old_boot;
	uint32_t need;
	int ret = pool_open(p, &setup, &old_boot, &need);

	SIM_MUST(ret == 0 && !old_boot, "the pool does not open: %d", ret);
	module_forget_touches();
	SIM_MUST(pool_settle(p, module_truth, NULL) == 0, "what a crash left is damaged");
}

static struct pool_user *some_user(void)
{
	return sim_random(2) ? self : other;
}

static struct block_owner some_slot(void)
{
	uint16_t vm = (uint16_t)sim_random(SIM_VMS);

	return (struct block_owner){ .vm = vm, .region = 1, .fixed = vm == 0,
				     .slot = (uint32_t)sim_random(SIM_SLOTS) };
}

static void step_lend(void)
{
	struct block_owner o = some_slot();
	struct pool_user *u = some_user();
	uint32_t block;

	if (world->slots[o.vm][o.slot].behind)
		return;
	block = pool_get(u, o);
	if (block == POOL_NO_BLOCK)
		return;
	world->lent++;
	if (!module_map(o.vm, o.slot, block))
		pool_put(u, block);
}

/* A run, some of whose slots may be taken: those blocks go back. */
static void step_lend_run(void)
{
	unsigned int order = 1 + (unsigned int)sim_random(5);
	struct block_owner o = some_slot();
	struct pool_user *u = some_user();
	uint32_t block;

	o.slot &= ~((1U << order) - 1);
	if (o.slot + (1U << order) > SIM_SLOTS)
		return;
	block = pool_get_run(u, o, order);
	for (uint32_t i = 0; block != POOL_NO_BLOCK && i < 1U << order; i++) {
		if (!module_map(o.vm, o.slot + i, block + i))
			pool_put(u, block + i);
		world->lent++;
	}
}

static void hear_touches(void)
{
	struct sim_touch t;

	while (module_touch_next(&t)) {
		const struct block_owner o = { .vm = t.vm, .region = 1, .fixed = t.vm == 0,
					       .slot = t.slot };

		pool_taken(self, t.block, o);
		module_touch_done();
		world->lent++;
	}
}

static void step_take_back(void)
{
	struct block_owner o = some_slot();
	uint32_t n = 1 + (uint32_t)sim_random(12), blocks[12], k = 0;

	hear_touches();
	for (uint32_t i = o.slot; i < o.slot + n && i < SIM_SLOTS; i++) {
		uint32_t behind = world->slots[o.vm][i].behind;

		if (world->sabotage == SIM_EARLY && behind)
			pool_put(self, behind - 1);	/* while the guest still has it */
		blocks[k] = module_unmap(o.vm, i);
		k += blocks[k] != POOL_NO_BLOCK && world->sabotage != SIM_EARLY;
	}
	while (k)
		pool_put(some_user(), blocks[--k]);
}

static void step_supply(void)
{
	uint32_t room = module_supply_room(), blocks[SIM_RING], n;

	if (!room)
		return;
	n = pool_offer(self, blocks, 1 + (uint32_t)sim_random(room));
	for (uint32_t i = 0; i < n; i++) {
		if (sim_random(10) == 0)
			pool_unoffer(self, blocks[i]);
		else
			module_supply(blocks[i]);
	}
}

static void zero_some(struct pool_user *u, uint64_t most, bool undo)
{
	uint32_t blocks[16], n = pool_take_dirty(u, blocks, 1 + (uint32_t)most % 16);

	for (uint32_t i = 0; i < n; i++) {
		world->content[blocks[i]] = SIM_HALF;
		ml_step("zeroing");
		if (undo && i == n - 1) {
			pool_undo_dirty(u, blocks[i]);
			continue;
		}
		if (world->sabotage != SIM_LAZY || i)
			world->content[blocks[i]] = 0;
		pool_clean(u, blocks[i]);
		world->zeroed++;
	}
}

/* Sometimes a whole area at a time, closed meanwhile, as compaction does it. */
static void step_move(void)
{
	uint32_t area = (uint32_t)sim_random(pool.area_count), blocks[8], n;
	uint32_t into = sim_random(2) ? POOL_NO_AREA : (uint32_t)sim_random(pool.area_count);
	bool closed;

	hear_touches();
	pool_rest(self);
	closed = sim_random(2) && pool_area_close(&pool, area) == 0;
	n = pool_area_lent(&pool, area, blocks, 1 + (uint32_t)sim_random(8));
	for (uint32_t i = 0; i < n; i++) {
		struct block_owner o = table_word(&pool.table, blocks[i]).owner;
		uint32_t to = pool_move_begin(self, blocks[i], into);

		if (to == POOL_NO_BLOCK)
			break;
		if (sim_random(5) && module_move(o.vm, o.slot, blocks[i], to)) {
			pool_move_end(self, blocks[i], to);
			world->moved++;
		} else {
			pool_move_undo(self, to);
		}
	}
	if (closed)
		pool_area_open(&pool, area);
}

/* The machine says that a block is bad: its slot is emptied, and it is never lent again. */
static void step_error(void)
{
	uint32_t block = (uint32_t)sim_random(SIM_BLOCKS);
	struct block_word w;

	if (world->retired >= SIM_BLOCKS / 20 || world->poisoned[block])
		return;
	hear_touches();
	world->poisoned[block] = true;
	w = pool_retire(self, block);
	world->retired++;
	/* What churns() has is behind no slot. */
	if (w.state == BLOCK_LENT && w.owner.vm < SIM_VMS)
		pool_put(self, module_unmap(w.owner.vm, w.owner.slot));
}

/* What the last daemon had retired, and not told anybody of. */
static void finish_errors(void)
{
	for (uint16_t vm = 0; vm < SIM_VMS; vm++) {
		for (uint32_t s = 0; s < SIM_SLOTS; s++) {
			uint32_t behind = world->slots[vm][s].behind;

			if (behind && world->poisoned[behind - 1])
				pool_put(self, module_unmap(vm, s));
		}
	}
	for (uint32_t b = 0; b < SIM_BLOCKS; b++) {
		if (world->poisoned[b])
			pool_retire(self, b);
	}
}

static void one_step(void)
{
	uint64_t what = sim_random(1000);

	if (what < 300)
		module_guest_step();
	else if (what < 420)
		step_lend();
	else if (what < 430)
		step_lend_run();
	else if (what < 540)
		step_take_back();
	else if (what < 640)
		step_supply();
	else if (what < 670)
		hear_touches();
	else if (what < 860 && !threads)
		zero_some(some_user(), sim_random(16), sim_random(4) == 0);
	else if (what < 995)
		step_move();
	else if (what < 996)
		step_error();
	else
		pool_rest(some_user());
}

void sim_life(uint64_t steps)
{
	ml_step_hook = die_here;
	sim_open(&pool);
	self = pool_self(&pool);
	other = pool_join(&pool, 1);
	finish_errors();
	check_table(&pool.table, true);
	pool_validate(&pool);
	for (uint64_t i = 0; i < steps; i++) {
		one_step();
		if (sim_random(4) == 0) {
			check_table(&pool.table, true);
			pool_validate(&pool);
		}
	}
	pool_close(&pool);
}

/* --- several threads, killed by the parent at any instruction --- */

static void *zeroes(void *arg)
{
	struct pool_user *u = arg;

	for (uint64_t i = 0;; i++)
		zero_some(u, i, i % 5 == 0);
	return NULL;
}

/* Gets blocks for nobody, and puts them back. */
static void *churns(void *arg)
{
	const struct block_owner none = { .vm = SIM_VMS, .fixed = true, .slot = 1 };
	struct pool_user *u = arg;
	uint32_t blocks[40];

	for (;;) {
		uint32_t n = 0;

		while (n < 40 && (blocks[n] = pool_get(u, none)) != POOL_NO_BLOCK)
			n++;
		while (n)
			pool_put(u, blocks[--n]);
	}
	return NULL;
}

void sim_life_threads(void)
{
	pthread_t thread;

	sim_open(&pool);
	self = pool_self(&pool);
	other = self;
	threads = true;
	finish_errors();
	if (!world->zeroed_on_map)
		SIM_MUST(pthread_create(&thread, NULL, zeroes, pool_join(&pool, 0)) == 0, "thread");
	SIM_MUST(pthread_create(&thread, NULL, churns, pool_join(&pool, 1)) == 0, "thread");
	for (;;) {
		one_step();
	}
}
