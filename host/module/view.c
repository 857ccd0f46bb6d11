// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's own view of the pool, for zeroing: block b lies at b * 2 MiB, for
 * good. The block of zeros is not in it, and what was retired cannot be touched
 * anew; see pool_module.h.
 */
#include <linux/mm.h>

#include "pool_module.h"

/* Huge faults read, those of single pages write: as with window.lock, see pool_module.h. */
static DECLARE_RWSEM(mlp_view_lock);

#define MLP_VIEW_PGOFF	(MEMLEASE_POOL_OFF_BLOCKS >> PAGE_SHIFT)

/* The block, or why it cannot be seen. */
static vm_fault_t mlp_view_block(const struct vm_fault *vmf, u32 *block)
{
	u64 owner;

	if (vmf->pgoff / MLP_BLOCK_PAGES >= mlp_blocks())
		return VM_FAULT_SIGBUS;
	*block = vmf->pgoff / MLP_BLOCK_PAGES;
	mlp_rings_lock();
	owner = *mlp_block_owner(*block);
	mlp_rings_unlock();
	if (owner == MLP_OWNER_MODULE)
		return VM_FAULT_SIGBUS;
	return owner == MLP_OWNER_RETIRED ? VM_FAULT_HWPOISON : 0;
}

static vm_fault_t mlp_view_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	vm_fault_t fault = VM_FAULT_FALLBACK;
	u32 block;

	if (order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	down_read(&mlp_view_lock);
	if (mlp_fault_fits_huge(vmf)) {
		fault = mlp_view_block(vmf, &block);
		if (!fault)
			fault = mlp_insert_pmd(vmf, mlp_block_pfn(block), true);
	}
	up_read(&mlp_view_lock);
	return fault;
}

static vm_fault_t mlp_view_fault(struct vm_fault *vmf)
{
	vm_fault_t fault = VM_FAULT_NOPAGE;
	u32 block;

	down_write(&mlp_view_lock);
	if (!mlp_fault_is_huge(vmf)) {
		fault = mlp_view_block(vmf, &block);
		if (!fault)
			fault = vmf_insert_pfn(vmf->vma, vmf->address,
					       mlp_block_pfn(block) + vmf->pgoff % MLP_BLOCK_PAGES);
	}
	up_write(&mlp_view_lock);
	return fault;
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
