// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU as an engine; see zero_cpu.h. It works synchronously, one block at a time, with the
 * loop that was measured to be the best. It has no state but that choice, made once.
 */
#include "zero_cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/bus.h"
#include "../base/log.h"
#include "zero_loops.h"

struct zero_queue {
	void (*run)(void *data, size_t bytes);
	struct zero_job *done;	/* the last first */
};

struct cpu_engine {
	struct zero_engine engine;
	struct zero_choice choice;
	char name[64];
};

static double gib_s(uint64_t bytes_per_s)
{
	return (double)bytes_per_s / (double)(1UL << 30);
}

static int cpu_open(const struct zero_engine *engine, struct zero_queue **queue)
{
	const struct cpu_engine *cpu = (const struct cpu_engine *)engine;

	*queue = calloc(1, sizeof(**queue));
	if (!*queue)
		return -ENOMEM;
	(*queue)->run = cpu->choice.best->run;
	return 0;
}

static void cpu_close(struct zero_queue *queue)
{
	free(queue);
}

static int guarded_run(void (*run)(void *data, size_t bytes), void *data, size_t bytes)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0))
		return -EFAULT;
	ml_bus_guard(&here);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	run(data, bytes);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ml_bus_guard(NULL);
	return 0;
}

static int cpu_submit(struct zero_queue *queue, struct zero_job *const *jobs, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct zero_job *job = jobs[i];

		job->error = guarded_run(queue->run, job->data, job->bytes);
		job->next = queue->done;
		queue->done = job;
	}
	return (int)count;
}

static unsigned int cpu_reap(struct zero_queue *queue, struct zero_job **done, unsigned int max,
			     uint64_t wait_ns)
{
	unsigned int n = 0;

	(void)wait_ns;		/* what was begun is done */
	while (n < max && queue->done) {
		done[n] = queue->done;
		queue->done = done[n]->next;
		n++;
	}
	return n;
}

static const struct zero_engine_ops cpu_ops = {
	.open = cpu_open,
	.close = cpu_close,
	.submit = cpu_submit,
	.reap = cpu_reap,
};

static void log_choice(const struct zero_choice *choice)
{
	char text[512];
	size_t used = 0;

	for (unsigned int i = 0; i < zero_loop_count && used < sizeof(text); i++) {
		if (&zero_loops[i] == choice->best || !choice->rate[i])
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %.1f", used ? ", " : "",
					 zero_loops[i].name, gib_s(choice->rate[i]));
	}
	ml_info("zeroing with %s: %.1f GiB/s (%s), measured in %.0f ms", choice->best->name,
		gib_s(choice->rate[choice->best - zero_loops]), used ? text : "there is no other",
		(double)choice->took_ns / 1e6);
}

const struct zero_engine *zero_cpu_engine(void)
{
	static struct cpu_engine cpu;
	static bool chosen;

	if (chosen)
		return &cpu.engine;
	if (ml_bus_init() < 0)
		return NULL;
	if (zero_choose(&cpu.choice) < 0) {
		ml_warn("zeroing: no memory to measure store loops on; zeroing with %s",
			cpu.choice.best->name);
		snprintf(cpu.name, sizeof(cpu.name), "CPU: %s", cpu.choice.best->name);
	} else {
		log_choice(&cpu.choice);
		snprintf(cpu.name, sizeof(cpu.name), "CPU: %s, %.1f GiB/s", cpu.choice.best->name,
			 gib_s(cpu.choice.rate[cpu.choice.best - zero_loops]));
	}
	cpu.engine = (struct zero_engine){ .ops = &cpu_ops, .name = cpu.name, .depth = 1 };
	chosen = true;
	return &cpu.engine;
}
