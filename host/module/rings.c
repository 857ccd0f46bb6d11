// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Supply and touches; see rings.h and proto/memlease_ioctl.h. The daemon
 * writes to the pages that it maps at any time: each of its words is read once,
 * and indices of our own are kept here.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "locks.h"
#include "ranges.h"
#include "rings.h"

/*
 * Unread records of a kind that waits for its turn: of one window, and of the ring in all. The
 * rest of the ring is for what must not be lost: each block of the supply can be taken, and
 * each window can have a record of the kinds of which there is one.
 */
#define MLP_FEW		256
#define MLP_FEW_OF_ALL	(MEMLEASE_POOL_TOUCHES / 4)
#define MLP_MARK	(U32_MAX >> 2)	/* the bits of touches_head that a mark has: a slot's word has no more */

static struct memlease_rings *mlp_rings;
static u32 mlp_waiting;		/* these under the lock, all but the last */
static bool mlp_wake_daemon;
static u32 mlp_supply_tail;	/* copies of these in the shared pages are for the daemon */
static u32 mlp_touches_head;
static u32 mlp_daemons;		/* that have had the control device open */
static DECLARE_WAIT_QUEUE_HEAD(mlp_daemon_wait);	/* poll */

void mlp_rings_lock(void)
	__acquires(&mlp_rings_spin)
{
	spin_lock(&mlp_rings_spin);
}

/* Waking takes longer than all that is done under the lock, which is one for all VMs. */
void mlp_rings_unlock(void)
	__releases(&mlp_rings_spin)
{
	bool wake = mlp_wake_daemon;

	mlp_wake_daemon = false;
	spin_unlock(&mlp_rings_spin);
	if (wake)
		wake_up_interruptible(&mlp_daemon_wait);
}

int mlp_rings_init(void)
{
	mlp_rings = vmalloc_user(sizeof(*mlp_rings));
	return mlp_rings ? 0 : -ENOMEM;
}

void mlp_rings_exit(void)
{
	vfree(mlp_rings);
}

u64 mlp_rings_bytes(void)
{
	return PAGE_ALIGN(sizeof(*mlp_rings));
}

void mlp_rings_opened(void)
{
	WRITE_ONCE(mlp_daemons, mlp_daemons + 1);
}

u32 mlp_rings_daemon(void)
{
	return READ_ONCE(mlp_daemons);
}

int mlp_rings_mmap(struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start > mlp_rings_bytes())
		return -EINVAL;
	return remap_vmalloc_range(vma, mlp_rings, 0);
}

/* A head that makes no sense is an empty supply. */
u32 mlp_supply_fill(void)
{
	/* Pairs with the daemon's release: entries before the head are written. */
	u32 fill = smp_load_acquire(&mlp_rings->supply_head) - READ_ONCE(mlp_supply_tail);

	return fill <= MEMLEASE_POOL_SUPPLY ? fill : 0;
}

u32 mlp_supply_take(u64 owner)
{
	u32 block, n;

	lockdep_assert_held(&mlp_rings_spin);
	/* No more of them than there are places, however the daemon moves the head. */
	for (n = 0; n < MEMLEASE_POOL_SUPPLY && mlp_supply_fill(); n++) {
		block = READ_ONCE(mlp_rings->supply[mlp_supply_tail % MEMLEASE_POOL_SUPPLY]);
		WRITE_ONCE(mlp_supply_tail, mlp_supply_tail + 1);
		/* Pairs with the daemon's acquire: the entry is read, and may be written anew. */
		smp_store_release(&mlp_rings->supply_tail, mlp_supply_tail);
		if (block < mlp_blocks() && mlp_block_own(block, owner))
			return block;
		WRITE_ONCE(mlp_rings->bad_supply, mlp_rings->bad_supply + 1);
	}
	return MLP_NO_BLOCK;
}

bool mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block)
{
	u32 head = mlp_touches_head;

	lockdep_assert_held(&mlp_rings_spin);
	/* Full, or a tail that makes no sense. */
	if (head - READ_ONCE(mlp_rings->touches_tail) >= MEMLEASE_POOL_TOUCHES) {
		WRITE_ONCE(mlp_rings->overflow, mlp_rings->overflow + 1);
		mlp_wake_daemon = true;
		return false;
	}
	mlp_rings->touches[head % MEMLEASE_POOL_TOUCHES] = (struct memlease_touch){
		.type = type, .window = window, .slot = slot, .block = block,
		.time_ns = ktime_get_ns(), .pid = task_tgid_nr(current),
	};
	WRITE_ONCE(mlp_touches_head, head + 1);
	/* Pairs with the daemon's acquire: the record is written. */
	smp_store_release(&mlp_rings->touches_head, head + 1);
	/*
	 * Pairs with mlp_rings_poll(): either it sees the record, or the tail that the
	 * daemon moved before it slept is seen here.
	 */
	smp_mb();
	if (READ_ONCE(mlp_rings->touches_tail) == head)
		mlp_wake_daemon = true;
	return true;
}

/* Has the daemon yet to read the record of this mark? */
static bool mlp_mark_is_unread(u32 mark)
{
	u32 tail = READ_ONCE(mlp_rings->touches_tail), unread = mlp_touches_head - tail;

	return mark && unread <= MEMLEASE_POOL_TOUCHES && ((mark - 1 - tail) & MLP_MARK) < unread;
}

bool mlp_touch_once(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark)
{
	lockdep_assert_held(&mlp_rings_spin);
	if (mlp_mark_is_unread(*mark))
		return true;
	*mark = mlp_touch(type, window, slot, MLP_NO_BLOCK) ? mlp_touches_head & MLP_MARK : 0;
	return *mark;
}

bool mlp_touch_if_few(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark, struct mlp_few *few)
{
	lockdep_assert_held(&mlp_rings_spin);
	if (mlp_mark_is_unread(*mark))
		return true;
	if (!mlp_mark_is_unread(few->last))
		few->unread = 0;
	if (few->unread >= MLP_FEW ||
	    mlp_touches_head - READ_ONCE(mlp_rings->touches_tail) >= MLP_FEW_OF_ALL)
		return false;
	if (!mlp_touch_once(type, window, slot, mark))
		return false;
	few->last = *mark;
	few->unread++;
	return true;
}

void mlp_rings_wait_begins(void)
{
	mlp_rings_lock();
	WRITE_ONCE(mlp_rings->waiting, ++mlp_waiting);
	WRITE_ONCE(mlp_rings->waits, mlp_rings->waits + 1);
	mlp_rings_unlock();
	/* The task is counted before it looks at the supply: pairs with the daemon's fence. */
	smp_mb();
}

void mlp_rings_wait_ends(u64 ns)
{
	mlp_rings_lock();
	WRITE_ONCE(mlp_rings->waiting, --mlp_waiting);
	WRITE_ONCE(mlp_rings->wait_ns, mlp_rings->wait_ns + ns);
	mlp_rings_unlock();
}

__poll_t mlp_rings_poll(struct file *file, struct poll_table_struct *table)
{
	__poll_t mask = 0;

	poll_wait(file, &mlp_daemon_wait, table);
	smp_mb();	/* pairs with mlp_touch() */
	if (READ_ONCE(mlp_touches_head) != READ_ONCE(mlp_rings->touches_tail))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}
