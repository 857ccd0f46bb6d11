// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The processes that map a window, and a pause for the faults that KVM takes in them;
 * see pool_module.h. Called by window.c and fault.c for mappings that come and go,
 * and by slots.c before it removes entries.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "pool_module.h"

#define MLP_SETTLE_TRIES	4	/* to get a lock that is free now and then */
#define MLP_SETTLE_MS	100	/* longest that we wait in line, for all of them together */
#define MLP_SETTLE_MM	8	/* processes; a VM has one */
#define MLP_YIELD_LOOKS	20	/* how often we look whether a fault that gave way was served */
#define MLP_YIELD_US	40	/* between two looks */

struct mlp_mapper {
	struct list_head list;
	struct mm_struct *mm;
	u32 mappings;
	refcount_t users;	/* the list is one */
	struct work_struct line;	/* waits in line for mm's lock, for us */
	u32 asked, had;		/* how often it was to, under window.lock; and has, its own */
};

static struct workqueue_struct *mlp_lines;
static DECLARE_WAIT_QUEUE_HEAD(mlp_had);

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

/* The plain semaphore will do, here and below, for nothing is changed under it. */
static void mlp_mapper_line(struct work_struct *work)
{
	struct mlp_mapper *m = container_of(work, struct mlp_mapper, line);
	u32 asked = READ_ONCE(m->asked);

	/* No signal comes here: it is for who looks for tasks that hang, of which this is none. */
	if (!down_write_killable(&m->mm->mmap_lock))
		up_write(&m->mm->mmap_lock);
	WRITE_ONCE(m->had, asked);
	wake_up_all(&mlp_had);
	mlp_mapper_put(m);
}

int mlp_mapper_add(struct mlp_window *w, struct mm_struct *mm)
{
	struct mlp_mapper *m, *new = kmalloc(sizeof(*new), GFP_KERNEL);

	if (!new)
		return -ENOMEM;
	*new = (struct mlp_mapper){ .mm = mm, .mappings = 1 };
	refcount_set(&new->users, 1);
	INIT_WORK(&new->line, mlp_mapper_line);
	spin_lock(&w->mappers_lock);
	m = mlp_mapper_find(w, mm);
	if (m) {
		m->mappings++;
	} else {
		mmgrab(mm);
		list_add(&new->list, &w->mappers);
	}
	spin_unlock(&w->mappers_lock);
	if (m)
		kfree(new);
	return 0;
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
	if (--m->mappings)
		m = NULL;
	else
		list_del(&m->list);
	spin_unlock(&w->mappers_lock);
	if (m)
		mlp_mapper_put(m);
}

static bool mlp_mapper_try(struct mlp_mapper *m)
{
	u32 i;

	for (i = 0; i < MLP_SETTLE_TRIES; i++) {
		if (down_write_trylock(&m->mm->mmap_lock)) {
			up_write(&m->mm->mmap_lock);
			return true;
		}
		usleep_range(10, 30);
	}
	return false;
}

/*
 * Have the lock once. Whose process is busy may never have it free when we try: someone
 * stands in line for us then. Not we, for a hostile process can keep its own lock for
 * as long as it likes. We wait for a while, and if it is the same line still, not at all;
 * such a process has itself to blame if KVM takes its fault for an error.
 */
static void mlp_settle_one(struct mlp_mapper *m, unsigned long end)
{
	unsigned long now;

	if (mlp_mapper_try(m) || READ_ONCE(m->had) != m->asked)
		return;
	WRITE_ONCE(m->asked, m->asked + 1);
	refcount_inc(&m->users);
	queue_work(mlp_lines, &m->line);
	now = jiffies;
	if (time_before(now, end))
		wait_event_timeout(mlp_had, READ_ONCE(m->had) == m->asked, end - now);
}

/* Faults that gave way to the last change come first, if they come soon. */
static void mlp_yield(struct mlp_window *w)
{
	u32 i;

	for (i = 0; i < MLP_YIELD_LOOKS && READ_ONCE(w->gave_way); i++)
		usleep_range(MLP_YIELD_US, MLP_YIELD_US + 10);
	WRITE_ONCE(w->gave_way, false);
}

/* Whoever is between a fault and a second look in one of these processes comes to its end. */
static void mlp_settle(struct mlp_window *w)
{
	unsigned long end = jiffies + msecs_to_jiffies(MLP_SETTLE_MS);
	struct mlp_mapper *m, *mappers[MLP_SETTLE_MM];
	u32 i, n = 0;

	spin_lock(&w->mappers_lock);
	list_for_each_entry(m, &w->mappers, list) {
		if (n == MLP_SETTLE_MM)
			break;
		refcount_inc(&m->users);
		mappers[n++] = m;
	}
	spin_unlock(&w->mappers_lock);
	for (i = 0; i < n; i++) {
		mlp_settle_one(mappers[i], end);
		mlp_mapper_put(mappers[i]);
	}
}

void mlp_lock_slots(struct mlp_window *w)
{
	mlp_yield(w);
	down_write(&w->lock);
	mlp_settle(w);
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
