// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading a window as a file; see peek.h. By way of a page of our own: who has window.lock
 * touches no user memory (locks.h), and a block can go as soon as the lock is let go of.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "peek.h"
#include "ranges.h"
#include "window.h"

/* Bytes of one block, and of one page. -EIO: they cannot be read. */
static int mlp_peek_copy(struct mlp_window *w, loff_t offset, void *to, size_t bytes)
{
	u32 word;
	int rc = 0;

	down_read(&w->lock);
	word = READ_ONCE(w->slot[offset >> MEMLEASE_POOL_BLOCK_SHIFT]);
	switch (MEMLEASE_SLOT_STATE(word)) {
	case MEMLEASE_SLOT_RESIDENT:
		if (copy_mc_to_kernel(to, mlp_block_memory(MEMLEASE_SLOT_BLOCK(word)) + offset % MLP_BLOCK_BYTES,
				      bytes))
			rc = -EIO;
		break;
	case MEMLEASE_SLOT_LOST:
		rc = -EIO;
		break;
	default:
		memset(to, 0, bytes);
	}
	up_read(&w->lock);
	return rc;
}

ssize_t mlp_peek(struct mlp_window *w, loff_t offset, struct iov_iter *to)
{
	loff_t end = (loff_t)w->slots << MEMLEASE_POOL_BLOCK_SHIFT;
	void *page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	size_t bytes, copied;
	ssize_t all = 0;
	int rc = page ? 0 : -ENOMEM;

	while (!rc && iov_iter_count(to) && offset < end) {
		bytes = min_t(size_t, iov_iter_count(to), PAGE_SIZE - offset % PAGE_SIZE);
		rc = mlp_peek_copy(w, offset, page, bytes);
		if (rc)
			break;
		copied = copy_to_iter(page, bytes, to);
		offset += copied;
		all += copied;
		if (copied < bytes)
			rc = -EFAULT;
		else if (fatal_signal_pending(current))
			rc = -EINTR;
		cond_resched();
	}
	kfree(page);
	return all ?: rc;
}
