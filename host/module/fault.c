// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Touches of a window, by QEMU and by KVM; see pool_module.h. One block is
 * mapped by one huge entry. Where Linux cannot have one (a mapping that does not
 * begin at 2 MiB, huge pages switched off) it asks for single pages instead.
 *
 * A task that has to wait for a block gives up the lock of its memory map first,
 * or its other threads, and whoever looks at it, would hang too. It may then only
 * say "again": that its time is over is remembered in the window, whose VM is
 * done for in any case.
 */
#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>

#include "compat.h"
#include "pool_module.h"

#define MLP_NO_RETRY_MS	100	/* longest pause where the lock cannot be given up */

static u32 mlp_fault_slot(const struct vm_fault *vmf)
{
	return vmf->pgoff >> (MEMLEASE_POOL_BLOCK_SHIFT - PAGE_SHIFT);
}

static vm_fault_t mlp_violation(struct mlp_window *w, u32 slot)
{
	pr_warn_ratelimited("memlease: %s[%d] wrote to slot %u of window %s, which is not committed\n",
			    current->comm, task_tgid_nr(current), slot, w->name);
	spin_lock(&mlp_rings_lock);
	mlp_touch(MEMLEASE_TOUCH_VIOLATION, w->id, slot, MLP_NO_BLOCK);
	spin_unlock(&mlp_rings_lock);
	return VM_FAULT_SIGBUS;
}

/* Put a block behind a COMMITTED slot. Under window.lock for reading. Returns the word. */
static u32 mlp_take(struct mlp_window *w, u32 slot)
{
	u32 word, block;

	spin_lock(&mlp_rings_lock);
	word = READ_ONCE(w->slot[slot]);
	if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_COMMITTED) {
		block = mlp_supply_take(MLP_OWNER(w->id, slot));
		if (block != MLP_NO_BLOCK) {
			word = MEMLEASE_SLOT_RESIDENT | block << 2;
			WRITE_ONCE(w->slot[slot], word);
			atomic_inc(&w->resident);
			mlp_touch(MEMLEASE_TOUCH_TAKEN, w->id, slot, block);
		}
	}
	spin_unlock(&mlp_rings_lock);
	return word;
}

/* No block is to be had: wait, without any lock where that is possible. */
static vm_fault_t mlp_wait(struct mlp_window *w, struct vm_fault *vmf, u32 slot)
{
	if (READ_ONCE(w->starved))
		return VM_FAULT_SIGBUS;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		schedule_timeout_killable(msecs_to_jiffies(MLP_NO_RETRY_MS));
		return VM_FAULT_NOPAGE;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	/* The window lives as long as the file of the mapping, and this task holds none. */
	get_device(&w->dev);
	release_fault_lock(vmf);
	if (!mlp_supply_wait()) {
		WRITE_ONCE(w->starved, true);
		pr_warn_ratelimited("memlease: %s[%d] waited %d s for a block of window %s, and there came none\n",
				    current->comm, task_tgid_nr(current),
				    MEMLEASE_POOL_WAIT_MS / 1000, w->name);
		spin_lock(&mlp_rings_lock);
		mlp_touch(MEMLEASE_TOUCH_TIMEOUT, w->id, slot, MLP_NO_BLOCK);
		spin_unlock(&mlp_rings_lock);
	}
	put_device(&w->dev);
	return VM_FAULT_RETRY;
}

/*
 * What to show at a slot, as a word: RESIDENT with its block, or the block of
 * zeros with *write cleared. Any other return is *fault. Under window.lock.
 */
static bool mlp_resolve(struct mlp_window *w, struct vm_fault *vmf, u32 slot, u32 *block, bool *write,
			vm_fault_t *fault)
{
	u32 word = READ_ONCE(w->slot[slot]);

	if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_COMMITTED)
		word = mlp_take(w, slot);
	*write = true;
	switch (MEMLEASE_SLOT_STATE(word)) {
	case MEMLEASE_SLOT_RESIDENT:
		*block = MEMLEASE_SLOT_BLOCK(word);
		return true;
	case MEMLEASE_SLOT_VACANT:
		*fault = VM_FAULT_SIGBUS;
		if (vmf->flags & FAULT_FLAG_WRITE) {
			*fault = mlp_violation(w, slot);
			return false;
		}
		*block = mlp_zero_block();
		*write = false;
		return *block != MLP_NO_BLOCK;
	case MEMLEASE_SLOT_LOST:
		*fault = VM_FAULT_HWPOISON;
		return false;
	}
	*fault = 0;	/* COMMITTED still: the supply is empty */
	return false;
}

