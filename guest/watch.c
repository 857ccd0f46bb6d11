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

/* Not consistent with a change under way: it is looked at again in a moment. */
static bool ml_watch_low(const struct ml_levels *level)
{
	u64 kernel = READ_ONCE(level->kernel), large = READ_ONCE(level->large);

	return ml_free_bytes() < READ_ONCE(level->free) ||
	       (kernel && ml_kernel_free_bytes() < kernel) ||
	       (large && ml_large_free_bytes() < large);
}

static void ml_watch_tick(struct timer_list *timer)
{
	static const struct ml_levels nothing;
	struct ml_watch_cpu *watch = container_of(timer, struct ml_watch_cpu, timer);
	struct ml_device *ml = watch->ml;

	if (ml_watch_low(&ml->watch.level)) {
		ml_watch_set(ml, &nothing);
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

void ml_watch_set(struct ml_device *ml, const struct ml_levels *level)
{
	WRITE_ONCE(ml->watch.level.free, level->free);
	WRITE_ONCE(ml->watch.level.kernel, level->kernel);
	WRITE_ONCE(ml->watch.level.large, level->large);
}
