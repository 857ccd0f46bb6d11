// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Start-up: read the records of the last daemon, finish what it was doing, and
 * account for the time in between.
 *
 * While no daemon runs nothing is lent and nothing is given back. So the source's
 * own count of a VM's blocks, taken before any repair, is billed from the record's
 * last update up to now; but no more than the last daemon had lent or metered.
 * Beyond that are the few blocks of boot memory without which QEMU's main loop could
 * not have gone on, and which it put into its file itself (qemu-patches, the last
 * one), nobody knows when. They are adopted and billed from now on; only as many as
 * the crash cut off moves half-way, a run at most, can be mistaken for those.
 * Then, as of now, half-done moves are finished: what is LENT and not RESIDENT
 * is mapped (again, keeping what is there); a run on its way out is unmapped
 * (again). A crash in here finds the meter at now, and starts over from it.
 *
 * All that is so where nothing becomes resident without the daemon. Where the source
 * serves touches itself, settle.c does the same in another way.
 *
 * Called by lender_open() only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"
#include "process.h"

struct found {
	struct ml_map *maps;
	size_t count;
};

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && strcmp(name + n - s, suffix) == 0;
}

static int add_record(struct lender *l, struct found *f, const char *name)
{
	struct ml_map *grown = realloc(f->maps, (f->count + 1) * sizeof(*grown));
	int ret;

	if (!grown)
		return -ENOMEM;
	f->maps = grown;
	ret = record_open(l->state_fd, name, &f->maps[f->count]);
	if (ret == 0 && record_of(&f->maps[f->count])->id >= LEND_IDS) {
		ml_map_close(&f->maps[f->count]);
		ret = -EUCLEAN;
	}
	if (ret == -ENODATA) {
		/* Its VM went with the power, and nothing of its use is left to bill. */
		ml_warn("%s/%s: lost with the machine's power; deleted", l->state_dir, name);
		return unlinkat(l->state_fd, name, 0) < 0 ? -errno : 0;
	}
	if (ret < 0)
		ml_err("%s/%s: %s; move it away to start without that VM", l->state_dir, name,
		       ret == -EUCLEAN ? "no VM record of this version" : strerror(-ret));
	else
		f->count++;
	return ret;
}

static int by_serial(const void *a, const void *b)
{
	uint64_t x = record_of(a)->serial, y = record_of(b)->serial;

	return x < y ? -1 : x > y;
}