static vm_fault_t mlp_window_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mlp_window *w = vma->vm_private_data;
	unsigned long addr = vmf->address & PMD_MASK;
	vm_fault_t fault = 0;
	u32 slot = mlp_fault_slot(vmf), block;
	bool write;

	if (order != PMD_ORDER || addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end ||
	    ((addr >> PAGE_SHIFT) - (vma->vm_start >> PAGE_SHIFT) + vma->vm_pgoff) % MLP_BLOCK_PAGES)
		return VM_FAULT_FALLBACK;
	if (slot >= w->slots)
		return VM_FAULT_SIGBUS;
	down_read(&w->lock);
	if (mlp_resolve(w, vmf, slot, &block, &write, &fault))
		fault = mlp_insert_pmd(vmf, mlp_block_pfn(block), write);
	up_read(&w->lock);
	return fault ?: mlp_wait(w, vmf, slot);
}

static vm_fault_t mlp_window_fault(struct vm_fault *vmf)
{
	struct mlp_window *w = vmf->vma->vm_private_data;
	vm_fault_t fault = 0;
	u32 slot = mlp_fault_slot(vmf), block;
	bool write;

	if (slot >= w->slots)
		return VM_FAULT_SIGBUS;
	down_read(&w->lock);
	if (mlp_resolve(w, vmf, slot, &block, &write, &fault))
		fault = vmf_insert_pfn(vmf->vma, vmf->address,
				       mlp_block_pfn(block) + vmf->pgoff % MLP_BLOCK_PAGES);
	up_read(&w->lock);
	return fault ?: mlp_wait(w, vmf, slot);
}

/*
 * The first write through a single-page entry. One that shows zeros was removed
 * when its slot got a block, so an entry that is still there is of the slot's
 * state now.
 */
static vm_fault_t mlp_window_pfn_mkwrite(struct vm_fault *vmf)
{
	struct mlp_window *w = vmf->vma->vm_private_data;
	u32 slot = mlp_fault_slot(vmf);
	vm_fault_t fault = 0;

	down_read(&w->lock);
	if (slot >= w->slots)
		fault = VM_FAULT_SIGBUS;
	else if (MEMLEASE_SLOT_STATE(READ_ONCE(w->slot[slot])) == MEMLEASE_SLOT_VACANT)
		fault = mlp_violation(w, slot);
	else if (MEMLEASE_SLOT_STATE(READ_ONCE(w->slot[slot])) != MEMLEASE_SLOT_RESIDENT)
		fault = VM_FAULT_NOPAGE;
	up_read(&w->lock);
	return fault;
}

/* A mapping cannot be cut inside a block: what is left would have to be single pages. */
static int mlp_window_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return (addr - vma->vm_start + (vma->vm_pgoff << PAGE_SHIFT)) % MLP_BLOCK_BYTES ? -EINVAL : 0;
}

const struct vm_operations_struct mlp_window_vm_ops = {
	.huge_fault = mlp_window_huge_fault,
	.fault = mlp_window_fault,
	.pfn_mkwrite = mlp_window_pfn_mkwrite,
	.may_split = mlp_window_may_split,
};

/* The daemon's own view of the pool, in which nothing ever changes. */
static vm_fault_t mlp_pool_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	u64 block = ((u64)vmf->pgoff << PAGE_SHIFT) - MEMLEASE_POOL_OFF_BLOCKS;

	block >>= MEMLEASE_POOL_BLOCK_SHIFT;
	if (order != PMD_ORDER || (vmf->address & PMD_MASK) < vmf->vma->vm_start ||
	    (vmf->address & PMD_MASK) + PMD_SIZE > vmf->vma->vm_end)
		return VM_FAULT_FALLBACK;
	if (block >= mlp_blocks())
		return VM_FAULT_SIGBUS;
	return mlp_insert_pmd(vmf, mlp_block_pfn(block), true);
}

static vm_fault_t mlp_pool_fault(struct vm_fault *vmf)
{
	u64 block = ((u64)vmf->pgoff << PAGE_SHIFT) - MEMLEASE_POOL_OFF_BLOCKS;

	block >>= MEMLEASE_POOL_BLOCK_SHIFT;
	if (block >= mlp_blocks())
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      mlp_block_pfn(block) + vmf->pgoff % MLP_BLOCK_PAGES);
}

const struct vm_operations_struct mlp_pool_vm_ops = {
	.huge_fault = mlp_pool_huge_fault,
	.fault = mlp_pool_fault,
};
