// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's own view of the pool, for zeroing: block b lies at b * 2 MiB, for
 * good. It shows what no window has; see daemon_view.h, and locks.h for why nothing
 * escapes it.
 *
 * To take an entry out of page tables interrupts the processors that run the daemon. So it
 * is not left to the touch: what the daemon has looked at goes out of the view by itself a
 * moment later, many blocks at a time, and a mark of each block says whether anything is
 * left to be taken out. The daemon zeroes a block long before it is lent, as a rule; if not,
 * the touch does it.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "daemon_view.h"
#include "entry.h"
#include "ranges.h"
#include "rings.h"
#include "window.h"

#define MLP_VIEW_PGOFF	(MEMLEASE_POOL_OFF_BLOCKS >> PAGE_SHIFT)
#define MLP_VIEW_MS	10	/* how long an entry stays, about */
#define MLP_VIEW_RUN	64	/* blocks whose entries go at a time; a touch may wait for so many */

/* --- out of the view ------------------------------------------------------------------- */

/* With the locks of all of them. Not the module's own block, in whose place the rings are mapped. */
static void mlp_view_unshow(u32 first, u32 count)
{
	u32 i;

	unmap_mapping_pages(mlp_mapping, (pgoff_t)first * MLP_BLOCK_PAGES, (pgoff_t)count * MLP_BLOCK_PAGES, true);
	for (i = first; i < first + count; i++)
		mlp_block_unmark(i, MLP_MARK_SHOWN);
}

void mlp_view_hide_shown(u32 block)
{
	mlp_block_lock(block);
	if (mlp_block_marked(block, MLP_MARK_SHOWN))
		mlp_view_unshow(block, 1);
	mlp_block_unlock(block);
}

/* So many blocks from `first` on are shown, and we have their locks now. */
static u32 mlp_view_lock_run(u32 first)
{
	u32 n = 0;

	while (n < MLP_VIEW_RUN && first + n < mlp_blocks() && mlp_block_marked(first + n, MLP_MARK_SHOWN) &&
	       mlp_block_trylock(first + n))
		n++;
	return n;
}

/* A block whose lock another has is passed over: he hides it himself, or shows it and has this called again. */
static void mlp_view_work(struct work_struct *work)
{
	u32 first, i, n;

	for (first = 0; (first = mlp_block_next_marked(first, MLP_MARK_SHOWN)) != MLP_NO_BLOCK; first += n ?: 1) {
		n = mlp_view_lock_run(first);
		if (n)
			mlp_view_unshow(first, n);
		for (i = first; i < first + n; i++)
			mlp_block_unlock(i);
		cond_resched();
	}
}

static DECLARE_DELAYED_WORK(mlp_view_worker, mlp_view_work);

/* --- into it --------------------------------------------------------------------------- */

/* May the block be seen? From then on it counts as shown. */
static vm_fault_t mlp_view_admit(u32 block)
{
	u64 owner;

	mlp_rings_lock();
	owner = mlp_block_owner(block);
	if (!owner)
		mlp_block_mark(block, MLP_MARK_SHOWN);
	mlp_rings_unlock();
	if (owner == MLP_OWNER_RETIRED)
		return VM_FAULT_HWPOISON;
	return owner ? VM_FAULT_SIGBUS : 0;
}

/* With the block's lock. */
static vm_fault_t mlp_view_insert(struct vm_fault *vmf, u32 block, bool huge)
{
	vm_fault_t fault;

	if (huge && !mlp_fault_fits_huge(vmf))
		return VM_FAULT_FALLBACK;
	if (!huge && mlp_fault_is_huge(vmf))
		return VM_FAULT_NOPAGE;
	fault = mlp_view_admit(block);
	if (fault)
		return fault;
	if (huge)
		return mlp_insert_pmd(vmf, mlp_block_pfn(block), true);
	return vmf_insert_pfn(vmf->vma, vmf->address, mlp_block_pfn(block) + vmf->pgoff % MLP_BLOCK_PAGES);
}

static vm_fault_t mlp_view_show(struct vm_fault *vmf, bool huge)
{
	vm_fault_t fault;
	u32 block;

	if (vmf->pgoff / MLP_BLOCK_PAGES >= mlp_blocks())
		return VM_FAULT_SIGBUS;
	block = vmf->pgoff / MLP_BLOCK_PAGES;
	mlp_block_lock(block);
	fault = mlp_view_insert(vmf, block, huge);
	mlp_block_unlock(block);
	if (fault == VM_FAULT_NOPAGE)
		schedule_delayed_work(&mlp_view_worker, msecs_to_jiffies(MLP_VIEW_MS));
	return fault;
}

static vm_fault_t mlp_view_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	return order == PMD_ORDER ? mlp_view_show(vmf, true) : VM_FAULT_FALLBACK;
}

static vm_fault_t mlp_view_fault(struct vm_fault *vmf)
{
	return mlp_view_show(vmf, false);
}

const struct vm_operations_struct mlp_view_vm_ops = {
	.huge_fault = mlp_view_huge_fault,
	.fault = mlp_view_fault,
};

int mlp_view_mmap(struct vm_area_struct *vma)
{
	pgoff_t pages = (pgoff_t)MEMLEASE_POOL_MAX_BLOCKS * MLP_BLOCK_PAGES;
	pgoff_t first = vma->vm_pgoff - MLP_VIEW_PGOFF;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff < MLP_VIEW_PGOFF || first >= pages || vma_pages(vma) > pages - first)
		return -EINVAL;
	vma->vm_pgoff = first;
	vma->vm_ops = &mlp_view_vm_ops;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP | VM_HUGEPAGE);
	return 0;
}

void mlp_view_exit(void)
{
	cancel_delayed_work_sync(&mlp_view_worker);
}
