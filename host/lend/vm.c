// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMs as objects: creation, QEMU's process, snapshots. Moves no block; the end is
 * job.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/name.h"
#include "../base/step.h"
#include "lender.h"
#include "process.h"

static const char *const region_suffix[MEMLEASE_REGION_COUNT] = { "boot", "window" };

#define REGION_NAME_BYTES 64

static void region_name(const struct record *rec, int region, char buf[REGION_NAME_BYTES])
{
	snprintf(buf, REGION_NAME_BYTES, "%.36s.%s", rec->uuid, region_suffix[region]);
}

/* Takes the map over, also on failure. */
struct lend_vm *vm_new(struct lender *l, struct ml_map *map)
{
	struct lend_vm *vm = calloc(1, sizeof(*vm));
	struct record *rec = record_of(map);
	uint64_t boot = rec->spec.boot_blocks;

	if (!vm) {
		ml_map_close(map);
		return NULL;
	}
	vm->lender = l;
	vm->map = *map;
	vm->rec = rec;
	vm->pidfd = -1;
	vm->state = VM_DEFINED;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		vm->region[r].vm = vm;
		vm->region[r].which = (enum memlease_region)r;
	}
	if (slots_load(&vm->region[MEMLEASE_REGION_BOOT].slots, rec->slots, boot, true) < 0 ||
	    slots_load(&vm->region[MEMLEASE_REGION_WINDOW].slots, rec->slots + boot,
		       rec->window_blocks, false) < 0) {
		vm_free(vm);
		return NULL;
	}
	return vm;
}

void vm_free(struct lend_vm *vm)
{
	vm_close_regions(vm);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		free(vm->region[r].waiting);
		free(vm->region[r].lost);
	}
	while (vm->wait_first) {
		struct lend_wait *w = vm->wait_first;

		vm->wait_first = w->next;
		free(w);
	}
	while (vm->lost) {
		struct lend_lost *lost = vm->lost;

		vm->lost = lost->next;
		free(lost);
	}
	free(vm->foreign_blocks);
	ml_map_close(&vm->map);
	free(vm);
}

/* Opens both files, making what is missing: the record comes before them. */
int vm_open_regions(struct lend_vm *vm)
{
	struct backend *b = vm->lender->backend;
	char name[REGION_NAME_BYTES];
	uint32_t taken;

	vm->open = true;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		uint64_t blocks = vm->region[r].slots.count;
		int ret;

		region_name(vm->rec, r, name);
		vm->region[r].at.owner = &vm->region[r];
		ret = b->ops->open(b, name, blocks, &vm->region[r].at);
		if (ret == -ENOENT) {
			ml_step("region");
			ret = b->ops->create(b, name, blocks);
			if (ret == 0)
				ret = b->ops->open(b, name, blocks, &vm->region[r].at);
			/* If a crash comes before, settle.c does it. */
			if (ret == 0 && r == MEMLEASE_REGION_BOOT && b->ops->commit) {
				ml_step("boot memory");
				ret = b->ops->commit(&vm->region[r].at, 0, blocks, true, NULL,
						     &taken);
			}
		}
		if (ret < 0) {
			ml_err("VM %s: %s: %s", vm->rec->spec.name, name, strerror(-ret));
			vm_close_regions(vm);
			return ret;
		}
	}
	return 0;
}

void vm_close_regions(struct lend_vm *vm)
{
	if (!vm->open)
		return;
	vm->open = false;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		if (vm->region[r].at.backend)
			vm->region[r].at.backend->ops->close(&vm->region[r].at);
		vm->region[r].at.backend = NULL;
	}
}

void vm_remove_regions(struct lend_vm *vm)
{
	struct backend *b = vm->lender->backend;
	char name[REGION_NAME_BYTES];

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		int ret;

		region_name(vm->rec, r, name);
		ml_step("region removal");
		ret = b->ops->remove(b, name);
		if (ret < 0 && ret != -ENOENT)
			ml_warn("%s: cannot remove: %s", name, strerror(-ret));
	}
}

void vm_link(struct lend_vm *vm)
{
	struct lender *l = vm->lender;

	l->by_id[vm->rec->id] = vm;
	vm->prev = l->last;
	if (l->last)
		l->last->next = vm;
	else
		l->first = vm;
	l->last = vm;
	l->vms++;
	vm_account(vm);
}

void vm_unlink(struct lend_vm *vm)
{
	struct lender *l = vm->lender;

	if (vm->prev)
		vm->prev->next = vm->next;
	else
		l->first = vm->next;
	if (vm->next)
		vm->next->prev = vm->prev;
	else
		l->last = vm->prev;
	vm->prev = NULL;
	vm->next = NULL;
	l->vms--;
}

