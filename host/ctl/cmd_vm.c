// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands about VMs. Called by commands.c with arguments that passed the schema;
 * checks here what depends on the VM, turns bytes into blocks, and asks lend/
 * and vhost/.
 */
#include "cmd_vm.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/size.h"
#include "../base/terms.h"
#include "sockets.h"
#include "vm_json.h"

#define MEMORY_BLOCK_BLOCKS 64	/* 128 MiB, what a guest adds at a time */

static struct lend_vm *vm_asked_for(struct ctl_call *call)
{
	const char *name = ctl_arg_string(call, "name");
	struct lend_vm *vm = lend_vm_find(call->config->lender, name);

	if (!vm)
		ctl_fail(call, "DeviceNotFound", "There is no VM '%s'; query-vms lists those there are",
			 name);
	return vm;
}

/* The error class of lend/'s answers; *why already says it in words. */
static int lend_fail(struct ctl_call *call, int ret, const char *why)
{
	return ctl_fail(call, ret == -ENOSPC ? "NoSpace" : ret == -EINVAL || ret == -EEXIST ?
			"InvalidArgument" : "GenericError", "%s: %s", call->command,
			why[0] ? why : strerror(-ret));
}

/* Bytes to blocks; no rounding behind anyone's back. */
static int blocks_of(struct ctl_call *call, const char *arg, uint64_t *blocks)
{
	json_int_t bytes = ctl_arg_int(call, arg, 0);
	json_int_t block = (json_int_t)MEMLEASE_BLOCK_BYTES, below = bytes - bytes % block;
	char less[ML_SIZE_TEXT], more[ML_SIZE_TEXT];

	if (bytes % block)
		return ctl_fail(call, "InvalidArgument", "%s: '%s' is %lld bytes, which is no whole "
				"number of 2 MiB blocks; take %lld (%s) or %lld (%s)", call->command, arg,
				(long long)bytes, (long long)below,
				ml_size_exact((uint64_t)below, less), (long long)(below + block),
				ml_size_exact((uint64_t)(below + block), more));
	*blocks = (uint64_t)(bytes / block);
	return 0;
}

int cmd_query_vm(struct ctl_call *call)
{
	struct lend_vm *vm = vm_asked_for(call);

	if (!vm)
		return -ENODEV;
	call->result = vm_json(call->config, vm);
	return call->result ? 0 : -ENOMEM;
}

int cmd_query_vms(struct ctl_call *call)
{
	const struct ctl_config *config = call->config;
	struct lend_vm *vm = NULL;

	call->result = json_array();
	while ((vm = lend_vm_next(config->lender, vm))) {
		if (json_array_append_new(call->result, vm_json(config, vm)))
			return -ENOMEM;
	}
	return 0;
}

static int check_plan(struct ctl_call *call, const char *plan)
{
	const struct plans *plans = call->config->plans;
	char known[160] = "";
	size_t used = 0, i;

	if (plans_missing(plans))
		return ctl_fail(call, "GenericError", "vm-create: there is no plan '%s', nor any other: %s",
				plan, plans_missing(plans));
	if (plans_find(plans, plan))
		return 0;
	for (i = 0; i < plans_count(plans) && used + LEND_NAME_MAX + 3 < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 plans_at(plans, i)->name);
	return ctl_fail(call, "InvalidArgument", "vm-create: there is no plan '%s'; there are: %s%s",
			plan, known, i < plans_count(plans) ? ", ..." : "");
}

