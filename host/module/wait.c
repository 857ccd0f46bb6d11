// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tasks that wait for a block; see wait.h. All stand in one queue, but are woken only if it
 * is their slot that has changed, or the supply that was filled.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "ranges.h"
#include "rings.h"
#include "wait.h"

#define MLP_LOOK_MS	250	/* a task that waits looks for itself, in case no one wakes it */
#define MLP_PAUSE_US	1000	/* longest sleep with an mmap lock held */

static unsigned int mlp_wait_ms = MEMLEASE_POOL_WAIT_MS;
module_param_named(wait_ms, mlp_wait_ms, uint, 0644);
MODULE_PARM_DESC(wait_ms, "how long a touch waits for a block, in milliseconds; 0: for as long as it takes");

struct mlp_waiter {
	struct wait_queue_entry entry;
	const struct mlp_window *window;
	u32 slot;
};

/* What a waking is for. */
struct mlp_changed {
	const struct mlp_window *window;
	u32 first, count;
};

static DECLARE_WAIT_QUEUE_HEAD(mlp_waiters);

static int mlp_waiter_wake(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	const struct mlp_waiter *m = container_of(entry, struct mlp_waiter, entry);
	const struct mlp_changed *c = key;

	if (c && (m->window != c->window || m->slot - c->first >= c->count))
		return 0;
	return autoremove_wake_function(entry, mode, flags, key);
}

void mlp_wait_supplied(void)
{
	/* A task that is taking a block now may have seen the old head: wait until it is done. */
	mlp_rings_lock();
	mlp_rings_unlock();
	wake_up_all(&mlp_waiters);
}

void mlp_wait_changed(const struct mlp_window *w, u32 first, u32 count)
{
	struct mlp_changed c = { .window = w, .first = first, .count = count };

	if (wq_has_sleeper(&mlp_waiters))
		__wake_up(&mlp_waiters, TASK_NORMAL, 0, &c);
}

static bool mlp_slot_waits(const struct mlp_window *w, u32 slot)
{
	return MEMLEASE_SLOT_STATE(READ_ONCE(w->slot[slot])) == MEMLEASE_SLOT_COMMITTED;
}

/* Did the slot get a block, or become another? Takes one for it if there is one. */
static bool mlp_wait_is_over(struct mlp_window *w, u32 slot)
{
	if (!mlp_slot_waits(w, slot))
		return true;
	if (!mlp_supply_fill())
		return false;
	down_read(&w->lock);
	mlp_window_take(w, slot);
	up_read(&w->lock);
	return !mlp_slot_waits(w, slot);
}

/*
 * Leave a record that a task waits for this slot: once for each daemon, for one that died
 * may have read the record in vain; and again if there was no room for the record, or many of
 * this window's are to be read first. *told: the daemon that has been told. If a record for
 * the slot is there that was not read yet, no other is needed; its mark is in the slot's word.
 */
static void mlp_wait_tell(struct mlp_window *w, u32 slot, u32 *told)
{
	u32 mark, daemon = mlp_rings_daemon();

	if (*told == daemon)
		return;
	down_read(&w->lock);
	mlp_rings_lock();
	if (mlp_slot_waits(w, slot)) {
		mark = w->slot[slot] >> 2;
		if (mlp_touch_if_few(MEMLEASE_TOUCH_WAITING, w->id, slot, &mark, &w->waiting))
			*told = daemon;
		WRITE_ONCE(w->slot[slot], MEMLEASE_SLOT_COMMITTED | mark << 2);
	}
	mlp_rings_unlock();
	up_read(&w->lock);
}

/* Until woken, or it is time to look. Negative: a deadly signal came. */
static long mlp_wait_a_while(const struct mlp_window *w, u32 slot)
{
	struct mlp_waiter m = { .window = w, .slot = slot };
	long left = msecs_to_jiffies(MLP_LOOK_MS), rc;

	init_wait(&m.entry);
	m.entry.func = mlp_waiter_wake;
	do {
		rc = prepare_to_wait_event(&mlp_waiters, &m.entry, TASK_KILLABLE);
		if (rc || !mlp_slot_waits(w, slot) || mlp_supply_fill())
			break;
		left = schedule_timeout(left);
	} while (left);
	finish_wait(&mlp_waiters, &m.entry);
	return rc;
}

bool mlp_wait_for_block(struct mlp_window *w, u32 slot)
{
	u64 began = ktime_get_ns();
	u64 limit = (u64)READ_ONCE(mlp_wait_ms) * NSEC_PER_MSEC;
	u32 told = 0;
	long rc = 0;
	bool over;

	mlp_rings_wait_begins();
	while (!(over = mlp_wait_is_over(w, slot)) && !rc &&
	       (!limit || ktime_get_ns() - began < limit)) {
		mlp_wait_tell(w, slot, &told);
		rc = mlp_wait_a_while(w, slot);
	}
	mlp_rings_wait_ends(ktime_get_ns() - began);
	if (over || rc)
		return true;
	mlp_rings_lock();
	mlp_touch_once(MEMLEASE_TOUCH_TIMEOUT, w->id, slot, &w->timeout_mark);
	mlp_rings_unlock();
	return false;
}

bool mlp_wait_pause(void)
{
	usleep_range_state(MLP_PAUSE_US / 2, MLP_PAUSE_US, TASK_KILLABLE);
	return !fatal_signal_pending(current);
}
