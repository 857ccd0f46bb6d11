// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The watch; see watch.h. A timer stays on its processor, and goes when that
 * processor does.
 */
#include <linux/cpuhotplug.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "memlease.h"

#define ML_WATCH_MS	10

static int ml_watch_state;

static void ml_watch_tick(struct timer_list *timer)
{
	struct ml_watch_cpu *watch = container_of(timer, struct ml_watch_cpu, timer);
	struct ml_device *ml = watch->ml;

	if (global_zone_page_state(NR_FREE_PAGES) < READ_ONCE(ml->watch.level_pages)) {
		WRITE_ONCE(ml->watch.level_pages, 0);
		ml_grow_kick(ml);
	}
	mod_timer(timer, jiffies + msecs_to_jiffies(ML_WATCH_MS));
}

static int ml_watch_online(unsigned int cpu, struct hlist_node *node)
{
	struct ml_watch *w = hlist_entry(node, struct ml_watch, node);
	struct timer_list *timer = &per_cpu_ptr(w->cpu, cpu)->timer;

	timer->expires = jiffies + msecs_to_jiffies(ML_WATCH_MS);
	add_timer_on(timer, cpu);
	return 0;
}

static int ml_watch_offline(unsigned int cpu, struct hlist_node *node)
{
	struct ml_watch *w = hlist_entry(node, struct ml_watch, node);

	timer_delete_sync(&per_cpu_ptr(w->cpu, cpu)->timer);
	return 0;
}

int ml_watch_module_init(void)
{
	int state = cpuhp_setup_state_multi(CPUHP_AP_ONLINE_DYN, "virtio/memlease:online",
					    ml_watch_online, ml_watch_offline);

	if (state < 0)
		return state;
	ml_watch_state = state;
	return 0;
}

void ml_watch_module_exit(void)
{
	cpuhp_remove_multi_state(ml_watch_state);
}

int ml_watch_init(struct ml_device *ml)
{
	struct ml_watch *w = &ml->watch;
	int cpu, rc;

	w->cpu = alloc_percpu(struct ml_watch_cpu);
	if (!w->cpu)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct ml_watch_cpu *watch = per_cpu_ptr(w->cpu, cpu);

		watch->ml = ml;
		timer_setup(&watch->timer, ml_watch_tick, TIMER_DEFERRABLE | TIMER_PINNED);
	}
	rc = cpuhp_state_add_instance(ml_watch_state, &w->node);
	if (rc)
		free_percpu(w->cpu);
	return rc;
}

void ml_watch_exit(struct ml_device *ml)
{
	/* Calls ml_watch_offline() for each processor. */
	cpuhp_state_remove_instance(ml_watch_state, &ml->watch.node);
	free_percpu(ml->watch.cpu);
}

void ml_watch_set(struct ml_device *ml, u64 level_bytes)
{
	WRITE_ONCE(ml->watch.level_pages, level_bytes >> PAGE_SHIFT);
}
