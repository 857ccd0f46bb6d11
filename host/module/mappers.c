// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The processes that map a window, and a pause for the faults that KVM takes in them;
 * see pool_module.h. Called by window.c and fault.c for mappings that come and go,
 * and by slots.c before it removes entries.
 */
#include <linux/delay.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pool_module.h"

#define MLP_SETTLE_MS	20	/* longest that we wait for one process */
#define MLP_SETTLE_MM	8	/* processes; a VM has one */
#define MLP_YIELD_LOOKS	20	/* how often we look whether a fault that gave way was served */
#define MLP_YIELD_US	40	/* between two looks */

struct mlp_mapper {
	struct list_head list;
	struct mm_struct *mm;
	u32 mappings;
};

static struct mlp_mapper *mlp_mapper_find(struct mlp_window *w, const struct mm_struct *mm)
{
	struct mlp_mapper *m;

	list_for_each_entry(m, &w->mappers, list) {
		if (m->mm == mm)
			return m;
	}
	return NULL;
}

int mlp_mapper_add(struct mlp_window *w, struct mm_struct *mm)
{
	struct mlp_mapper *m, *new = kmalloc(sizeof(*new), GFP_KERNEL);

	if (!new)
		return -ENOMEM;
	spin_lock(&w->mappers_lock);
	m = mlp_mapper_find(w, mm);
	if (m) {
		m->mappings++;
		kfree(new);
	} else {
		mmgrab(mm);
		*new = (struct mlp_mapper){ .mm = mm, .mappings = 1 };
		list_add(&new->list, &w->mappers);
	}
	spin_unlock(&w->mappers_lock);
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
	if (m) {
		mmdrop(m->mm);
		kfree(m);
	}
}

/*
 * Have the lock once. Not by waiting in line: a hostile process can keep its own
 * lock for long, and then has only itself to blame if KVM takes its fault for an error.
 * The plain semaphore will do, for nothing is changed under it.
 */
static void mlp_settle_one(struct mm_struct *mm)
{
	unsigned long end = jiffies + msecs_to_jiffies(MLP_SETTLE_MS);

	while (!down_write_trylock(&mm->mmap_lock)) {
		if (time_after(jiffies, end))
			return;
		usleep_range(10, 30);
	}
	up_write(&mm->mmap_lock);
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
	struct mm_struct *mms[MLP_SETTLE_MM];
	struct mlp_mapper *m;
	u32 i, n = 0;

	spin_lock(&w->mappers_lock);
	list_for_each_entry(m, &w->mappers, list) {
		if (n == MLP_SETTLE_MM)
			break;
		mmgrab(m->mm);
		mms[n++] = m->mm;
	}
	spin_unlock(&w->mappers_lock);
	for (i = 0; i < n; i++) {
		mlp_settle_one(mms[i]);
		mmdrop(mms[i]);
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
