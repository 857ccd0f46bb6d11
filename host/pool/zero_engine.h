/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can zero memory: the CPU (zero_cpu.c), or a DMA engine. zero.c gives an engine
 * blocks in batches and reaps them as they are done, in whatever order; it knows
 * engines through this table of functions only.
 *
 * Each worker thread opens a queue of its own and is the only one to use it, so a queue
 * needs no lock. Memory that an engine reports as done holds zeros for every CPU and
 * device that learns of it through a release and an acquire: an engine whose stores are
 * not ordered by themselves (non-temporal ones, a device's) orders them before it says so.
 */
#ifndef ML_POOL_ZERO_ENGINE_H
#define ML_POOL_ZERO_ENGINE_H

#include <stddef.h>
#include <stdint.h>

struct zero_engine;
struct zero_queue;		/* the engine's own */

/* One block's worth of work. The worker's; the engine may use it from submit to reap. */
struct zero_job {
	void *data;		/* aligned to bytes */
	size_t bytes;
	uint32_t block;		/* for messages */
	/*
	 * Filled in by the engine: 0, data holds zeros. -EHWPOISON, -EFAULT: the memory
	 * itself cannot be written. Others: the engine has failed, the memory may be well.
	 */
	int error;
	struct zero_job *next;	/* the engine's, while it has the job */
};

struct zero_engine_ops {
	/* A queue for the calling thread. -ENOMEM, or the system's. */
	int (*open)(const struct zero_engine *engine, struct zero_queue **queue);
	/* Nothing is in flight. */
	void (*close)(struct zero_queue *queue);
	/*
	 * Begin jobs, in order: how many were begun, 1 to count, the rest is the caller's to
	 * bring again; or -errno, and none was begun. No more than engine->depth are ever in
	 * flight. An engine that works synchronously does all the work here.
	 */
	int (*submit)(struct zero_queue *queue, struct zero_job *const *jobs, unsigned int count);
	/*
	 * Up to max jobs that are done, with their error; waits until there is one, for
	 * wait_ns at most. Returns how many; 0: none yet. An engine that can lose a job gives
	 * it back, with an error, before it forgets it.
	 */
	unsigned int (*reap)(struct zero_queue *queue, struct zero_job **done, unsigned int max,
			     uint64_t wait_ns);
};

struct zero_engine {
	const struct zero_engine_ops *ops;
	const char *name;	/* for people: "CPU: clzero, 64.1 GiB/s" */
	unsigned int depth;	/* most jobs in flight per queue, at least 1 */
};

#define ZERO_DEPTH_MAX 128

#endif /* ML_POOL_ZERO_ENGINE_H */
