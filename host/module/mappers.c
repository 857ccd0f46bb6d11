// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The processes that map a window, and a pause for the faults that KVM takes in them;
 * see mappers.h, and locks.h for why.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "mappers.h"

#define MLP_SETTLE_TRIES	4	/* to get a lock that is free now and then */
#define MLP_SETTLE_US	2000	/* longest that a change waits in line, for all of them together */
#define MLP_SETTLE_MM	8	/* processes; a VM has one */
#define MLP_YIELD_LOOKS	20	/* how often we look whether a fault that gave way was served */
#define MLP_YIELD_US	40	/* between two looks */

struct mlp_mapper {
	struct list_head list;
	struct mm_struct *mm;
	u32 mappings;
	refcount_t users;	/* the list is one */
	struct work_struct line;	/* waits in line for the lock of mm */
	u32 asked;		/* how often the worker was to take the lock; under window.lock */
	u32 had;		/* the value of `asked` for which it had the lock last */
};

static struct workqueue_struct *mlp_lines;
static DECLARE_WAIT_QUEUE_HEAD(mlp_had);

/* --- the processes --------------------------------------------------------------------- */

static void mlp_mapper_put(struct mlp_mapper *m)
{
	if (!refcount_dec_and_test(&m->users))
		return;
	mmdrop(m->mm);
	kfree(m);
}

static struct mlp_mapper *mlp_mapper_find(struct mlp_window *w, const struct mm_struct *mm)
{
	struct mlp_mapper *m;

	list_for_each_entry(m, &w->mappers, list) {
		if (m->mm == mm)
			return m;
	}
	return NULL;
}

/* Nothing is changed under the lock, so the semaphore alone is taken, without what mmap_write_lock() adds. */
static void mlp_mapper_line(struct work_struct *work)
{
	struct mlp_mapper *m = container_of(work, struct mlp_mapper, line);
	u32 asked = READ_ONCE(m->asked);

	/* No signal comes to a worker; in a killable wait it is not reported as a task that hangs. */
	if (!down_write_killable(&m->mm->mmap_lock))
		up_write(&m->mm->mmap_lock);
	WRITE_ONCE(m->had, asked);
	wake_up_all(&mlp_had);
	mlp_mapper_put(m);
}

int mlp_mapper_add(struct mlp_window *w, struct mm_struct *mm)
{
	struct mlp_mapper *m, *new = kmalloc(sizeof(*new), GFP_KERNEL);
	bool full = false;

	if (!new)
		return -ENOMEM;
	*new = (struct mlp_mapper){ .mm = mm, .mappings = 1 };
	refcount_set(&new->users, 1);
	INIT_WORK(&new->line, mlp_mapper_line);
	spin_lock(&w->mappers_lock);
	m = mlp_mapper_find(w, mm);
	if (m) {
		m->mappings++;
	} else if (w->mapper_count == MLP_SETTLE_MM) {
		full = true;
	} else {
		mmgrab(mm);
		list_add(&new->list, &w->mappers);
		w->mapper_count++;
	}
	spin_unlock(&w->mappers_lock);
	if (m || full)
		kfree(new);
	return full ? -EUSERS : 0;
}

void mlp_mapper_more(struct mlp_window *w, struct mm_struct *mm)
{
	spin_lock(&w->mappers_lock);
	mlp_mapper_find(w, mm)->mappings++;
	spin_unlock(&w->mappers_lock);
}

void mlp_mapper_less(struct mlp_window *w, struct mm_struct *mm)
{
	struct mlp_mapper *m;

	spin_lock(&w->mappers_lock);
	m = mlp_mapper_find(w, mm);
	if (--m->mappings) {
		m = NULL;
	} else {
		list_del(&m->list);
		w->mapper_count--;
	}
	spin_unlock(&w->mappers_lock);
	if (m)
		mlp_mapper_put(m);
}

/*
 * Is it sure that no KVM of this process is between its two looks? It would have the lock
 * for reading. So it is, if the lock can be had, and also if somebody has it for writing.
 */
static bool mlp_mapper_try(struct mlp_mapper *m)
{
	u32 i;

	for (i = 0; i < MLP_SETTLE_TRIES; i++) {
		if (i)
			usleep_range(10, 30);
		if (mlp_is_written(&m->mm->mmap_lock))
			return true;
		if (down_write_trylock(&m->mm->mmap_lock)) {
			up_write(&m->mm->mmap_lock);
			return true;
		}
	}
	return false;
}

/*
 * Take the process's mmap lock once, until `end`. The lock of a busy process may be taken at
 * every try: then a worker waits in line for it, and we wait for the worker. We do not wait in
 * line ourselves, for a hostile process can keep its lock for as long as it likes; if the
 * worker still waits from the last time we do not wait at all. False: it was not to be had.
 */
static bool mlp_settle_one(struct mlp_mapper *m, ktime_t end)
{
	if (mlp_mapper_try(m))
		return true;
	if (READ_ONCE(m->had) != m->asked)
		return false;
	WRITE_ONCE(m->asked, m->asked + 1);
	refcount_inc(&m->users);
	queue_work(mlp_lines, &m->line);
	wait_event_hrtimeout(mlp_had, READ_ONCE(m->had) == m->asked, ktime_sub(end, ktime_get()));
	return READ_ONCE(m->had) == m->asked;
}

/* Faults that found the lock taken by the change before are let in first, if they come soon. */
static void mlp_yield(struct mlp_window *w)
{
	u32 i;

	for (i = 0; i < MLP_YIELD_LOOKS && READ_ONCE(w->gave_way); i++)
		usleep_range(MLP_YIELD_US, MLP_YIELD_US + 10);
	WRITE_ONCE(w->gave_way, false);
}

/* Has KVM of each process that maps the window taken its second look, if it had a fault done before? */
static bool mlp_settle(struct mlp_window *w)
{
	struct mlp_mapper *m, *mappers[MLP_SETTLE_MM];
	ktime_t end = ktime_add_us(ktime_get(), MLP_SETTLE_US);
	bool settled = true;
	u32 i, n = 0;

	spin_lock(&w->mappers_lock);
	list_for_each_entry(m, &w->mappers, list) {
		refcount_inc(&m->users);
		mappers[n++] = m;
	}
	spin_unlock(&w->mappers_lock);
	for (i = 0; i < n; i++) {
		settled &= mlp_settle_one(mappers[i], end);
		mlp_mapper_put(mappers[i]);
	}
	return settled;
}

bool mlp_lock_slots(struct mlp_window *w)
{
	mlp_yield(w);
	down_write(&w->lock);
	return mlp_settle(w);
}

void mlp_unlock_slots(struct mlp_window *w)
{
	up_write(&w->lock);
}

int mlp_mappers_init(void)
{
	mlp_lines = alloc_workqueue("memlease", WQ_UNBOUND, 0);
	return mlp_lines ? 0 : -ENOMEM;
}

void mlp_mappers_exit(void)
{
	destroy_workqueue(mlp_lines);
}
