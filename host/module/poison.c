// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory errors that hardware or kernel report in our ranges; see pool_module.h.
 * They come in contexts that cannot wait for our locks: a bit is set for the block,
 * and a work item retires it. Two sources:
 *
 * - machine checks of x86, which any kernel tells to whoever registers;
 * - memory_failure() of 7.2 and later, which asks for the page of each mapping that
 *   shows a page without page array, to send the signal there. Only mappings are
 *   asked about, of processes that want to know early (QEMU, and the daemon whose
 *   view of the pool is one), so this alone would miss blocks.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/notifier.h>
#include <linux/workqueue.h>

#include "pool_module.h"

#define MLP_POISON_MS	20	/* until then the kernel has asked about all mappings of the page */

static void mlp_poison_work(struct work_struct *work)
{
	struct mlp_range *r;
	unsigned long bit;
	u32 i;

	for (i = 0; (r = mlp_range_at(i)); i++) {
		for_each_set_bit(bit, r->poison, r->blocks) {
			clear_bit(bit, r->poison);
			mlp_slots_retire(r->first_block + bit);
		}
	}
}

static DECLARE_DELAYED_WORK(mlp_poison_worker, mlp_poison_work);

static void mlp_poison_block(u32 block)
{
	struct mlp_range *r;
	u32 i;

	for (i = 0; (r = mlp_range_at(i)); i++) {
		if (block - r->first_block < r->blocks) {
			set_bit(block - r->first_block, r->poison);
			schedule_delayed_work(&mlp_poison_worker, msecs_to_jiffies(MLP_POISON_MS));
			return;
		}
	}
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
	owner = *mlp_block_owner(block);
	mlp_rings_unlock();
	w = vma->vm_private_data;
	if (owner >> 32 != w->id || (u32)owner >= w->slots)
		return -EFAULT;
	*pgoff = w->pgoff + (pgoff_t)(u32)owner * MLP_BLOCK_PAGES + pfn % MLP_BLOCK_PAGES;
	if (*pgoff - vma->vm_pgoff >= vma_pages(vma))
		return -EFAULT;
	return 0;
}

void mlp_poison_watch(struct mlp_range *r)
{
	r->watch.space = (struct pfn_address_space){
		.node.start = PHYS_PFN(r->base),
		.node.last = PHYS_PFN(r->base + r->bytes) - 1,
		.mapping = mlp_mapping,
		.pfn_to_vma_pgoff = mlp_pfn_to_pgoff,
	};
	r->watch.on = !register_pfn_address_space(&r->watch.space);
	if (!r->watch.on)
		pr_warn("memory errors at %#llx will not be reported by the kernel\n", r->base);
}

void mlp_poison_unwatch(struct mlp_range *r)
{
	if (r->watch.on)
		unregister_pfn_address_space(&r->watch.space);
	r->watch.on = false;
}
#else
void mlp_poison_watch(struct mlp_range *r)
{
}

void mlp_poison_unwatch(struct mlp_range *r)
{
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
	struct mlp_range *r;
	u32 i;

#ifdef MLP_HAVE_MCE
	mce_unregister_decode_chain(&mlp_machine_check_nb);
#endif
	for (i = 0; (r = mlp_range_at(i)); i++)
		mlp_poison_unwatch(r);
	cancel_delayed_work_sync(&mlp_poison_worker);
}
