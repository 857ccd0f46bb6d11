// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All changes of slots but those that touches make; see slots.h. Under window.lock for
 * writing: the words first, then the entries that show the old ones, then the owners of the
 * blocks, which may go to another slot from then on.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "daemon_view.h"
#include "mappers.h"
#include "ranges.h"
#include "rings.h"
#include "slots.h"
#include "wait.h"

#define MLP_BATCH	4096	/* slots looked at in one holding of the lock */
#define MLP_COPY_BYTES	(128UL << 10)	/* of a move, between two chances for others to run */

/* What COMMIT and UNMAP do: slots in a state of `from` become `to`. */
struct mlp_change {
	u32 from;	/* bits by state */
	u32 to;
};

/* Where such a call is: the next slot of the next extent; blocks of this batch. */
struct mlp_progress {
	const struct memlease_pool_extent *extents;
	u32 number, extent, done;
	u32 *blocks;
	u32 taken;
};

static void mlp_disown(const u32 *blocks, u32 n)
{
	u32 i;

	mlp_rings_lock();
	for (i = 0; i < n; i++)
		mlp_block_disown(blocks[i]);
	mlp_rings_unlock();
}

/* --- COMMIT and UNMAP -------------------------------------------------------------- */

/* Slots of one extent. Entries are removed in one go, from the first changed to the last. */
static void mlp_change_piece(struct mlp_window *w, struct mlp_change c, u32 first, u32 count,
			     struct mlp_progress *p)
{
	u32 i, word, lo = 0, hi = 0;

	for (i = first; i < first + count; i++) {
		word = w->slot[i];
		if (!(c.from & BIT(MEMLEASE_SLOT_STATE(word))))
			continue;
		if (MEMLEASE_SLOT_STATE(word) == MEMLEASE_SLOT_RESIDENT) {
			p->blocks[p->taken++] = MEMLEASE_SLOT_BLOCK(word);
			atomic_dec(&w->resident);
		}
		w->committed += c.to != MEMLEASE_SLOT_VACANT;
		w->committed -= MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_VACANT;
		WRITE_ONCE(w->slot[i], c.to);
		lo = hi ? lo : i;
		hi = i + 1;
	}
	if (!hi)
		return;
	mlp_window_unshow(w, lo, hi - lo);
	if (c.to == MEMLEASE_SLOT_VACANT)
		mlp_wait_changed(w, lo, hi - lo);
}

/* As much as goes into one holding of the lock. */
static int mlp_change_batch(struct mlp_window *w, struct mlp_change c, struct mlp_progress *p)
{
	u32 room = MLP_BATCH, count;

	p->taken = 0;
	mlp_lock_slots(w);
	if (w->dead) {
		mlp_unlock_slots(w);
		return -ENOENT;
	}
	while (room && p->extent < p->number) {
		const struct memlease_pool_extent *x = &p->extents[p->extent];

		count = min(x->count - p->done, room);
		mlp_change_piece(w, c, x->first + p->done, count, p);
		room -= count;
		p->done += count;
		if (p->done == x->count) {
			p->done = 0;
			p->extent++;
		}
	}
	mlp_disown(p->blocks, p->taken);
	mlp_unlock_slots(w);
	return 0;
}

/* *slots: how many they are, which is how many blocks can be taken. */
static int mlp_check_extents(const struct mlp_window *w, const struct memlease_pool_extent *x, u32 n,
			     size_t *slots)
{
	u32 i;

	*slots = 0;
	for (i = 0; i < n; i++) {
		if (!x[i].count || x[i].first >= w->slots || x[i].count > w->slots - x[i].first)
			return -EINVAL;
		*slots += x[i].count;
	}
	return *slots > w->slots ? -EINVAL : 0;
}

static int mlp_change_all(struct mlp_window *w, struct mlp_change c, struct memlease_pool_slots_op *op,
			  struct mlp_progress *p)
{
	u32 __user *out = u64_to_user_ptr(op->blocks_ptr);
	size_t slots;
	int rc = mlp_check_extents(w, p->extents, p->number, &slots);

	/* Checked before a block is taken whose number could not be told to the daemon. */
	if (!rc && (c.from & BIT(MEMLEASE_SLOT_RESIDENT)) &&
	    fault_in_safe_writeable((char __user *)out, slots * sizeof(*out)))
		rc = -EFAULT;
	while (!rc && p->extent < p->number) {
		rc = mlp_change_batch(w, c, p);
		if (!rc && p->taken && copy_to_user(out + op->taken, p->blocks, p->taken * sizeof(*out)))
			rc = -EFAULT;
		op->taken += p->taken;
		cond_resched();
	}
	return rc;
}

