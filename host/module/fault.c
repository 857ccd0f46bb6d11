// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Touches of a window, by QEMU and by KVM; see fault.h. One block is mapped
 * by one huge entry. Where Linux cannot have one (a mapping that does not begin at
 * 2 MiB, huge pages switched off) it asks for single pages instead.
 *
 * KVM gets here through fixup_user_fault(), which may be told to try again, and
 * takes SIGBUS for -EFAULT: KVM_RUN fails, and QEMU stops the VM and says so.
 *
 * A task that has to wait for a block drops the lock of its memory map first, or other
 * threads of its process, and programs that look at that process, would hang too. After
 * that its fault can only return "try again". So it is the window that remembers that a
 * wait ran into its limit (`starved`): the next fault fails, and the VM stops.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "daemon_view.h"
#include "entry.h"
#include "fault.h"
#include "mappers.h"
#include "ranges.h"
#include "rings.h"
#include "wait.h"

/* A mapping can be split and moved, but never reaches beyond its window: see mmap. */
static u32 mlp_fault_slot(const struct vm_fault *vmf)
{
	const struct mlp_window *w = vmf->vma->vm_private_data;

	return (vmf->pgoff - w->pgoff) / MLP_BLOCK_PAGES;
}

static vm_fault_t mlp_violation(struct mlp_window *w, u32 slot)
{
	pr_warn_ratelimited("%s[%d] wrote to slot %u of window %s, which is not committed\n",
			    current->comm, task_tgid_nr(current), slot, w->name);
	mlp_rings_lock();
	mlp_touch_once(MEMLEASE_TOUCH_VIOLATION, w->id, slot, &w->violation_mark);
	mlp_rings_unlock();
	return VM_FAULT_SIGBUS;
}

/* What a fault is to show: 2 MiB from pfn on, or why not. */
struct mlp_view {
	unsigned long pfn;
	bool there;
	bool write;		/* it may be written to */
	vm_fault_t fault;	/* 0 with nothing there: wait */
};

/* Under window.lock. */
static struct mlp_view mlp_look(struct mlp_window *w, struct vm_fault *vmf, u32 slot)
{
	struct mlp_view v = { .fault = VM_FAULT_SIGBUS };
	u32 word;

	if (WARN_ON_ONCE(slot >= w->slots))
		return v;
	v.fault = 0;
	word = READ_ONCE(w->slot[slot]);
	if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_COMMITTED)
		word = mlp_window_take(w, slot);
	switch (MEMLEASE_SLOT_STATE(word)) {
	case MEMLEASE_SLOT_RESIDENT:
		/* Whoever took it: another fault of the slot may be here first. */
		mlp_view_hide(MEMLEASE_SLOT_BLOCK(word));
		v.pfn = mlp_block_pfn(MEMLEASE_SLOT_BLOCK(word));
		v.there = true;
		v.write = true;
		break;
	case MEMLEASE_SLOT_VACANT:
		if (vmf->flags & FAULT_FLAG_WRITE) {
			v.fault = mlp_violation(w, slot);
			break;
		}
		v.there = mlp_window_zeros(w, &v.pfn);
		if (!v.there)
			v.fault = VM_FAULT_HWPOISON;
		break;
	case MEMLEASE_SLOT_LOST:
		v.fault = VM_FAULT_HWPOISON;
		break;
	}
	return v;
}

static void mlp_got_lock(struct mlp_window *w)
{
	if (READ_ONCE(w->gave_way))
		WRITE_ONCE(w->gave_way, false);
}

/*
 * window.lock is taken by a change of slots: wait for it without our mmap lock, which that
 * change may be waiting for. Returns what the handler returns.
 */
static vm_fault_t mlp_wait_for_lock(struct mlp_window *w, struct vm_fault *vmf)
{
	struct file *file;

	WRITE_ONCE(w->gave_way, true);
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		usleep_range(20, 50);
		return fatal_signal_pending(current) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	/* Keeps window and module until the task leaves the kernel. */
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	down_read(&w->lock);
	up_read(&w->lock);
	fput(file);
	return VM_FAULT_RETRY;
}

