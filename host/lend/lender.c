// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lender as a whole: opened once by daemon/, ticked each second, closed; and
 * the check of all its invariants.
 */
#include "lender.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/log.h"

#define LOCK_NAME "lock"
#define DAY_S 86400
#define NS_PER_MS 1000000
#define OVERBOOK_PERCENT_MAX 100000
#define EVENTS_PER_TURN 2048	/* a few milliseconds */

static int check_config(const struct lender_config *c)
{
	if (!c->pool_blocks || c->pool_blocks > TABLE_BLOCKS_MAX) {
		ml_err("a pool of %" PRIu64 " blocks: from 1 to %u are possible", c->pool_blocks,
		       TABLE_BLOCKS_MAX);
		return -EINVAL;
	}
	if (!c->period_s || c->period_s > DAY_S || DAY_S % c->period_s) {
		ml_err("a metering period of %u s does not divide a day; take 60, 300 or 3600",
		       c->period_s);
		return -EINVAL;
	}
	if (c->overbook_percent > OVERBOOK_PERCENT_MAX) {
		ml_err("overbooking of %u %% is above the most, %d", c->overbook_percent,
		       OVERBOOK_PERCENT_MAX);
		return -EINVAL;
	}
	return 0;
}

/* One daemon per state directory: the lock goes when its holder does, however it ends. */
static int open_state_dir(struct lender *l)
{
	if (mkdir(l->state_dir, 0700) < 0 && errno != EEXIST) {
		ml_err("state directory %s: %m", l->state_dir);
		return -errno;
	}
	l->state_fd = open(l->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->state_fd >= 0)
		l->lock_fd = openat(l->state_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->lock_fd < 0) {
		ml_err("state directory %s: %m", l->state_dir);
		return -errno;
	}
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		ml_err("state directory %s is held by another memleased; stop it, or name another directory",
		       l->state_dir);
		return -EBUSY;
	}
	return 0;
}

static int open_pool(struct lender *l)
{
	struct pool_range ranges[BACKEND_RANGES_MAX];
	const struct pool_setup setup = {
		.dirfd = l->state_fd,
		.blocks = (uint32_t)l->config.pool_blocks,
		.zeroed_on_map = l->backend->zeroes_itself,
		.boot_id = l->boot_id,
		.ranges = l->backend->range_count ? ranges : NULL,
		.range_count = l->backend->range_count,
	};
	bool old_boot = false;
	uint32_t need = 0;
	int ret;

	/* Without it, what another boot left in memory would be taken for zeros. */
	if (!l->boot_id[0]) {
		ml_err("/proc/sys/kernel/random/boot_id cannot be read, so nobody can tell which boot the block table is of; mount /proc");
		return -ENOENT;
	}
	for (unsigned int i = 0; i < l->backend->range_count; i++) {
		const struct backend_range *r = &l->backend->ranges[i];

		ranges[i] = (struct pool_range){
			.first = r->first_block, .blocks = r->blocks, .base = r->base,
			.node = (int16_t)r->node, .tier = (uint8_t)r->tier,
		};
	}
	ret = ranges_check(l->state_fd, l->backend);
	if (ret < 0)
		return ret;
	ret = pool_open(&l->pool, &setup, &old_boot, &need);
	if (ret == -EBUSY)
		ml_err("a pool of %u blocks is too small for what is lent: start with at least %u, or end VMs first",
		       setup.blocks, need);
	else if (ret < 0)
		ml_err("block table in %s: %s", l->state_dir,
		       ret == -EUCLEAN ? "not one of this version" : strerror(-ret));
	return ret;
}

static int open_ledger(struct lender *l, unsigned int flags)
{
	char why[320];
	int ret = ledger_open(&l->ledger, l->ledger_path, !(flags & LENDER_LEDGER_INLINE), why,
			      sizeof(why));

	if (ret < 0)
		ml_err("ledger: %s", why);
	return ret;
}

static struct lender *lender_new(const struct lender_config *config,
				 const struct lend_hooks *hooks)
{
	struct lender *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->config = *config;
	l->hooks = *hooks;
	l->state_fd = -1;
	l->lock_fd = -1;
	l->clean.fd = -1;
	l->state_dir = strdup(config->state_dir);
	l->ledger_path = strdup(config->ledger_path);
	l->snapshot = calloc(LEND_VMS_MAX, sizeof(*l->snapshot));
	ml_boot_id(l->boot_id);
	return l;
}

