// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Supply and touches; see pool_module.h and proto/memlease_ioctl.h. The page that
 * the daemon maps is written by it at any time: each of its words is read once.
 */
#include <linux/ktime.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>

#include "pool_module.h"

DEFINE_SPINLOCK(mlp_rings_lock);

static struct memlease_rings *mlp_rings;
static u32 mlp_supply_tail;	/* ours; the copies in the shared page are for the daemon */
static u32 mlp_touches_head;
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

int mlp_rings_mmap(struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start > mlp_rings_bytes())
		return -EINVAL;
	return remap_vmalloc_range(vma, mlp_rings, 0);
}

/* Entries of the supply that may be read; a head that makes no sense is an empty supply. */
static u32 mlp_supply_fill(void)
{
	u32 fill = smp_load_acquire(&mlp_rings->supply_head) - mlp_supply_tail;

	return fill <= MEMLEASE_POOL_SUPPLY ? fill : 0;
}

bool mlp_supply_empty(void)
{
	return !mlp_supply_fill();
}

u32 mlp_supply_take(u64 owner)
{
	u32 block;

	while (mlp_supply_fill()) {
		block = READ_ONCE(mlp_rings->supply[mlp_supply_tail % MEMLEASE_POOL_SUPPLY]);
		smp_store_release(&mlp_rings->supply_tail, ++mlp_supply_tail);
		if (block < mlp_blocks() && !*mlp_block_owner(block)) {
			*mlp_block_owner(block) = owner;
			if (mlp_supply_fill() == MEMLEASE_POOL_SUPPLY / 2 - 1)
				wake_up_interruptible(&mlp_daemon_wait);
			return block;
		}
		WRITE_ONCE(mlp_rings->bad_supply, mlp_rings->bad_supply + 1);
	}
	return MLP_NO_BLOCK;
}

void mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block)
{
	u32 used = mlp_touches_head - READ_ONCE(mlp_rings->touches_tail);

	if (used >= MEMLEASE_POOL_TOUCHES) {	/* full, or a tail that makes no sense */
		WRITE_ONCE(mlp_rings->overflow, mlp_rings->overflow + 1);
		wake_up_interruptible(&mlp_daemon_wait);
		return;
	}
	mlp_rings->touches[mlp_touches_head % MEMLEASE_POOL_TOUCHES] = (struct memlease_touch){
		.type = type, .window = window, .slot = slot, .block = block,
		.time_ns = ktime_get_ns(), .pid = task_tgid_nr(current),
	};
	smp_store_release(&mlp_rings->touches_head, ++mlp_touches_head);
	if (!used)
		wake_up_interruptible(&mlp_daemon_wait);
}

void mlp_supplied(void)
{
	wake_up_all(&mlp_supply_come);
}

bool mlp_supply_wait(void)
{
	u64 began = ktime_get_ns();
	long left;

	spin_lock(&mlp_rings_lock);
	WRITE_ONCE(mlp_rings->waiting, mlp_rings->waiting + 1);
	WRITE_ONCE(mlp_rings->waits, mlp_rings->waits + 1);
	spin_unlock(&mlp_rings_lock);
	wake_up_interruptible(&mlp_daemon_wait);
	left = wait_event_killable_timeout(mlp_supply_come, !mlp_supply_empty(),
					   msecs_to_jiffies(MEMLEASE_POOL_WAIT_MS));
	spin_lock(&mlp_rings_lock);
	WRITE_ONCE(mlp_rings->waiting, mlp_rings->waiting - 1);
	WRITE_ONCE(mlp_rings->wait_ns, mlp_rings->wait_ns + ktime_get_ns() - began);
	spin_unlock(&mlp_rings_lock);
	return left != 0;
}

__poll_t mlp_rings_poll(struct file *file, struct poll_table_struct *table)
{
	__poll_t mask = 0;

	poll_wait(file, &mlp_daemon_wait, table);
	if (READ_ONCE(mlp_touches_head) != READ_ONCE(mlp_rings->touches_tail))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (mlp_supply_fill() < MEMLEASE_POOL_SUPPLY / 2 || READ_ONCE(mlp_rings->waiting))
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}