void vm_to_ended(struct lend_vm *vm)
{
	struct lender *l = vm->lender;

	vm->state = VM_ENDED;
	vm_account(vm);
	l->by_id[vm->rec->id] = vm;
	vm->next = l->ended;
	l->ended = vm;
}

uint64_t vm_committed(const struct lend_vm *vm)
{
	return vm->region[MEMLEASE_REGION_BOOT].slots.committed +
	       vm->region[MEMLEASE_REGION_WINDOW].slots.committed;
}

static uint64_t resident_by_table(const struct lend_vm *vm)
{
	return vm->region[MEMLEASE_REGION_BOOT].slots.resident +
	       vm->region[MEMLEASE_REGION_WINDOW].slots.resident;
}

uint64_t vm_resident(const struct lend_vm *vm)
{
	return resident_by_table(vm) + vm->foreign;
}

struct meter_counts vm_counts(const struct lend_vm *vm)
{
	if (vm->rec->ending)
		return (struct meter_counts){ .resident = vm_resident(vm) };
	return (struct meter_counts){ vm_resident(vm), vm_committed(vm),
				      vm->rec->spec.guarantee_blocks };
}

void vm_account(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	bool gone = vm->state == VM_ENDED || vm->rec->ending;
	uint64_t guarantee = gone ? 0 : vm->rec->spec.guarantee_blocks;

	l->committed -= vm->counted.committed;
	l->limit -= vm->counted.limit;
	l->guarantee -= vm->counted.guarantee;
	l->unfilled -= vm->counted.unfilled;
	vm->counted.committed = gone ? 0 : vm_committed(vm);
	vm->counted.limit = gone ? 0 : vm->rec->spec.limit_blocks;
	vm->counted.guarantee = guarantee;
	vm->counted.unfilled = policy_unfilled(guarantee, vm_resident(vm));
	l->committed += vm->counted.committed;
	l->limit += vm->counted.limit;
	l->guarantee += vm->counted.guarantee;
	l->unfilled += vm->counted.unfilled;
}

void vm_meter(struct lend_vm *vm, uint64_t now_ns, const struct meter_events *events)
{
	struct meter_counts counts = vm_counts(vm);

	meter_change(&vm->rec->meter, now_ns, &counts, events);
	vm_account(vm);
}

void vm_snapshot(const struct lend_vm *vm, struct policy_vm *out)
{
	*out = (struct policy_vm){
		.boot = vm->rec->spec.boot_blocks,
		.limit = vm->rec->spec.limit_blocks,
		.guarantee = vm->rec->spec.guarantee_blocks,
		.window_committed = vm->region[MEMLEASE_REGION_WINDOW].slots.committed,
		.committed = vm_committed(vm),
		.resident = vm_resident(vm),
		.window_target = vm->rec->target_blocks,
		.oldest_wait_ns = vm->wait_first ? vm->wait_first->since_ns : 0,
		.waiting = vm->waiting,
		.asked_ns = vm->asked_ns,
		.kept_taken = vm->kept_turn == vm->lender->kept_turn ? vm->kept_taken : 0,
		.connected = vm->state == VM_RUNNING && !vm->rec->broken,
	};
}

uint64_t vm_fs_blocks(const struct lend_vm *vm)
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

void vm_event(struct lender *l, enum lend_event_type type, const struct lend_vm *vm,
	      const char *text)
{
	struct lend_event e = { .type = type, .vm = vm ? vm->rec->spec.name : NULL, .text = text };

	l->hooks.event(l->hooks.ctx, &e);
}

/* --- creation --- */

static int check_spec(struct lender *l, const struct vm_spec *s, char *why, size_t why_size)
{
	const char *bad = !ml_name_ok(s->name, LEND_NAME_MAX) ? s->name :
			  !ml_name_ok(s->tenant, LEND_NAME_MAX) ? s->tenant :
			  !ml_name_ok(s->plan, LEND_NAME_MAX) ? s->plan : NULL;
	/* The ledger's integers hold one period of so many blocks. */
	uint64_t most = INT64_MAX / 1000000000 / l->config.period_s;

	if (bad) {
		snprintf(why, why_size,
			 "'%.63s' is no name: use letters, digits, '_', '.', '-', starting with a letter or digit, at most %d",
			 bad, LEND_NAME_MAX);
		return -EINVAL;
	}
	if (most > TABLE_SLOT_MAX)
		most = TABLE_SLOT_MAX;
	if (!s->boot_blocks || s->limit_blocks < s->boot_blocks || s->limit_blocks > most) {
		snprintf(why, why_size,
			 "boot memory of %" PRIu64 " and limit of %" PRIu64 " blocks do not go together: at least one block of boot memory, at most the limit, the limit at most %" PRIu64 " blocks",
			 s->boot_blocks, s->limit_blocks, most);
		return -EINVAL;
	}
	if (s->guarantee_blocks > s->limit_blocks) {
		snprintf(why, why_size,
			 "a guarantee of %" PRIu64 " blocks is above the limit of %" PRIu64 " blocks",
			 s->guarantee_blocks, s->limit_blocks);
		return -EINVAL;
	}
	if (s->weight < 1 || s->weight > 10000) {
		snprintf(why, why_size, "weight %u is not from 1 to 10000; 100 is ordinary",
			 s->weight);
		return -EINVAL;
	}
	return 0;
}

