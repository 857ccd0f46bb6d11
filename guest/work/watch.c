// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The watch; see watch.h. A timer stays on its processor, and goes when that
 * processor does.
 */
#include <linux/cpuhotplug.h>
#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/timer.h>

#include "../turn/turn.h"
#include "watch.h"

#define ML_WATCH_MS	10

struct ml_watch_cpu {
	struct timer_list timer;
	struct ml_turn *turn;
};

struct ml_watch {
	struct ml_watch_cpu __percpu *cpu;
	struct hlist_node node;		/* for processors that come and go */
};

static int ml_watch_state;

static void ml_watch_tick(struct timer_list *timer)
{
	struct ml_turn *t = container_of(timer, struct ml_watch_cpu, timer)->turn;

	if (ml_board_is_under(t->board)) {
		ml_board_wake_under(t->board, NULL);
		ml_turn_wake(t, ML_GROW);
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

int ml_watch_init(struct ml_turn *t, struct ml_watch **out)
{
	struct ml_watch *w = kzalloc(sizeof(*w), GFP_KERNEL);
	int cpu, rc = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->cpu = alloc_percpu(struct ml_watch_cpu);
	if (!w->cpu)
		goto fail;
	for_each_possible_cpu(cpu) {
		struct ml_watch_cpu *watch = per_cpu_ptr(w->cpu, cpu);

		watch->turn = t;
		timer_setup(&watch->timer, ml_watch_tick, TIMER_DEFERRABLE | TIMER_PINNED);
	}
	rc = cpuhp_state_add_instance(ml_watch_state, &w->node);
	if (rc)
		goto fail;
	*out = w;
	return 0;
fail:
	free_percpu(w->cpu);
	kfree(w);
	return rc;
}

void ml_watch_exit(struct ml_watch *w)
{
	/* Calls ml_watch_offline() for each processor. */
	cpuhp_state_remove_instance(ml_watch_state, &w->node);
	free_percpu(w->cpu);
	kfree(w);
}