static int read_sizes(struct ctl_call *call, struct vm_spec *spec)
{
	uint64_t limit = (uint64_t)ctl_arg_int(call, "limit", 0) / MEMLEASE_BLOCK_BYTES;
	char is[ML_SIZE_TEXT], least[ML_SIZE_TEXT];
	uint64_t window;

	if (blocks_of(call, "boot", &spec->boot_blocks))
		return -EINVAL;
	if (ctl_arg_given(call, "guarantee") && blocks_of(call, "guarantee", &spec->guarantee_blocks))
		return -EINVAL;
	if (!spec->boot_blocks)
		return ctl_fail(call, "InvalidArgument",
				"vm-create: 'boot' is 0; a VM boots in at least one block of 2 MiB");
	if (limit < spec->boot_blocks + MEMORY_BLOCK_BLOCKS)
		return ctl_fail(call, "InvalidArgument",
				"vm-create: 'limit' is %s, but must be at least boot memory and 128M, %s",
				ml_size_exact((uint64_t)ctl_arg_int(call, "limit", 0), is),
				ml_size_exact((spec->boot_blocks + MEMORY_BLOCK_BLOCKS) *
					      MEMLEASE_BLOCK_BYTES, least));
	window = limit - spec->boot_blocks;
	spec->limit_blocks = spec->boot_blocks + window - window % MEMORY_BLOCK_BLOCKS;
	return 0;
}

static int read_spec(struct ctl_call *call, struct vm_spec *spec)
{
	json_int_t weight = ctl_arg_int(call, "weight", ML_WEIGHT_DEFAULT);

	snprintf(spec->name, sizeof(spec->name), "%s", ctl_arg_string(call, "name"));
	snprintf(spec->tenant, sizeof(spec->tenant), "%s", ctl_arg_string(call, "tenant"));
	snprintf(spec->plan, sizeof(spec->plan), "%s", ctl_arg_string(call, "plan"));
	if (weight < 1 || weight > ML_WEIGHT_MAX)
		return ctl_fail(call, "InvalidArgument",
				"vm-create: 'weight' is %lld, but must be from 1 to %d; %d is ordinary",
				(long long)weight, ML_WEIGHT_MAX, ML_WEIGHT_DEFAULT);
	spec->weight = (uint32_t)weight;
	if (check_plan(call, spec->plan))
		return -EINVAL;
	return read_sizes(call, spec);
}

int cmd_vm_create(struct ctl_call *call)
{
	const struct ctl_config *config = call->config;
	struct vm_spec spec = { 0 };
	struct ml_why why = { "" };
	char path[PATH_MAX];
	struct lend_vm *vm;
	int ret;

	if (read_spec(call, &spec))
		return -EINVAL;
	if (ctl_vhost_path(config->vm_dir, spec.name, path, sizeof(path)))
		return ctl_fail(call, "InvalidArgument",
				"vm-create: 'name' makes the socket's path too long: %.200s; take a "
				"shorter name, or a shorter --run-dir", path);
	ret = lend_vm_create(config->lender, &spec, &vm, &why);
	if (ret)
		return lend_fail(call, ret, why.text);
	ret = vhost_vm_listen(config->vhost, vm, path);
	if (ret) {
		vhost_vm_forget(vm);
		lend_vm_delete(vm);
		return ctl_fail(call, "GenericError", "vm-create: cannot listen at %s: %s", path,
				strerror(-ret));
	}
	return cmd_query_vm(call);
}

int cmd_vm_delete(struct ctl_call *call)
{
	struct lend_vm *vm = vm_asked_for(call);
	struct vm_status status;

	if (!vm)
		return -ENODEV;
	lend_vm_status(vm, &status);
	if (status.state != VM_DEFINED)
		return ctl_fail(call, "GenericError",
				"vm-delete: %s has a QEMU, process %d; end it first (vm-kill, or memlease stop)",
				status.spec.name, status.pid);
	vhost_vm_forget(vm);
	return lend_vm_delete(vm);
}

/* What vm-set was asked for, checked before anything is changed. */
struct change {
	bool limit, guarantee, target;
	uint64_t limit_blocks, guarantee_blocks, target_blocks;
	uint32_t deadline_ms;
};