static int check_room(struct lender *l, const struct vm_spec *s, uint32_t *id, char *why,
		      size_t why_size)
{
	struct policy_pool pool;

	if (lend_vm_find(l, s->name)) {
		snprintf(why, why_size, "there is a VM named '%s'; take another name, or end it",
			 s->name);
		return -EEXIST;
	}
	for (*id = 0; *id < LEND_IDS && l->by_id[*id];)
		(*id)++;
	if (l->vms >= LEND_VMS_MAX || *id == LEND_IDS) {
		snprintf(why, why_size,
			 "there are %zu VMs, of at most %d, and ended ones that wait for the ledger; end some, or free the ledger's disk",
			 l->vms, LEND_VMS_MAX);
		return -ENOSPC;
	}
	/* What may be promised is what is free for certain. */
	supply_hold(l);
	lender_snapshot(l, &pool);
	return policy_admit(&pool, s->boot_blocks, s->guarantee_blocks, why, why_size);
}

static void drop_new(struct lend_vm *vm)
{
	vm_remove_regions(vm);
	record_delete(vm->lender->state_fd, vm->rec);
	vm_free(vm);
}

int lend_vm_create(struct lender *l, const struct vm_spec *spec, struct lend_vm **out, char *why,
		   size_t why_size)
{
	char uuid[ML_UUID_TEXT];
	struct ml_map map = { 0 };
	struct lend_vm *vm;
	uint32_t id;
	int ret;

	ret = check_spec(l, spec, why, why_size);
	if (ret == 0)
		ret = check_room(l, spec, &id, why, why_size);
	if (ret < 0) {
		supply_fill(l);
		return ret;
	}
	ret = ml_uuid_make(uuid);
	if (ret == 0)
		ret = record_create(l->state_fd, spec, uuid, l->boot_id, id, l->next_serial,
				    lend_now(l), ml_wall_ms(l->config.clock), &map);
	if (ret < 0) {
		snprintf(why, why_size, "cannot make the VM's record in %s: %s", l->state_dir,
			 strerror(-ret));
		supply_fill(l);
		return ret;
	}
	l->next_serial++;
	vm = vm_new(l, &map);
	ret = vm ? vm_open_regions(vm) : -ENOMEM;
	if (ret < 0) {
		snprintf(why, why_size, "cannot make the VM's %s: %s",
			 lend_served(l) ? "windows" : "files", strerror(-ret));
		if (vm)
			drop_new(vm);
		supply_fill(l);
		return ret;
	}
	vm_link(vm);
	supply_fill(l);
	ml_info("VM %s: created for tenant %s", spec->name, spec->tenant);
	vm_event(l, LEND_EV_VM_CREATED, vm, NULL);
	*out = vm;
	return 0;
}

int lend_vm_delete(struct lend_vm *vm)
{
	if (process_alive(vm->pidfd))
		return -EBUSY;
	lend_vm_end(vm, "deleted");
	return 0;
}

/* --- QEMU's process --- */

int lend_vm_attach(struct lend_vm *vm, pid_t pid, int pidfd)
{
	ml_autoclose int fd = pidfd;
	bool first = vm->pidfd < 0;
	uint64_t start;
	int ret;

	if (fd < 0)
		ret = fd = process_open(pid, 0, &start);
	else
		ret = process_started(fd, pid, &start);
	if (ret < 0)
		return ret;
	if (!first && (vm->rec->pid != pid || vm->rec->pid_start != start))
		return -EBUSY;
	if (first) {
		vm->pidfd = ml_steal_fd(&fd);
		vm->rec->pid_start = start;
		ml_step("pid");
		vm->rec->pid = pid;
	}
	vm->state = VM_RUNNING;
	ml_info("VM %s: QEMU (pid %d) %s", vm->rec->spec.name, (int)pid,
		first ? "connected" : "connected again");
	if (first)
		vm_event(vm->lender, LEND_EV_VM_STARTED, vm, NULL);
	return 0;
}

void lend_vm_detach(struct lend_vm *vm)
{
	if (vm->state != VM_RUNNING)
		return;
	vm->state = VM_DETACHED;
	vm_event(vm->lender, LEND_EV_VM_DETACHED, vm, NULL);
}

int lend_vm_pidfd(const struct lend_vm *vm)
{
	return vm->pidfd;
}
