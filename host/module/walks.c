// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mbind() with MPOL_MF_STRICT looks at every page of a mapping, to see whether its node is
 * right. For a huge entry it takes the page structure without asking whether there is one
 * (queue_folios_pmd(); all kernels from 6.12, which brought huge entries without page
 * structures, up to 7.2 at least). Ours have none: the kernel reads where nothing is, with the
 * mmap lock of the process and a page-table lock held. Whoever has mapped a window could do
 * that to the host. linux-mempolicy.patch beside this file is the mend for Linux.
 *
 * No flag of a mapping keeps that walk off: it asks for VM_PFNMAP where pages are to be moved,
 * but not for STRICT, and no operation of ours is called. So a kprobe stands at the entry of
 * the function that it calls per 2 MiB, and for mappings of ours has that function return at
 * once with 0, "nothing to move here", which is what the mended one does. Other mappings go
 * their way. A probe at the entry of a function that runs in task context only, without
 * another probe below it, misses no call.
 *
 * The task may be preempted in mlp_walk_nothing(), but it holds its mmap lock, so its mapping
 * is there, which holds this module.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pagewalk.h>
#include <linux/ptrace.h>

#include "compat.h"
#include "daemon_view.h"
#include "fault.h"
#include "walks.h"

static bool mlp_unguarded;
module_param_named(unguarded, mlp_unguarded, bool, 0444);
MODULE_PARM_DESC(unguarded, "load although processes with a window can crash this kernel by mbind()");

#ifdef MLP_HAVE_KPROBES
/* Stands for queue_folios_pte_range(pmd, addr, end, walk), called with its arguments. */
static int mlp_walk_nothing(void)
{
	return 0;
}

static int mlp_walk_entered(struct kprobe *probe, struct pt_regs *regs)
{
	const struct mm_walk *walk = (const struct mm_walk *)regs_get_kernel_argument(regs, 3);
	const struct vm_area_struct *vma = walk->vma;

	if (!vma || (vma->vm_ops != &mlp_window_vm_ops && vma->vm_ops != &mlp_view_vm_ops))
		return 0;
	instruction_pointer_set(regs, (unsigned long)mlp_walk_nothing);
	return 1;
}
NOKPROBE_SYMBOL(mlp_walk_entered);

static struct kprobe mlp_walk_probe = {
	.symbol_name = "queue_folios_pte_range",
	.pre_handler = mlp_walk_entered,
};

static bool mlp_walk_on;

static int mlp_walk_probe_add(void)
{
	int rc = register_kprobe(&mlp_walk_probe);

	mlp_walk_on = !rc;
	return rc;
}

static void mlp_walk_probe_remove(void)
{
	if (mlp_walk_on)
		unregister_kprobe(&mlp_walk_probe);
}
#else
static int mlp_walk_probe_add(void)
{
	return -EOPNOTSUPP;
}

static void mlp_walk_probe_remove(void)
{
}
#endif

int mlp_walks_init(void)
{
	int rc;

	/* Without it there is no mbind(). */
	if (!IS_ENABLED(CONFIG_NUMA))
		return 0;
	rc = mlp_walk_probe_add();
	if (!rc)
		return 0;
	if (mlp_unguarded) {
		pr_warn("mbind() is not guarded (%d): a process with a window can crash this host\n", rc);
		return 0;
	}
	pr_err("no kprobe at queue_folios_pte_range (%d): mbind() of a process with a window could crash this host; take a kernel with CONFIG_KPROBES, or load with unguarded=1\n",
	       rc);
	return rc;
}

void mlp_walks_exit(void)
{
	if (IS_ENABLED(CONFIG_NUMA))
		mlp_walk_probe_remove();
}