static int read_change(struct ctl_call *call, struct change *change)
{
	const json_t *target = json_object_get(call->args, "target");

	change->limit = ctl_arg_given(call, "limit");
	change->guarantee = ctl_arg_given(call, "guarantee");
	change->target = target != NULL;
	change->target_blocks = MEMLEASE_NO_TARGET;
	change->deadline_ms = (uint32_t)ctl_arg_int(call, "deadline-ms", ML_DEADLINE_DEFAULT_MS);
	if (!change->limit && !change->guarantee && !change->target)
		return ctl_fail(call, "InvalidArgument",
				"vm-set: nothing to set; give limit, guarantee or target");
	if (ctl_arg_given(call, "deadline-ms") && (!change->target || json_is_null(target)))
		return ctl_fail(call, "InvalidArgument",
				"vm-set: 'deadline-ms' is %u, but there is no target it belongs to; give one",
				change->deadline_ms);
	if ((change->limit && blocks_of(call, "limit", &change->limit_blocks)) ||
	    (change->guarantee && blocks_of(call, "guarantee", &change->guarantee_blocks)) ||
	    (change->target && !json_is_null(target) &&
	     blocks_of(call, "target", &change->target_blocks)))
		return -EINVAL;
	return 0;
}

static int set_bounds(struct lend_vm *vm, const struct change *change, uint64_t guarantee_now,
		      struct ml_why *why)
{
	bool lower = change->guarantee && change->guarantee_blocks < guarantee_now;
	int ret = 0;

	/* The guarantee stays within the limit at every step: down first, up last. */
	if (lower)
		ret = lend_set_guarantee(vm, change->guarantee_blocks, why);
	if (!ret && change->limit)
		ret = lend_set_limit(vm, change->limit_blocks, why);
	if (!ret && change->guarantee && !lower)
		ret = lend_set_guarantee(vm, change->guarantee_blocks, why);
	return ret;
}

int cmd_vm_set(struct ctl_call *call)
{
	struct lend_vm *vm = vm_asked_for(call);
	struct ml_why why = { "" }, ignored;
	struct change change = { 0 }, back = { .limit = true, .guarantee = true };
	struct vm_status before;
	int ret;

	if (!vm)
		return -ENODEV;
	if (read_change(call, &change))
		return -EINVAL;
	lend_vm_status(vm, &before);
	ret = set_bounds(vm, &change, before.spec.guarantee_blocks, &why);
	if (!ret && change.target)
		ret = lend_set_target(vm, change.target_blocks, change.deadline_ms, &why);
	if (!ret)
		return cmd_query_vm(call);
	/* All or nothing: a command that fails leaves things as they were. */
	back.limit_blocks = before.spec.limit_blocks;
	back.guarantee_blocks = before.spec.guarantee_blocks;
	if (change.limit || change.guarantee) {
		struct vm_status now;

		lend_vm_status(vm, &now);
		if (set_bounds(vm, &back, now.spec.guarantee_blocks, &ignored))
			ml_err("%s: limit and guarantee could not be put back: %s", before.spec.name,
			       ignored.text);
	}
	return lend_fail(call, ret, why.text);
}

int cmd_vm_report_now(struct ctl_call *call)
{
	struct lend_vm *vm = vm_asked_for(call);

	if (!vm)
		return -ENODEV;
	lend_report_now(vm);
	return 0;
}

int cmd_vm_kill(struct ctl_call *call)
{
	struct lend_vm *vm = vm_asked_for(call);
	int pidfd;

	if (!vm)
		return -ENODEV;
	pidfd = lend_vm_pidfd(vm);
	if (pidfd < 0)
		return ctl_fail(call, "GenericError",
				"vm-kill: %s has no QEMU; vm-delete forgets a VM that never started",
				lend_vm_name(vm));
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return ctl_fail(call, "GenericError", "vm-kill: %s: %s", lend_vm_name(vm),
				strerror(errno));
	ml_info("%s: killed on an operator's word", lend_vm_name(vm));
	return 0;
}
