/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watch: a timer on each processor that is not idle, which wakes the growing
 * worker when free memory, or a kind of it, falls under a level. It sees a burst of allocations
 * within ML_WATCH_MS, and costs an idle machine nothing: deferrable timers do
 * not wake a processor, and one that sleeps allocates nothing.
 */
#ifndef MEMLEASE_WATCH_H
#define MEMLEASE_WATCH_H

#include <linux/percpu.h>
#include <linux/timer.h>
#include <linux/types.h>

struct ml_device;

struct ml_watch_cpu {
	struct timer_list timer;
	struct ml_device *ml;
};

/* Bytes free, of all, of what the kernel can use, and in large pages; 0: do not wake. */
struct ml_levels {
	u64 free;
	u64 kernel;
	u64 large;
};

struct ml_watch {
	struct ml_watch_cpu __percpu *cpu;
	struct hlist_node node;		/* for processors that come and go */
	struct ml_levels level;
};

/* Once for the module, around all devices. */
int ml_watch_module_init(void);
void ml_watch_module_exit(void);

int ml_watch_init(struct ml_device *ml);
void ml_watch_exit(struct ml_device *ml);

/*
 * Wake the growing worker, once, when free memory is under one of these. Any
 * context.
 */
void ml_watch_set(struct ml_device *ml, const struct ml_levels *level);

#endif /* MEMLEASE_WATCH_H */
