// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs as objects; see vm.h. */
#include "vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "account.h"

static const char *const region_suffix[MEMLEASE_REGION_COUNT] = { "boot", "window" };

void vm_region_name(const char *uuid, enum memlease_region region, char name[BACKEND_NAME_BYTES])
{
	snprintf(name, BACKEND_NAME_BYTES, "%.36s.%s", uuid, region_suffix[region]);
}

bool vm_region_uuid(const char *name, char uuid[LEND_UUID_LEN + 1])
{
	bool ours = false;

	if (strlen(name) <= LEND_UUID_LEN || name[LEND_UUID_LEN] != '.' ||
	    strspn(name, "0123456789abcdef-") != LEND_UUID_LEN)
		return false;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++)
		ours |= strcmp(name + LEND_UUID_LEN + 1, region_suffix[r]) == 0;
	if (ours)
		snprintf(uuid, LEND_UUID_LEN + 1, "%.*s", LEND_UUID_LEN, name);
	return ours;
}

int vm_new(struct lend_vm **out, struct lender *l, struct ml_map *map)
{
	struct lend_vm *vm = calloc(1, sizeof(*vm));
	struct record *rec = record_of(map);
	uint64_t boot = rec->spec.boot_blocks;

	if (!vm) {
		ml_map_close(map);
		return -ENOMEM;
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
		return -EUCLEAN;
	}
	*out = vm;
	return 0;
}

void vm_free(struct lend_vm *vm)
{
	vm_close_regions(vm);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	queue_free(&vm->queue);
	lost_free(&vm->lost);
	free(vm->foreign.blocks);
	ml_map_close(&vm->map);
	free(vm);
}

int vm_open_regions(struct lend_vm *vm)
{
	struct backend *b = vm->lender->backend;
	char name[BACKEND_NAME_BYTES];
	uint32_t taken;

	vm->open = true;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		uint64_t blocks = vm->region[r].slots.count;
		int ret;

		vm_region_name(vm->rec->uuid, (enum memlease_region)r, name);
		vm->region[r].at.owner = &vm->region[r];
		ret = b->ops->open(b, name, blocks, &vm->region[r].at);
		if (ret == -ENOENT) {
			ml_step("region");
			ret = b->ops->create(b, name, blocks);
			if (ret == 0)
				ret = b->ops->open(b, name, blocks, &vm->region[r].at);
			/* If a crash comes before, told_settle.c does it. */
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
	char name[BACKEND_NAME_BYTES];

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		int ret;

		vm_region_name(vm->rec->uuid, (enum memlease_region)r, name);
		ml_step("region removal");
		ret = b->ops->remove(b, name);
		if (ret < 0 && ret != -ENOENT)
			ml_warn("%s: cannot remove: %s", name, strerror(-ret));
	}
}

struct lend_vm *vm_find(const struct lender *l, const char *name)
{
	for (struct lend_vm *vm = l->first; vm; vm = vm->next) {
		if (strcmp(vm->rec->spec.name, name) == 0)
			return vm;
	}
	return NULL;
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
	account_sum(vm);
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
	account_sum(vm);
	l->by_id[vm->rec->id] = vm;
	vm->next = l->ended;
	l->ended = vm;
}

void vm_forget(struct lend_vm *vm)
{
	struct lender *l = vm->lender;
	struct lend_vm **at = &l->ended;

	while (*at && *at != vm)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = vm->next;
	l->by_id[vm->rec->id] = NULL;
	if (record_delete(l->state_fd, vm->rec) < 0)
		ml_warn("VM %s: cannot remove its record: %m", vm->rec->spec.name);
	vm_free(vm);
}
