// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's process, see lend.h: it connects, its connection goes, it ends, and its VM with it. */
#include <errno.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/step.h"
#include "job.h"
#include "lend.h"
#include "loan.h"
#include "process.h"
#include "stock.h"
#include "tell.h"
#include "turn.h"
#include "unstarted.h"

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
		ret = unstarted_claim(vm);
		if (ret < 0)
			return ret;
		vm->pidfd = ml_steal_fd(&fd);
		vm->rec->pid_start = start;
		ml_step("pid");
		vm->rec->pid = pid;
		unstarted_begin(vm);
	}
	vm->state = VM_RUNNING;
	ml_info("VM %s: QEMU (pid %d) %s", vm->rec->spec.name, (int)pid,
		first ? "connected" : "connected again");
	if (first)
		tell_event(vm->lender, LEND_EV_VM_STARTED, vm, NULL);
	return 0;
}

void lend_vm_detach(struct lend_vm *vm)
{
	if (vm->state != VM_RUNNING)
		return;
	vm->state = VM_DETACHED;
	tell_event(vm->lender, LEND_EV_VM_DETACHED, vm, NULL);
}

const char *lend_vm_refused(const struct lend_vm *vm)
{
	return vm->refused;
}

int lend_vm_pidfd(const struct lend_vm *vm)
{
	return vm->pidfd;
}

void lend_vm_end(struct lend_vm *vm, const char *why)
{
	struct lender *l = vm->lender;

	loan_read_all(l);
	job_end(vm, why);
	job_slice(vm);
	turn_serve(l);
	stock_fill(l);
}

int lend_vm_delete(struct lend_vm *vm)
{
	if (process_alive(vm->pidfd))
		return -EBUSY;
	lend_vm_end(vm, "deleted");
	return 0;
}
