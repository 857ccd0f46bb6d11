// SPDX-License-Identifier: GPL-2.0-or-later
/* Start-up: the VMs of the last daemon; see recover.h. */
#include "recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "job.h"
#include "loan.h"
#include "process.h"
#include "tell.h"
#include "unstarted.h"
#include "vm.h"

struct records {
	struct ml_map *maps;
	size_t count;
};

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && strcmp(name + n - s, suffix) == 0;
}

/* Errors of the machine, not of one file: whoever tries again may have more luck. */
static bool of_the_machine(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EINTR;
}

/*
 * The daemon goes on without this VM. Its regions stay as they are while somebody has them
 * open, and so does what the record says, for who can read it.
 */
static void put_aside(struct lender *l, const char *name, const char *why)
{
	char aside[NAME_MAX + 1] = "", text[ML_WHY_BYTES], vm[LEND_NAME_MAX + 1], of[96] = "";
	int ret;

	record_guess_name(l->state_fd, name, vm);
	if (vm[0])
		snprintf(of, sizeof(of), ", of VM '%s' it seems,", vm);
	ml_step("set aside");
	ret = ml_set_aside(l->state_fd, name, aside, sizeof(aside));
	if (ret < 0)
		snprintf(text, sizeof(text), "the VM record %s%s %s. It cannot be renamed either: %s; move it away",
			 name, of, why, strerror(-ret));
	else
		snprintf(text, sizeof(text), "the VM record %s%s %s. It was renamed to %s, and nothing else was done to it; its VM is not metered and borrows no more: end it, and create it anew",
			 name, of, why, aside);
	ml_err("%s: %s", l->state_dir, text);
	tell_event(l, LEND_EV_SET_ASIDE, NULL, text);
}

static int add_record(struct lender *l, struct records *f, const char *name)
{
	struct ml_map *grown = realloc(f->maps, (f->count + 1) * sizeof(*grown));
	struct ml_why why = { "" };
	int ret;

	if (!grown)
		return -ENOMEM;
	f->maps = grown;
	ret = record_open(l->state_fd, name, &f->maps[f->count], &why);
	if (ret == 0 && record_of(&f->maps[f->count])->id >= LEND_IDS) {
		ret = ml_refuse(&why, -EUCLEAN, "has the number %u, of at most %d",
				record_of(&f->maps[f->count])->id, LEND_IDS - 1);
		ml_map_close(&f->maps[f->count]);
	}
	if (ret == -ENODATA) {
		/* Its VM went with the power, and nothing of its use is left to bill. */
		ml_warn("%s/%s: lost with the machine's power; deleted", l->state_dir, name);
		return unlinkat(l->state_fd, name, 0) < 0 ? -errno : 0;
	}
	if (ret == 0)
		f->count++;
	else if (of_the_machine(ret))
		ml_err("%s/%s %s", l->state_dir, name, why.text);
	else
		put_aside(l, name, why.text);
	return of_the_machine(ret) ? ret : 0;
}

static int by_serial(const void *a, const void *b)
{
	uint64_t x = record_of(a)->serial, y = record_of(b)->serial;

	return x < y ? -1 : x > y;
}

static int find_records(struct lender *l, struct records *f)
{
	DIR *dir = ml_list_dir(l->state_fd);
	struct dirent *e;
	int ret = 0;

	if (!dir)
		return -errno;
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

/* -EUCLEAN: it cannot be a VM beside those that there are; *why goes on behind the file's name. */
static int take_vm(struct lender *l, struct ml_map *map, struct ml_why *why)
{
	struct lend_vm *vm = NULL;
	int ret = vm_new(&vm, l, map);
	bool gone;

	map->data = NULL;
	if (ret < 0)
		return ml_refuse(why, ret, ret == -EUCLEAN ? "has a slot in a state that cannot be" :
				 "cannot be taken over: out of memory");
	gone = vm->rec->ended_ms >= 0 || strcmp(vm->rec->boot_id, l->boot_id) != 0;
	if (l->by_id[vm->rec->id])
		ret = ml_refuse(why, -EUCLEAN, "has the number %u, as VM %s has", vm->rec->id,
				l->by_id[vm->rec->id]->rec->spec.name);
	else if (!gone && vm_find(l, vm->rec->spec.name))
		ret = ml_refuse(why, -EUCLEAN, "is of a second VM '%s'", vm->rec->spec.name);
	else if (!gone && vm_open_regions(vm) == -EUCLEAN)
		ret = ml_refuse(why, -EUCLEAN, "does not fit to the VM's %s", l->loans->memory);
	else if (!gone && !vm->open)
		ret = ml_refuse(why, -EIO, "is of a VM whose %s cannot be opened", l->loans->memory);
	if (ret < 0) {
		vm_free(vm);
		return ret;
	}
	if (vm->rec->serial >= l->next_serial)
		l->next_serial = vm->rec->serial + 1;
	if (gone)
		take_ended(vm);
	else
		vm_link(vm);
	return 0;
}

static int take_record(struct lender *l, struct ml_map *map)
{
	char name[LEND_UUID_LEN + sizeof(RECORD_SUFFIX)];
	struct ml_why why = { "" };
	int ret;

	snprintf(name, sizeof(name), "%.36s" RECORD_SUFFIX, record_of(map)->uuid);
	ret = take_vm(l, map, &why);
	if (ret == -EUCLEAN) {
		put_aside(l, name, why.text);
		return 0;
	}
	if (ret < 0)
		ml_err("%s/%s %s", l->state_dir, name, why.text);
	return ret;
}

/* QEMU may have ended meanwhile, or the VM was being ended. */
static int find_process(struct lend_vm *vm)
{
	struct record *rec = vm->rec;
	uint64_t start;
	int fd;

	vm->ended_unseen = rec->ending;
	if (rec->ending || !rec->pid)
		return 0;
	fd = process_open(rec->pid, rec->pid_start, &start);
	vm->ended_unseen = fd == -ESRCH;
	if (fd < 0)
		return vm->ended_unseen ? 0 : fd;
	vm->pidfd = fd;
	vm->state = VM_DETACHED;
	return 0;
}

/* Before meters are brought through the time without a daemon: who has ended in it is not billed for it. */
static int find_processes(struct lender *l)
{
	int ret = 0;

	for (struct lend_vm *vm = l->first; !ret && vm; vm = vm->next) {
		ret = find_process(vm);
		unstarted_settle(vm);
	}
	return ret;
}

static void settle_process(struct lend_vm *vm)
{
	/* The last daemon may have died between the word and the deed. */
	if (vm->rec->broken == MEMLEASE_BROKEN_TOUCH && vm->pidfd >= 0)
		process_kill(vm->pidfd);
	if (vm->ended_unseen)
		job_end(vm, vm->rec->ending ? "its end was interrupted" :
			"QEMU ended while no daemon ran");
	else if (vm->rec->resetting)
		job_reset(vm);
}

static void settle_processes(struct lender *l)
{
	struct lend_vm *next;

	for (struct lend_vm *vm = l->first; vm; vm = next) {
		next = vm->next;
		meter_waits_anew(&vm->rec->meter, lend_now(l));
		settle_process(vm);
	}
}

int recover(struct lender *l)
{
	struct records f = { 0 };
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
		ret = find_processes(l);
	if (ret == 0)
		ret = l->loans->settle(l);
	if (ret == 0)
		settle_processes(l);
	if (ret == 0 && vms)
		ml_info("took over %zu VMs", l->vms);
	return ret;
}