/* Let go of everything in memory; the files stay as they are. */
static void lender_free(struct lender *l)
{
	struct lend_vm *vm, **at = &l->jobs;

	/* Those that only reset are on the list of VMs, too. */
	while ((vm = *at)) {
		if (vm->state == VM_ENDING)
			at = &vm->job_next;
		else
			*at = vm->job_next;
	}
	while ((vm = l->first)) {
		l->first = vm->next;
		vm_free(vm);
	}
	while ((vm = l->ended)) {
		l->ended = vm->next;
		vm_free(vm);
	}
	while ((vm = l->jobs)) {
		l->jobs = vm->job_next;
		vm_free(vm);
	}
	ledger_close(l->ledger);
	compact_end(l);
	clean_stop(l);
	pool_close(&l->pool);
	if (l->backend)
		l->backend->ops->free(l->backend);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	if (l->state_fd >= 0)
		close(l->state_fd);
	free(l->snapshot);
	free(l->state_dir);
	free(l->ledger_path);
	free(l);
}

int lender_open_on(struct lender **out, const struct lender_config *config,
		   const struct lend_hooks *hooks, struct backend *backend, unsigned int flags)
{
	struct lender *l = lender_new(config, hooks);
	int ret = -ENOMEM;

	*out = NULL;
	if (!l) {
		backend->ops->free(backend);
		return ret;
	}
	l->backend = backend;
	if (backend->blocks)
		l->config.pool_blocks = backend->blocks;
	supply_init(l);
	if (l->state_dir && l->ledger_path && l->snapshot)
		ret = check_config(&l->config);
	if (ret == 0)
		ret = open_state_dir(l);
	if (ret == 0)
		ret = open_pool(l);
	if (ret == 0)
		ret = open_ledger(l, flags);
	if (ret == 0)
		ret = recover(l);
	if (ret == 0 && !backend->zeroes_itself && !(flags & LENDER_NO_ZEROING))
		ret = clean_start(l);
	if (ret < 0) {
		lender_free(l);
		return ret;
	}
	lender_tick(l);
	*out = l;
	return 0;
}

int lender_open(struct lender **out, const struct lender_config *config,
		const struct lend_hooks *hooks)
{
	struct backend *backend;
	int ret;

	*out = NULL;
	if (config->backend)
		return lender_open_on(out, config, hooks, config->backend, 0);
	ret = check_config(config);
	if (ret == 0)
		ret = backend_file_open(&backend, config->pool_dir, config->pool_blocks);
	return ret < 0 ? ret : lender_open_on(out, config, hooks, backend, 0);
}

static void post_one(struct lend_vm *vm, uint64_t now_ns, int64_t wall_ms)
{
	meter_tick(&vm->rec->meter, now_ns, wall_ms, vm->lender->config.period_s);
	usage_post(vm);
}

/* Bring every meter to now and post what the ledger lacks. */
static void post_all(struct lender *l, uint64_t now_ns, int64_t wall_ms)
{
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		post_one(vm, now_ns, wall_ms);
	for (struct lend_vm *vm = l->jobs; vm; vm = vm->job_next) {
		if (vm->state == VM_ENDING)
			post_one(vm, now_ns, wall_ms);
	}
	for (struct lend_vm *vm = l->ended; vm; vm = vm->next)
		usage_post(vm);
	ledger_kick(l->ledger);
}

void lender_tick(struct lender *l)
{
	uint64_t now_ns = lend_now(l);
	int64_t wall_ms = ml_wall_ms(l->config.clock);

	l->ticked_ns = now_ns;
	l->boundary_ns = now_ns + (uint64_t)(meter_period_end(wall_ms, l->config.period_s) -
					     wall_ms) * NS_PER_MS;
	usage_collect(l);
	clean_look(l);
	served_read_all(l);
	for (struct lend_vm *vm = l->first; vm; vm = vm->next)
		audit_vm(vm, now_ns);
	for (struct lend_vm *vm = l->jobs; vm; vm = vm->job_next) {
		if (vm->state == VM_ENDING)
			audit_count(vm, now_ns);
	}
	served_act(l);
	if (l->backend->ops->tick)
		l->backend->ops->tick(l->backend);
	supply_tick(l);
	compact_tick(l);
	lender_work(l);
	wait_tell(l);
	wait_ask(l, now_ns);
	post_all(l, now_ns, wall_ms);
	usage_tell(l);
}

