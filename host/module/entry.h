/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page fault finds in the page table already. For faults of windows and of the daemon's
 * view of the pool.
 */
#ifndef MEMLEASE_POOL_ENTRY_H
#define MEMLEASE_POOL_ENTRY_H

#include <linux/mm.h>

#include "ranges.h"

/* Is there room in the mapping for one huge entry at the fault, and none but such? */
static inline bool mlp_fault_fits_huge(const struct vm_fault *vmf)
{
	unsigned long addr = vmf->address & PMD_MASK;
	pmd_t pmd;

	if (addr < vmf->vma->vm_start || addr + PMD_SIZE > vmf->vma->vm_end ||
	    ((vmf->address >> PAGE_SHIFT) ^ vmf->pgoff) % MLP_BLOCK_PAGES)
		return false;
	/* A page table stays where it is: its pages are asked for one by one. */
	pmd = pmdp_get_lockless(vmf->pmd);
	return pmd_none(pmd) || pmd_leaf(pmd);
}

/* For a fault of a single page: has another put a huge entry there? Then it is to be done again. */
static inline bool mlp_fault_is_huge(const struct vm_fault *vmf)
{
	return pmd_leaf(pmdp_get_lockless(vmf->pmd));
}

/* A page table that is there stays, for we hold an mmap or VMA lock, and nothing here frees one. */
static inline bool mlp_fault_has_table(const struct vm_fault *vmf)
{
	pmd_t pmd = pmdp_get_lockless(vmf->pmd);

	return pmd_present(pmd) && !pmd_leaf(pmd);
}

#endif /* MEMLEASE_POOL_ENTRY_H */