static int find_records(struct lender *l, struct found *f)
{
	int fd = openat(l->state_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (ret == 0 && (e = readdir(dir))) {
		if (has_suffix(e->d_name, ".new"))
			unlinkat(l->state_fd, e->d_name, 0);	/* never got its name */
		else if (has_suffix(e->d_name, RECORD_SUFFIX))
			ret = add_record(l, f, e->d_name);
	}
	closedir(dir);
	if (f->count)
		qsort(f->maps, f->count, sizeof(*f->maps), by_serial);
	return ret;
}

/* Gone already, or with an earlier boot of the machine: nothing is left but its usage. */
static void take_ended(struct lend_vm *vm)
{
	struct meter_counts none = { 0 };
	struct record *rec = vm->rec;

	if (rec->ended_ms < 0) {
		ml_warn("VM %s: ended with the last boot of this machine", rec->spec.name);
		meter_correct(&rec->meter, &none);
		rec->ended_ms = meter_now(&rec->meter)->until_ms;
	}
	vm_remove_regions(vm);
	vm_to_ended(vm);
}

static int take_record(struct lender *l, struct ml_map *map)
{
	struct lend_vm *vm = vm_new(l, map);
	bool gone;
	int ret;

	map->data = NULL;
	if (!vm)
		return -EUCLEAN;
	if (l->by_id[vm->rec->id]) {
		ml_err("VM %s: its number %u is another's too", vm->rec->spec.name, vm->rec->id);
		vm_free(vm);
		return -EUCLEAN;
	}
	if (vm->rec->serial >= l->next_serial)
		l->next_serial = vm->rec->serial + 1;
	gone = vm->rec->ended_ms >= 0 || strcmp(vm->rec->boot_id, l->boot_id) != 0;
	if (gone) {
		take_ended(vm);
		return 0;
	}
	ret = vm_open_regions(vm);
	if (ret < 0) {
		vm_free(vm);
		return ret;
	}
	vm_link(vm);
	return 0;
}

/* Blocks that are LENT to each VM by the table, foreign ones included. */
static uint32_t *count_lent(const struct lender *l)
{
	uint32_t *lent = calloc(LEND_IDS, sizeof(*lent));

	for (uint32_t b = 0; lent && b < l->pool.table.blocks; b++) {
		struct block_word w = table_word(&l->pool.table, b);

		if (w.state == BLOCK_LENT && w.owner.vm < LEND_IDS)
			lent[w.owner.vm]++;
	}
	return lent;
}

/* Bill the time without a daemon, closing periods that ended in it. */
static void bridge_gap(struct lend_vm *vm, uint64_t lent, uint64_t now_ns, int64_t wall_ms)
{
	uint64_t metered = meter_now(&vm->rec->meter)->counts.resident;
	struct meter_counts gap = vm_counts(vm);

	/* The meter knows of foreign blocks for which the pool had none. */
	if (lent < metered)
		lent = metered;
	gap.resident = vm_fs_blocks(vm);
	if (gap.resident > lent)
		gap.resident = lent;
	meter_correct(&vm->rec->meter, &gap);
	meter_tick(&vm->rec->meter, now_ns, wall_ms, vm->lender->config.period_s);
}

static bool lent_to(const struct lender *l, uint32_t block, const struct lend_vm *vm, int region,
		    uint64_t slot)
{
	struct block_word w;

	if (block >= l->pool.table.blocks)
		return false;
	w = table_word(&l->pool.table, block);
	return w.state == BLOCK_LENT && w.owner.vm == vm->rec->id && w.owner.region == region &&
	       w.owner.slot == slot;
}

/* Make an interrupted unmap whole; its blocks that are still LENT become free below. */
static int finish_intent(struct lend_vm *vm)
{
	struct record_intent *in = &vm->rec->intent;
	uint32_t blocks[BACKEND_RUN_MAX], taken;
	struct lend_region *r;
	int ret;

	if (!in->active)
		return 0;
	r = &vm->region[in->region];
	if (in->first >= r->slots.count || in->count > r->slots.count - in->first)
		return -EUCLEAN;
	ml_step("unmap again");
	ret = vm->lender->backend->ops->unmap(&r->at, in->first, in->count, blocks, &taken);
	for (uint64_t i = in->first; ret == 0 && i < in->first + in->count; i++) {
		if (slots_state(&r->slots, i) == SLOT_RESIDENT)
			slots_set(&r->slots, i, (enum slot_state)in->to, 0);
	}
	return ret;
}

/* A resident slot without a block can only come of damage: let it be touched anew. */
static void drop_strays(struct lend_vm *vm)
{
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		struct slots *s = &vm->region[r].slots;

		for (uint64_t i = 0; i < s->count; i++) {
			if (slots_state(s, i) != SLOT_RESIDENT ||
			    lent_to(vm->lender, slots_block(s, i), vm, r, i))
				continue;
			ml_err("VM %s: slot %llu names a block that is not lent to it",
			       vm->rec->spec.name, (unsigned long long)i);
			slots_set(s, i, SLOT_COMMITTED, 0);
		}
	}
}

static bool in_intent(const struct lend_vm *vm, const struct block_owner *w)
{
	const struct record_intent *in = &vm->rec->intent;

	return in->active && in->region == w->region && w->slot >= in->first &&
	       w->slot - in->first < in->count;
}

/*
 * The block stays LENT until the audit has counted, and what a crash in between leaves is
 * billed by that: see bridge_gap().
 */
static bool keep_foreign(struct lend_vm *vm, uint32_t block)
{
	uint32_t *grown = realloc(vm->foreign_blocks, (vm->foreign_taken + 1) * sizeof(*grown));

	if (!grown)
		return false;
	vm->foreign_blocks = grown;
	grown[vm->foreign_taken++] = block;
	return true;
}