int lender_event_fds(const struct lender *l, int fds[2])
{
	int n = 0;

	if (l->backend->event_fd >= 0)
		fds[n++] = l->backend->event_fd;
	if (l->clean.fd >= 0)
		fds[n++] = l->clean.fd;
	return n;
}

void lender_events(struct lender *l)
{
	clean_look(l);
	/* What one turn leaves comes up in the next one: the descriptor stays readable. */
	if (!served_read(l, EVENTS_PER_TURN))
		return;
	served_act(l);
	wait_serve(l);
	wait_tell(l);
	wait_ask(l, lend_now(l));
	supply_fill(l);
}

uint64_t lender_next_tick_boot_ns(const struct lender *l)
{
	uint64_t next_ns = l->ticked_ns + LEND_TICK_NS;

	if (l->resync && l->resynced_ns + LEND_RESYNC_NS < next_ns)
		next_ns = l->resynced_ns + LEND_RESYNC_NS;
	return next_ns < l->boundary_ns ? next_ns : l->boundary_ns;
}

void lender_close(struct lender *l)
{
	if (!l)
		return;
	post_all(l, lend_now(l), ml_wall_ms(l->config.clock));
	ledger_drain(l->ledger);
	usage_collect(l);
	lender_free(l);
}

/* --- invariants --- */

#define MUST(cond, ...) \
	do { \
		if (!(cond)) { \
			ml_err("broken invariant: " __VA_ARGS__); \
			abort(); \
		} \
	} while (0)

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
		MUST(!wait_has(vm, (enum memlease_region)r, i),
		     "VM %s: resident slot %" PRIu64 " waits", vm->rec->spec.name, i);
	}
}

static void validate_vm(const struct lend_vm *vm)
{
	struct meter_counts counts = vm_counts(vm);
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
	for (const struct lend_wait *w = vm->wait_first; w; w = w->next) {
		MUST(slots_state(&vm->region[w->region].slots, w->slot) != SLOT_VACANT,
		     "VM %s: a vacant slot waits", vm->rec->spec.name);
		waiting++;
	}
	MUST(waiting == vm->waiting, "VM %s: waits are miscounted", vm->rec->spec.name);
	MUST(!vm->rec->intent.active, "VM %s: a move was not finished", vm->rec->spec.name);
}

struct sums {
	uint64_t lent, committed, limit, guarantee, unfilled, waiting;
	bool foreign;
};

static void validate_into(const struct lend_vm *vm, struct sums *sum)
{
	validate_vm(vm);
	sum->lent += vm_resident(vm) - vm->foreign + vm->foreign_taken;
	sum->waiting += vm->waiting;
	sum->foreign |= vm->foreign != 0;
	if (vm->state == VM_ENDING)
		return;
	sum->committed += vm_committed(vm);
	sum->limit += vm->rec->spec.limit_blocks;
	sum->guarantee += vm->rec->spec.guarantee_blocks;
	sum->unfilled += policy_unfilled(vm->rec->spec.guarantee_blocks, vm_resident(vm));
}

/* What is offered is neither owed by guarantee nor of the last blocks. */
static void validate_offered(const struct lender *l)
{
	struct policy_pool pool;

	lender_snapshot(l, &pool);
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
	MUST(sum.lent == table_count(&l->pool.table, BLOCK_LENT),
	     "%u blocks are lent, VMs hold %" PRIu64, table_count(&l->pool.table, BLOCK_LENT),
	     sum.lent);
	MUST(sum.committed == l->committed && sum.limit == l->limit &&
	     sum.guarantee == l->guarantee && sum.unfilled == l->unfilled &&
	     sum.waiting == l->waiting, "sums over VMs do not add up");
	/* What QEMU takes past its leases is bounded by the file system only. */
	MUST(sum.foreign || errors ||
	     lend_free(l) >= sum.unfilled + table_count(&l->pool.table, BLOCK_OFFERED),
	     "%" PRIu64 " blocks are free, %u of them offered to all, %" PRIu64
	     " are owed by guarantee",
	     lend_free(l), table_count(&l->pool.table, BLOCK_OFFERED), sum.unfilled);
	if (!errors)
		validate_offered(l);
}