static int mlp_change(struct mlp_window *w, struct mlp_change c, struct memlease_pool_slots_op *op)
{
	struct memlease_pool_extent *extents;
	struct mlp_progress p = { .number = op->extents };
	int rc;

	if (!op->extents || op->extents > MEMLEASE_POOL_MAX_EXTENTS)
		return -EINVAL;
	extents = memdup_array_user(u64_to_user_ptr(op->extent_ptr), op->extents, sizeof(*extents));
	if (IS_ERR(extents))
		return PTR_ERR(extents);
	p.extents = extents;
	p.blocks = kvmalloc_array(MLP_BATCH, sizeof(*p.blocks), GFP_KERNEL);
	op->taken = 0;
	rc = p.blocks ? mlp_change_all(w, c, op, &p) : -ENOMEM;
	kvfree(p.blocks);
	kfree(extents);
	return rc;
}

int mlp_slots_commit(struct mlp_window *w, struct memlease_pool_slots_op *op)
{
	static const struct mlp_change on = {
		.from = BIT(MEMLEASE_SLOT_VACANT),
		.to = MEMLEASE_SLOT_COMMITTED,
	};
	static const struct mlp_change off = {
		.from = BIT(MEMLEASE_SLOT_COMMITTED) | BIT(MEMLEASE_SLOT_RESIDENT) | BIT(MEMLEASE_SLOT_LOST),
		.to = MEMLEASE_SLOT_VACANT,
	};

	if (op->on > 1)
		return -EINVAL;
	return mlp_change(w, op->on ? on : off, op);
}

int mlp_slots_unmap(struct mlp_window *w, struct memlease_pool_slots_op *op)
{
	static const struct mlp_change unmap = {
		.from = BIT(MEMLEASE_SLOT_RESIDENT) | BIT(MEMLEASE_SLOT_LOST),
		.to = MEMLEASE_SLOT_COMMITTED,
	};

	return op->on ? -EINVAL : mlp_change(w, unmap, op);
}

/* --- MAP and MOVE -------------------------------------------------------------------- */

/* Make a free block the window's, and unseen. -EBUSY if it is not free, -EINVAL if there is none such. */
static int mlp_own(struct mlp_window *w, u32 slot, u32 block)
{
	bool ours;

	if (block >= mlp_blocks())
		return -EINVAL;
	mlp_rings_lock();
	ours = mlp_block_own(block, MLP_OWNER(w->id, slot));
	mlp_rings_unlock();
	if (!ours)
		return -EBUSY;
	mlp_view_hide(block);
	return 0;
}

int mlp_slots_map(struct mlp_window *w, u32 slot, u32 block)
{
	int rc;

	if (slot >= w->slots)
		return -EINVAL;
	down_write(&w->lock);
	switch (MEMLEASE_SLOT_STATE(w->slot[slot])) {
	case MEMLEASE_SLOT_COMMITTED:
		rc = w->dead ? -ENOENT : mlp_own(w, slot, block);
		break;
	case MEMLEASE_SLOT_RESIDENT:
		rc = -EEXIST;
		break;
	default:
		rc = -EPERM;
	}
	if (!rc) {
		WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_RESIDENT | block << 2);
		WRITE_ONCE(w->starved, false);
		atomic_inc(&w->resident);
	}
	up_write(&w->lock);
	if (!rc)
		mlp_wait_changed(w, slot, 1);
	return rc;
}

/* Copy a block. -EIO: the old one cannot be read. */
static int mlp_copy(u32 to, u32 from)
{
	void *dst = mlp_block_memory(to), *src = mlp_block_memory(from);
	unsigned long at;

	for (at = 0; at < MLP_BLOCK_BYTES; at += MLP_COPY_BYTES) {
		if (copy_mc_to_kernel(dst + at, src + at, MLP_COPY_BYTES))
			return -EIO;
		cond_resched();
	}
	return 0;
}

int mlp_slots_move(struct mlp_window *w, u32 slot, u32 *block)
{
	u32 word, old, new = *block;
	bool settled;
	int rc = -EAGAIN;

	if (slot >= w->slots)
		return -EINVAL;
	settled = mlp_lock_slots(w);
	word = w->slot[slot];
	if (MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_RESIDENT)
		goto out;
	rc = settled ? mlp_own(w, slot, new) : -ETIME;
	if (rc)
		goto out;
	old = MEMLEASE_SLOT_BLOCK(word);
	/* The old block is not written to once its entries are gone: a touch waits for the lock. */
	mlp_window_unshow(w, slot, 1);
	rc = mlp_copy(new, old);
	if (rc) {
		mlp_disown(&new, 1);
		goto out;
	}
	WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_RESIDENT | new << 2);
	mlp_disown(&old, 1);
	*block = old;
out:
	mlp_unlock_slots(w);
	return rc;
}

/* --- memory errors ------------------------------------------------------------------- */

bool mlp_slots_lose(struct mlp_window *w, u32 slot, u32 block)
{
	bool lost;

	mlp_lock_slots(w);
	lost = w->slot[slot] == (MEMLEASE_SLOT_RESIDENT | block << 2);
	if (lost) {
		WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_LOST);
		atomic_dec(&w->resident);
		mlp_window_unshow(w, slot, 1);
	}
	mlp_unlock_slots(w);
	return lost;
}