/* One LENT block: whose is it, and is that done? */
static int settle_block(struct lender *l, uint32_t block, const struct block_owner *w)
{
	struct lend_vm *vm = w->vm < LEND_IDS ? l->by_id[w->vm] : NULL;
	struct lend_region *r = vm && vm->open ? &vm->region[w->region] : NULL;
	enum slot_state state;

	if (r && w->slot == TABLE_SLOT_FOREIGN && keep_foreign(vm, block))
		return 0;
	if (!r || w->slot >= r->slots.count) {
		pool_put(pool_self(&l->pool), block);	/* nobody's */
		return 0;
	}
	state = slots_state(&r->slots, w->slot);
	if (state == SLOT_RESIDENT && slots_block(&r->slots, w->slot) == block)
		return 0;
	if (state == SLOT_COMMITTED && !in_intent(vm, w)) {
		ml_step("map again");
		if (l->backend->ops->map(&r->at, w->slot, block) == 0) {
			slots_set(&r->slots, w->slot, SLOT_RESIDENT, block);
			return 0;
		}
	} else if (state != SLOT_RESIDENT) {
		uint32_t blocks[BACKEND_RUN_MAX], taken;
		int ret = l->backend->ops->unmap(&r->at, w->slot, 1, blocks, &taken);

		if (ret < 0)
			return ret;
	}
	pool_put(pool_self(&l->pool), block);
	return 0;
}

static int settle_blocks(struct lender *l)
{
	for (uint32_t b = 0; b < l->pool.table.blocks; b++) {
		struct block_word w = table_word(&l->pool.table, b);
		int ret = w.state == BLOCK_LENT ? settle_block(l, b, &w.owner) : 0;

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* QEMU may have ended meanwhile, or the VM was being ended. */
static int settle_process(struct lend_vm *vm)
{
	struct record *rec = vm->rec;
	uint64_t start;
	int fd;

	if (rec->ending) {
		job_end(vm, "its end was interrupted");
		return 0;
	}
	if (rec->resetting)
		job_reset(vm);
	if (!rec->pid)
		return 0;
	fd = process_open(rec->pid, rec->pid_start, &start);
	if (fd == -ESRCH) {
		job_end(vm, "QEMU ended while no daemon ran");
		return 0;
	}
	if (fd < 0)
		return fd;
	vm->pidfd = fd;
	vm->state = VM_DETACHED;
	return 0;
}

/* Where the source serves touches, settle.c sees to blocks, slots and meters. */
static int repair_served(struct lender *l)
{
	struct lend_vm *vm, *next;
	int ret = settle_served(l);

	for (vm = l->first; !ret && vm; vm = next) {
		next = vm->next;
		ret = settle_process(vm);
	}
	return ret;
}

static int repair(struct lender *l)
{
	uint64_t now_ns = lend_now(l);
	int64_t wall_ms = ml_wall_ms(l->config.clock);
	uint32_t *lent = count_lent(l);
	struct lend_vm *vm, *next;
	int ret;

	if (!lent)
		return -ENOMEM;
	for (vm = l->first; vm; vm = vm->next)
		bridge_gap(vm, lent[vm->rec->id], now_ns, wall_ms);
	free(lent);
	for (vm = l->first; vm; vm = vm->next) {
		ret = finish_intent(vm);
		if (ret < 0)
			return ret;
		drop_strays(vm);
	}
	ret = settle_blocks(l);
	if (ret < 0)
		return ret;
	for (vm = l->first; vm; vm = next) {
		next = vm->next;
		ml_step("intent done");
		vm->rec->intent.active = 0;
		/* With what is foreign: or, if this daemon dies too, the next would not bill it. */
		audit_count(vm, now_ns);
		vm_meter(vm, now_ns, NULL);
		ret = settle_process(vm);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int recover(struct lender *l)
{
	struct found f = { 0 };
	size_t vms = 0;
	int ret = find_records(l, &f);

	for (size_t i = 0; i < f.count; i++) {
		if (ret == 0)
			ret = take_record(l, &f.maps[i]);
		ml_map_close(&f.maps[i]);
	}
	free(f.maps);
	vms = l->vms;
	if (ret == 0)
		ret = lend_served(l) ? repair_served(l) : repair(l);
	if (ret == 0 && vms)
		ml_info("took over %zu VMs", l->vms);
	return ret;
}
