// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Supply and touches; see pool_module.h and proto/memlease_ioctl.h. The daemon
 * writes to the pages that it maps at any time: each of its words is read once,
 * and indices of our own are kept here.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "pool_module.h"

#define MLP_LOOK_MS	250	/* a task that waits looks for itself, in case no one wakes it */
#define MLP_PAUSE_MS	100	/* longest sleep with an mmap lock held */

DEFINE_SPINLOCK(mlp_rings_lock);

static unsigned int mlp_wait_ms = MEMLEASE_POOL_WAIT_MS;
module_param_named(wait_ms, mlp_wait_ms, uint, 0644);
MODULE_PARM_DESC(wait_ms, "how long a touch waits for a block, in milliseconds");

static struct memlease_rings *mlp_rings;
static u32 mlp_supply_tail;	/* copies of these in the shared pages are for the daemon */
static u32 mlp_touches_head;
static u32 mlp_daemons;		/* that have had the control device open */
static DECLARE_WAIT_QUEUE_HEAD(mlp_supply_come);	/* tasks that touch */
static DECLARE_WAIT_QUEUE_HEAD(mlp_daemon_wait);	/* poll */

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

int mlp_rings_mmap(struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start > mlp_rings_bytes())
		return -EINVAL;
	return remap_vmalloc_range(vma, mlp_rings, 0);
}

/* Entries of the supply that may be read; a head that makes no sense is an empty supply. */
static u32 mlp_supply_fill(void)
{
	/* Pairs with the daemon's release: entries before the head are written. */
	u32 fill = smp_load_acquire(&mlp_rings->supply_head) - READ_ONCE(mlp_supply_tail);

	return fill <= MEMLEASE_POOL_SUPPLY ? fill : 0;
}

u32 mlp_supply_take(u64 owner)
{
	u32 block;

	lockdep_assert_held(&mlp_rings_lock);
	while (mlp_supply_fill()) {
		block = READ_ONCE(mlp_rings->supply[mlp_supply_tail % MEMLEASE_POOL_SUPPLY]);
		WRITE_ONCE(mlp_supply_tail, mlp_supply_tail + 1);
		smp_store_release(&mlp_rings->supply_tail, mlp_supply_tail);
		if (block < mlp_blocks() && !*mlp_block_owner(block)) {
			*mlp_block_owner(block) = owner;
			return block;
		}
		WRITE_ONCE(mlp_rings->bad_supply, mlp_rings->bad_supply + 1);
	}
	return MLP_NO_BLOCK;
}

bool mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block)
{
	u32 head = mlp_touches_head;

	lockdep_assert_held(&mlp_rings_lock);
	/* Full, or a tail that makes no sense. */
	if (head - READ_ONCE(mlp_rings->touches_tail) >= MEMLEASE_POOL_TOUCHES) {
		WRITE_ONCE(mlp_rings->overflow, mlp_rings->overflow + 1);
		wake_up_interruptible(&mlp_daemon_wait);
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
		wake_up_interruptible(&mlp_daemon_wait);
	return true;
}

void mlp_touch_once(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark)
{
	u32 tail = READ_ONCE(mlp_rings->touches_tail), unread = mlp_touches_head - tail;

	if (*mark && unread <= MEMLEASE_POOL_TOUCHES && *mark - 1 - tail < unread)
		return;
	*mark = mlp_touch(type, window, slot, MLP_NO_BLOCK) ? mlp_touches_head : 0;
}

void mlp_supplied(void)
{
	spin_lock(&mlp_rings_lock);
	spin_unlock(&mlp_rings_lock);
	wake_up_all(&mlp_supply_come);
}

void mlp_slots_changed(void)
{
	if (wq_has_sleeper(&mlp_supply_come))
		wake_up_all(&mlp_supply_come);
}

/* Did the slot get a block, or become another? Takes one for it if there is one. */
static bool mlp_wait_is_over(struct mlp_window *w, u32 slot)
{
	u32 word = READ_ONCE(w->slot[slot]);

	if (MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_COMMITTED)
		return true;
	if (!mlp_supply_fill())
		return false;
	down_read(&w->lock);
	word = mlp_slots_take(w, slot);
	up_read(&w->lock);
	return MEMLEASE_SLOT_STATE(word) != MEMLEASE_SLOT_COMMITTED;
}

static bool mlp_look_again(struct mlp_window *w, u32 slot)
{
	return mlp_supply_fill() ||
	       MEMLEASE_SLOT_STATE(READ_ONCE(w->slot[slot])) != MEMLEASE_SLOT_COMMITTED;
}

static void mlp_wait_begin(void)
{
	spin_lock(&mlp_rings_lock);
	WRITE_ONCE(mlp_rings->waiting, mlp_rings->waiting + 1);
	WRITE_ONCE(mlp_rings->waits, mlp_rings->waits + 1);
	spin_unlock(&mlp_rings_lock);
}

/*
 * Tell the daemon once; a new one, too, for the old one may have died with what it had
 * read; and again if the record was dropped. *told: who knows of it.
 */
static void mlp_wait_tell(struct mlp_window *w, u32 slot, u32 *told)
{
	u32 daemon = READ_ONCE(mlp_daemons);

	if (*told == daemon)
		return;
	spin_lock(&mlp_rings_lock);
	if (mlp_touch(MEMLEASE_TOUCH_WAITING, w->id, slot, MLP_NO_BLOCK))
		*told = daemon;
	spin_unlock(&mlp_rings_lock);
}

static void mlp_wait_end(struct mlp_window *w, u32 slot, u64 began, bool timeout)
{
	spin_lock(&mlp_rings_lock);
	WRITE_ONCE(mlp_rings->waiting, mlp_rings->waiting - 1);
	WRITE_ONCE(mlp_rings->wait_ns, mlp_rings->wait_ns + ktime_get_ns() - began);
	if (timeout)
		mlp_touch(MEMLEASE_TOUCH_TIMEOUT, w->id, slot, MLP_NO_BLOCK);
	spin_unlock(&mlp_rings_lock);
}

bool mlp_supply_wait(struct mlp_window *w, u32 slot)
{
	u64 began = ktime_get_ns();
	u64 limit = (u64)READ_ONCE(mlp_wait_ms) * NSEC_PER_MSEC;
	long left = 1;
	u32 told = 0;
	bool over;

	mlp_wait_begin();
	mlp_wait_tell(w, slot, &told);
	/* The task is counted before it looks at the supply: pairs with the daemon's fence. */
	smp_mb();
	while (!(over = mlp_wait_is_over(w, slot)) && left >= 0 && ktime_get_ns() - began < limit) {
		mlp_wait_tell(w, slot, &told);
		left = wait_event_killable_timeout(mlp_supply_come, mlp_look_again(w, slot),
						   msecs_to_jiffies(MLP_LOOK_MS));
	}
	over |= left < 0;
	mlp_wait_end(w, slot, began, !over);
	return over;
}

bool mlp_supply_pause(void)
{
	schedule_timeout_killable(msecs_to_jiffies(MLP_PAUSE_MS));
	return !fatal_signal_pending(current);
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
