// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory errors in our ranges; see poison.h. Reports of hardware and kernel come in contexts
 * that cannot wait for our locks: a bit is set for the block, and a work item retires it.
 * Two sources:
 *
 * - machine checks of x86, for which a module can register with any kernel;
 * - memory_failure() of 7.2 and later, which asks for the page of each mapping that
 *   shows a page without page array, to send the signal there. Only mappings are
 *   asked about, of processes that want to know early (QEMU, and the daemon whose
 *   view of the pool is one), so this alone would miss blocks.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/notifier.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "daemon_view.h"
#include "fault.h"
#include "poison.h"
#include "ranges.h"
#include "rings.h"
#include "slots.h"
#include "window_device.h"

#define MLP_POISON_MS	20	/* until then the kernel has asked about all mappings of the page */

static atomic_t mlp_retired;	/* blocks */

u32 mlp_poison_retired(void)
{
	return atomic_read(&mlp_retired);
}

int mlp_poison_retire(u32 block)
{
	struct mlp_window *w = NULL;
	bool lost = false;
	u64 owner;

	if (block >= mlp_blocks())
		return -EINVAL;
	mlp_rings_lock();
	owner = mlp_block_retire(block);
	mlp_rings_unlock();
	if (owner == MLP_OWNER_RETIRED)
		return 0;
	atomic_inc(&mlp_retired);
	mlp_view_hide(block);
	if (owner == MLP_OWNER_MODULE) {
		mlp_zero_broke();
		mlp_devices_unshow_zeros();
	} else if (owner) {
		w = mlp_device_get(owner >> 32);
	}
	if (w)
		lost = mlp_slots_lose(w, (u32)owner, block);
	pr_warn("block %u (physical address %#llx) is retired: memory error%s%s\n", block,
		(u64)PFN_PHYS(mlp_block_pfn(block)), lost ? ", behind a slot of " : "", lost ? w->name : "");
	mlp_rings_lock();
	mlp_touch(MEMLEASE_TOUCH_ERROR, lost ? w->id : 0, lost ? (u32)owner : 0, block);
	mlp_rings_unlock();
	if (w)
		mlp_device_put(w);
	return 0;
}

/* --- reports ------------------------------------------------------------------------- */

static void mlp_poison_work(struct work_struct *work)
{
	u32 block;

	for (block = 0; (block = mlp_block_next_marked(block, MLP_MARK_ERROR)) != MLP_NO_BLOCK; block++) {
		mlp_block_unmark(block, MLP_MARK_ERROR);
		mlp_poison_retire(block);
	}
}

static DECLARE_DELAYED_WORK(mlp_poison_worker, mlp_poison_work);

static void mlp_poison_block(u32 block)
{
	mlp_block_mark(block, MLP_MARK_ERROR);
	schedule_delayed_work(&mlp_poison_worker, msecs_to_jiffies(MLP_POISON_MS));
}

#ifdef MLP_HAVE_MCE
static int mlp_machine_check(struct notifier_block *nb, unsigned long action, void *data)
{
	struct mce *m = data;
	u32 block;

	if (!m || !(m->status & (MCI_STATUS_UC | MCI_STATUS_DEFERRED)))
		return NOTIFY_DONE;
	if (!mce_is_memory_error(m) || !mce_usable_address(m))
		return NOTIFY_DONE;
	/* Without the bits of the key that the memory is encrypted with. */
	block = mlp_block_of_pfn(PHYS_PFN(m->addr & MCI_ADDR_PHYSADDR));
	if (block == MLP_NO_BLOCK)
		return NOTIFY_DONE;
	mlp_poison_block(block);
	return NOTIFY_OK;
}

static struct notifier_block mlp_machine_check_nb = {
	.notifier_call = mlp_machine_check,
	.priority = MCE_PRIO_UC,
};
#endif

#ifdef MLP_HAVE_PFN_WATCH
/* Called with spinlocks and RCU held, once for each mapping of mlp_mapping. */
static int mlp_pfn_to_pgoff(struct vm_area_struct *vma, unsigned long pfn, pgoff_t *pgoff)
{
	struct mlp_window *w;
	u32 block = mlp_block_of_pfn(pfn);
	u64 owner;

	if (block == MLP_NO_BLOCK)
		return -EFAULT;
	mlp_poison_block(block);
	/* The daemon needs no signal: it hears of it through the touches. */
	if (vma->vm_ops != &mlp_window_vm_ops)
		return -EFAULT;
	mlp_rings_lock();
	owner = mlp_block_owner(block);
	mlp_rings_unlock();
	w = vma->vm_private_data;
	if (owner >> 32 != w->id || (u32)owner >= w->slots)
		return -EFAULT;
	*pgoff = w->pgoff + (pgoff_t)(u32)owner * MLP_BLOCK_PAGES + pfn % MLP_BLOCK_PAGES;
	if (*pgoff - vma->vm_pgoff >= vma_pages(vma))
		return -EFAULT;
	return 0;
}

static struct mlp_pfn_watch mlp_watches[MEMLEASE_POOL_MAX_RANGES];

void mlp_poison_watch(const struct memlease_pool_range *range)
{
	struct mlp_pfn_watch *watch = &mlp_watches[range->index];

	watch->space = (struct pfn_address_space){
		.node.start = PHYS_PFN(range->base),
		.node.last = PHYS_PFN(range->base + range->bytes) - 1,
		.mapping = mlp_mapping,
		.pfn_to_vma_pgoff = mlp_pfn_to_pgoff,
	};
	watch->on = !register_pfn_address_space(&watch->space);
	if (!watch->on)
		pr_warn("memory errors at %#llx will not be reported by the kernel\n", range->base);
}

static void mlp_poison_unwatch(void)
{
	u32 i;

	for (i = 0; i < MEMLEASE_POOL_MAX_RANGES; i++) {
		if (mlp_watches[i].on)
			unregister_pfn_address_space(&mlp_watches[i].space);
		mlp_watches[i].on = false;
	}
}

u64 mlp_poison_metadata(void)
{
	return sizeof(mlp_watches);
}
#else
void mlp_poison_watch(const struct memlease_pool_range *range)
{
}

static void mlp_poison_unwatch(void)
{
}

u64 mlp_poison_metadata(void)
{
	return 0;
}
#endif

int mlp_poison_init(void)
{
#ifdef MLP_HAVE_MCE
	mce_register_decode_chain(&mlp_machine_check_nb);
#endif
	return 0;
}

void mlp_poison_exit(void)
{
#ifdef MLP_HAVE_MCE
	mce_unregister_decode_chain(&mlp_machine_check_nb);
#endif
	mlp_poison_unwatch();
	cancel_delayed_work_sync(&mlp_poison_worker);
}