/* No block is to be had: wait, without any lock where that is possible. */
static vm_fault_t mlp_wait(struct mlp_window *w, struct vm_fault *vmf, u32 slot)
{
	struct file *file;

	if (READ_ONCE(w->starved))
		return VM_FAULT_SIGBUS;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return mlp_wait_pause() ? VM_FAULT_NOPAGE : VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	if (!mlp_wait_for_block(w, slot)) {
		WRITE_ONCE(w->starved, true);
		pr_warn_ratelimited("%s[%d] waited too long for a block of window %s\n",
				    current->comm, task_tgid_nr(current), w->name);
	}
	fput(file);
	return VM_FAULT_RETRY;
}

static vm_fault_t mlp_window_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct mlp_window *w = vmf->vma->vm_private_data;
	u32 slot = mlp_fault_slot(vmf);
	struct mlp_view v;

	if (order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	if (!down_read_trylock(&w->lock))
		return mlp_wait_for_lock(w, vmf);
	mlp_got_lock(w);
	if (!mlp_fault_fits_huge(vmf)) {
		up_read(&w->lock);
		return VM_FAULT_FALLBACK;
	}
	v = mlp_look(w, vmf, slot);
	if (v.there)
		v.fault = mlp_insert_pmd(vmf, v.pfn, v.write);
	up_read(&w->lock);
	return v.fault ?: mlp_wait(w, vmf, slot);
}

static vm_fault_t mlp_insert_page(struct mlp_window *w, struct vm_fault *vmf, u32 slot)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mlp_view v;
	pgprot_t prot;

	if (mlp_fault_is_huge(vmf))
		return VM_FAULT_NOPAGE;
	v = mlp_look(w, vmf, slot);
	if (!v.there)
		return v.fault;
	prot = vm_get_page_prot(v.write ? vma->vm_flags : vma->vm_flags & ~VM_WRITE);
	return vmf_insert_pfn_prot(vma, vmf->address, v.pfn + vmf->pgoff % MLP_BLOCK_PAGES, prot);
}

static vm_fault_t mlp_window_fault(struct vm_fault *vmf)
{
	struct mlp_window *w = vmf->vma->vm_private_data;
	u32 slot = mlp_fault_slot(vmf);
	vm_fault_t fault;

	/* For writing, if a page table will come to be: see locks.h. */
	if (mlp_fault_has_table(vmf)) {
		if (!down_read_trylock(&w->lock))
			return mlp_wait_for_lock(w, vmf);
		mlp_got_lock(w);
		fault = mlp_insert_page(w, vmf, slot);
		up_read(&w->lock);
	} else {
		if (!down_write_trylock(&w->lock))
			return mlp_wait_for_lock(w, vmf);
		mlp_got_lock(w);
		fault = mlp_insert_page(w, vmf, slot);
		up_write(&w->lock);
	}
	return fault ?: mlp_wait(w, vmf, slot);
}

/*
 * A write through a read-only entry of one page: it shows zeros, or mprotect() has
 * been here. Never agrees: see locks.h. That this is here also makes the
 * kernel ask for huge entries again before they become writable.
 */
static vm_fault_t mlp_window_pfn_mkwrite(struct vm_fault *vmf)
{
	struct mlp_window *w = vmf->vma->vm_private_data;
	u32 slot = mlp_fault_slot(vmf);
	vm_fault_t fault = VM_FAULT_NOPAGE;

	/* To try again the kernel would have to know of it, which it does not here. */
	if (!down_write_trylock(&w->lock)) {
		usleep_range(20, 50);
		return fatal_signal_pending(current) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
	}
	if (MEMLEASE_SLOT_STATE(w->slot[slot]) == MEMLEASE_SLOT_VACANT)
		fault = mlp_violation(w, slot);
	else
		unmap_mapping_pages(mlp_mapping, vmf->pgoff, 1, true);
	up_write(&w->lock);
	return fault;
}

/* A mapping cannot be cut inside a block: what is left would have to be single pages. */
static int mlp_window_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return (((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff) % MLP_BLOCK_PAGES ? -EINVAL : 0;
}

static void mlp_window_vma_open(struct vm_area_struct *vma)
{
	mlp_mapper_more(vma->vm_private_data, vma->vm_mm);
}

static void mlp_window_vma_close(struct vm_area_struct *vma)
{
	mlp_mapper_less(vma->vm_private_data, vma->vm_mm);
}

const struct vm_operations_struct mlp_window_vm_ops = {
	.open = mlp_window_vma_open,
	.close = mlp_window_vma_close,
	.huge_fault = mlp_window_huge_fault,
	.fault = mlp_window_fault,
	.pfn_mkwrite = mlp_window_pfn_mkwrite,
	.may_split = mlp_window_may_split,
};
