// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The slots of a window, as far as touches change them, and the address space in which
 * windows are mapped; see window.h. Other changes of slots are made by slots.c.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "ranges.h"
#include "rings.h"
#include "window.h"

/*
 * Places in mlp_mapping, in pages: the pool comes first, then one stretch for each
 * window index. All of them fit what the kernel takes for an offset of a file.
 */
#define MLP_WINDOW_PAGES	((pgoff_t)MEMLEASE_POOL_MAX_SLOTS * MLP_BLOCK_PAGES)
#define MLP_POOL_STRETCHES	(MEMLEASE_POOL_MAX_BLOCKS / MEMLEASE_POOL_MAX_SLOTS + 1)

#define MLP_BLOCK_ORDER		(MEMLEASE_POOL_BLOCK_SHIFT - PAGE_SHIFT)

struct address_space *mlp_mapping;

static struct file *mlp_mapping_file;	/* what holds it */

u32 mlp_window_word(const struct mlp_window *w, u32 slot)
{
	u32 word = READ_ONCE(w->slot[slot]);

	return MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_COMMITTED ? MEMLEASE_SLOT_COMMITTED : word;
}

u32 mlp_window_take(struct mlp_window *w, u32 slot)
{
	u32 word, block;

	mlp_rings_lock();
	word = READ_ONCE(w->slot[slot]);
	if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_COMMITTED) {
		block = mlp_supply_take(MLP_OWNER(w->id, slot));
		if (block != MLP_NO_BLOCK) {
			word = MEMLEASE_SLOT_RESIDENT | block << 2;
			/* Who reads it without the lock sees the block's marks as they are here. */
			smp_store_release(&w->slot[slot], word);
			WRITE_ONCE(w->starved, false);
			atomic_inc(&w->resident);
			mlp_touch(MEMLEASE_TOUCH_TAKEN, w->id, slot, block);
		}
	}
	mlp_rings_unlock();
	return word;
}

void mlp_window_unshow(struct mlp_window *w, u32 first, u32 count)
{
	if (READ_ONCE(w->mapped))
		unmap_mapping_pages(mlp_mapping, w->pgoff + (pgoff_t)first * MLP_BLOCK_PAGES,
				    (pgoff_t)count * MLP_BLOCK_PAGES, true);
}

int mlp_window_init(struct mlp_window *w, const char *name, u32 slots)
{
	w->slot = kvcalloc(slots, sizeof(*w->slot), GFP_KERNEL);
	if (!w->slot)
		return -ENOMEM;
	w->slots = slots;
	strscpy(w->name, name, sizeof(w->name));
	init_rwsem(&w->lock);
	spin_lock_init(&w->mappers_lock);
	INIT_LIST_HEAD(&w->mappers);
	return 0;
}

void mlp_window_place(struct mlp_window *w, u32 place)
{
	w->pgoff = (MLP_POOL_STRETCHES + place) * MLP_WINDOW_PAGES;
}

bool mlp_window_end(struct mlp_window *w)
{
	bool dead;

	down_write(&w->lock);
	dead = !atomic_read(&w->resident);
	w->dead = dead;
	up_write(&w->lock);
	return dead;
}

/*
 * Each window has zeros of its own: by one block that all VMs show they could signal each other
 * through the processor's caches, and flip each other's bits. As pages of their own, not as one
 * of 2 MiB, for KVM holds the very page that it looks at.
 */
static void mlp_zeros_free(struct page *zeros)
{
	u32 i;

	for (i = 0; zeros && i < MLP_BLOCK_PAGES; i++)
		__free_page(zeros + i);
}

int mlp_window_need_zeros(struct mlp_window *w)
{
	struct page *zeros;

	if (READ_ONCE(w->zeros) || READ_ONCE(w->committed) == w->slots)
		return 0;
	zeros = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL, MLP_BLOCK_ORDER);
	if (!zeros)
		return -ENOMEM;
	split_page(zeros, MLP_BLOCK_ORDER);
	if (cmpxchg(&w->zeros, NULL, zeros))
		mlp_zeros_free(zeros);
	return 0;
}

bool mlp_window_zeros(const struct mlp_window *w, unsigned long *pfn)
{
	const struct page *zeros = READ_ONCE(w->zeros);
	u32 block = mlp_zero_block();

	if (!zeros && block == MLP_NO_BLOCK)
		return false;
	*pfn = zeros ? page_to_pfn(zeros) : mlp_block_pfn(block);
	return true;
}

void mlp_window_free(struct mlp_window *w)
{
	mlp_zeros_free(w->zeros);
	kvfree(w->slot);
}

/* --- the address space ------------------------------------------------------------- */

static const struct file_operations mlp_mapping_fops = {
	.llseek = noop_llseek,
};

int mlp_mapping_init(void)
{
	BUILD_BUG_ON(PMD_SHIFT != MEMLEASE_POOL_BLOCK_SHIFT);
	mlp_mapping_file = anon_inode_create_getfile("[memlease]", &mlp_mapping_fops, NULL, O_RDWR, NULL);
	if (IS_ERR(mlp_mapping_file))
		return PTR_ERR(mlp_mapping_file);
	mlp_mapping = file_inode(mlp_mapping_file)->i_mapping;
	return 0;
}

void mlp_mapping_exit(void)
{
	/* Not later: its operations are the module's, which is about to go. */
	__fput_sync(mlp_mapping_file);
}
