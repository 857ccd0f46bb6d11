/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What zero.c (the owner's side) and zero_worker.c (the threads) share. Nobody else
 * includes it. Three kinds of fields: what never changes after zero_start(); atomics, that
 * anyone may look at; and what the workers keep among themselves under `lock`, which only
 * they ever take, for one of them may be off the CPU for long while it holds it.
 */
#ifndef ML_POOL_ZERO_WORKER_H
#define ML_POOL_ZERO_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "../base/clock.h"
#include "zero_engine.h"
#include "zero_plan.h"
#include "zero_source.h"

struct zero_worker {
	struct zero *zero;
	pthread_t thread;
	_Atomic int tid;		/* 0: not begun */
	struct zero_queue *queue;
	_Atomic bool lifted;		/* it runs at ordinary priority, or is about to: set before */
	bool pause;			/* what failed is not tried at once again */
	unsigned int in_flight, pending;
	struct zero_job *free;		/* jobs that are in no hand */
	struct zero_job *todo[ZERO_DEPTH_MAX];	/* pending ones: taken, not begun */
	struct zero_job jobs[ZERO_DEPTH_MAX];
};

struct zero {
	struct zero_source source;
	const struct zero_engine *engine;
	const struct ml_clock *clock;
	uint64_t block_bytes, bytes_per_s;
	struct zero_bounds bounds;
	unsigned int threads;
	bool can_lift;			/* a thread may leave idle priority again */
	struct zero_worker *worker;

	/* Sleeping: a thread that rests waits until `wake` is not what it was before it looked for work. */
	_Atomic uint32_t wake;
	_Atomic uint32_t sleepers;	/* without threads that wait for the bound: they wake by themselves */
	_Atomic bool stop;
	_Atomic uint32_t waiting;

	_Atomic uint32_t zeroing, low, high, want;
	_Atomic uint64_t zeroed, undone, bad, busy_ns, throttled_ns, use_rate;
	/* The window over which the rate is counted, and what the one before has come to. */
	_Atomic uint64_t window_ns, window_zeroed, window_rate;

	/* The thread's that calls zero_waiting(). */
	_Atomic uint64_t waits, wait_ns, wait_since_ns, longest_wait_ns;

	pthread_mutex_t lock;
	struct zero_bucket bucket;
	struct zero_use use;
	uint32_t first_clean;		/* clean at the start: zeroed + this - clean have been used */
	bool working;
};

#define ZERO_WINDOW_NS 1000000000ULL

void *zero_worker_main(void *arg);

/* Wake up to count of the threads that rest. Called after the change that they are to see. */
void zero_wake(struct zero *z, unsigned int count);

/* Wake all, also those that wait for the bound. */
void zero_wake_all(struct zero *z);

#endif /* ML_POOL_ZERO_WORKER_H */
