// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whoever changes slots but for a touch; see pool_module.h. All of it under
 * window.lock for writing: the words first, then the entries that show the old
 * ones, then the owners of the blocks, which may go to another slot from then on.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "pool_module.h"

/* Remove all entries that show these slots, QEMU's and, through notifiers, KVM's. */
static void mlp_zap(struct mlp_window *w, u32 first, u32 count)
{
	if (w->mapped)
		unmap_mapping_range(w->inode->i_mapping, (loff_t)first << MEMLEASE_POOL_BLOCK_SHIFT,
				    (loff_t)count << MEMLEASE_POOL_BLOCK_SHIFT, 1);
}

static int mlp_check(const struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		if (!extents[i].count || extents[i].first >= w->slots ||
		    extents[i].count > w->slots - extents[i].first)
			return -EINVAL;
	}
	return 0;
}

static void mlp_disown(const u32 *blocks, u32 n)
{
	u32 i;

	spin_lock(&mlp_rings_lock);
	for (i = 0; i < n; i++) {
		if (*mlp_block_owner(blocks[i]) != MLP_OWNER_RETIRED)
			*mlp_block_owner(blocks[i]) = 0;
	}
	spin_unlock(&mlp_rings_lock);
}

/*
 * Make the slots of one extent `to`, and collect what stood behind them. Under
 * the lock. Only those in a state of `from` change.
 */
static void mlp_turn(struct mlp_window *w, struct memlease_pool_extent x, u32 from, u32 to, u32 *blocks,
		     u32 *taken)
{
	u32 i, word;

	for (i = x.first; i < x.first + x.count; i++) {
		word = w->slot[i];
		if (!(from & BIT(MEMLEASE_SLOT_STATE(word))))
			continue;
		if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_RESIDENT) {
			blocks[(*taken)++] = MEMLEASE_SLOT_BLOCK(word);
			atomic_dec(&w->resident);
		}
		w->committed += (to != MEMLEASE_SLOT_VACANT);
		w->committed -= (MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_VACANT);
		WRITE_ONCE(w->slot[i], to);
	}
	mlp_zap(w, x.first, x.count);
}

static int mlp_change(struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n, u32 from,
		      u32 to, u32 *blocks, u32 *taken)
{
	u32 i;
	int rc = mlp_check(w, extents, n);

	*taken = 0;
	if (rc)
		return rc;
	down_write(&w->lock);
	for (i = 0; i < n; i++)
		mlp_turn(w, extents[i], from, to, blocks, taken);
	mlp_disown(blocks, *taken);
	up_write(&w->lock);
	return 0;
}

int mlp_slots_commit(struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n, bool on,
		     u32 *blocks, u32 *taken)
{
	if (on)
		return mlp_change(w, extents, n, BIT(MEMLEASE_SLOT_VACANT), MEMLEASE_SLOT_COMMITTED,
				  blocks, taken);
	return mlp_change(w, extents, n, BIT(MEMLEASE_SLOT_COMMITTED) | BIT(MEMLEASE_SLOT_RESIDENT) |
			  BIT(MEMLEASE_SLOT_LOST), MEMLEASE_SLOT_VACANT, blocks, taken);
}

int mlp_slots_unmap(struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n, u32 *blocks,
		    u32 *taken)
{
	return mlp_change(w, extents, n, BIT(MEMLEASE_SLOT_RESIDENT), MEMLEASE_SLOT_COMMITTED, blocks,
			  taken);
}

/* Make a free block the window's. -EBUSY if it is not free, -EINVAL if there is none such. */
static int mlp_own(struct mlp_window *w, u32 slot, u32 block)
{
	int rc = -EBUSY;

	if (block >= mlp_blocks())
		return -EINVAL;
	spin_lock(&mlp_rings_lock);
	if (!*mlp_block_owner(block)) {
		*mlp_block_owner(block) = MLP_OWNER(w->id, slot);
		rc = 0;
	}
	spin_unlock(&mlp_rings_lock);
	return rc;
}

int mlp_slots_map(struct mlp_window *w, u32 slot, u32 block)
{
	u32 state;
	int rc;

	if (slot >= w->slots)
		return -EINVAL;
	down_write(&w->lock);
	state = MEMLEASE_SLOT_STATE(w->slot[slot]);
	if (state == MEMLEASE_SLOT_RESIDENT)
		rc = -EEXIST;
	else if (state != MEMLEASE_SLOT_COMMITTED)
		rc = -EPERM;
	else
		rc = mlp_own(w, slot, block);
	if (!rc) {
		WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_RESIDENT | block << 2);
		atomic_inc(&w->resident);
		w->starved = false;
	}
	up_write(&w->lock);
	return rc;
}

int mlp_slots_move(struct mlp_window *w, u32 slot, u32 *block)
{
	u32 word, old;
	int rc;

	if (slot >= w->slots)
		return -EINVAL;
	down_write(&w->lock);
	word = w->slot[slot];
	rc = -EAGAIN;
	if (MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_RESIDENT)
		goto out;
	rc = mlp_own(w, slot, *block);
	if (rc)
		goto out;
	old = MEMLEASE_SLOT_BLOCK(word);
	/* Nobody writes to the old one once its entries are gone; who tries waits for the lock. */
	mlp_zap(w, slot, 1);
	memcpy(mlp_block_memory(*block), mlp_block_memory(old), MLP_BLOCK_BYTES);
	WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_RESIDENT | *block << 2);
	mlp_disown(&old, 1);
	*block = old;
out:
	up_write(&w->lock);
	return rc;
}

int mlp_slots_retire(u32 block)
{
	struct mlp_window *w;
	u64 owner;
	u32 slot;

	if (block >= mlp_blocks() || block == mlp_zero_block())
		return -EINVAL;
	spin_lock(&mlp_rings_lock);
	owner = *mlp_block_owner(block);
	*mlp_block_owner(block) = MLP_OWNER_RETIRED;
	spin_unlock(&mlp_rings_lock);
	if (owner == MLP_OWNER_RETIRED)
		return 0;
	w = owner ? mlp_window_find(owner >> 32) : NULL;
	slot = (u32)owner;
	if (w) {
		down_write(&w->lock);
		if (w->slot[slot] == (MEMLEASE_SLOT_RESIDENT | block << 2)) {
			WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_LOST);
			atomic_dec(&w->resident);
			mlp_zap(w, slot, 1);
		}
		up_write(&w->lock);
	}
	spin_lock(&mlp_rings_lock);
	mlp_touch(MEMLEASE_TOUCH_ERROR, w ? w->id : 0, w ? slot : 0, block);
	spin_unlock(&mlp_rings_lock);
	return 0;
}

void mlp_slots_empty(struct mlp_window *w)
{
	u32 i, block;

	down_write(&w->lock);
	for (i = 0; i < w->slots; i++) {
		if (MEMLEASE_SLOT_STATE(w->slot[i]) == MEMLEASE_SLOT_RESIDENT) {
			block = MEMLEASE_SLOT_BLOCK(w->slot[i]);
			mlp_disown(&block, 1);
			atomic_dec(&w->resident);
		}
		w->slot[i] = MEMLEASE_SLOT_VACANT;
		if (!(i % 4096))
			cond_resched();
	}
	w->committed = 0;
	up_write(&w->lock);
}
