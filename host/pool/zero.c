// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The owner's side of zeroing: start, stop, tell of demand, look; see zero.h. All of it
 * may be called by the event loop's thread, so nothing here takes the workers' lock.
 */
#include "zero.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/priority.h"
#include "zero_cpu.h"
#include "zero_loops.h"
#include "zero_worker.h"

#define STACK_BYTES (512 << 10)
#define BURST_NS 20000000ULL	/* of the bound, that may be saved up */

static bool config_valid(const struct zero_config *c)
{
	const struct zero_source *s = &c->source;

	return s->take && s->clean && s->undo && s->bad && s->address && s->counts && c->clock &&
	       c->block_bytes && c->block_bytes % ZERO_ALIGN == 0 && c->threads <= ZERO_THREADS_MAX &&
	       (!c->engine || (c->engine->depth >= 1 && c->engine->depth <= ZERO_DEPTH_MAX));
}

static struct zero_bounds bounds_or_default(const struct zero_bounds *given)
{
	if (given->least_clean || given->most_clean || given->horizon_ms)
		return *given;
	return (struct zero_bounds){
		.least_clean = ZERO_LEAST_CLEAN,
		.most_clean = UINT32_MAX,
		.horizon_ms = ZERO_HORIZON_MS,
	};
}

static void begin_counts(struct zero *z)
{
	uint64_t now = ml_boot_ns(z->clock), burst = z->bytes_per_s / (1000000000 / BURST_NS);
	struct zero_counts counts = { 0 };
	struct zero_view view;

	z->source.counts(z->source.ctx, &counts);
	z->first_clean = counts.clean;
	zero_use_init(&z->use, 0, now);
	zero_bucket_init(&z->bucket, z->bytes_per_s, burst > z->block_bytes ? burst : z->block_bytes, now);
	atomic_store(&z->window_ns, now);
	view = (struct zero_view){ .clean = counts.clean, .dirty = counts.dirty };
	atomic_store(&z->low, zero_plan_make(&z->bounds, &view).low);
	atomic_store(&z->high, zero_plan_make(&z->bounds, &view).high);
}

/* Threads go down to idle priority only if they can come back from it. */
static bool may_lift(void)
{
	if (sched_getscheduler(0) != SCHED_OTHER)
		return false;
	if (ml_priority_can_return())
		return true;
	ml_warn("zeroing runs at ordinary priority: RLIMIT_NICE does not let a thread come back from "
		"idle priority while a touch waits; LimitNICE=+0 in the unit, or starting as root, does");
	return false;
}

static int worker_init(struct zero *z, struct zero_worker *w)
{
	w->zero = z;
	for (unsigned int i = 0; i < ZERO_DEPTH_MAX; i++) {
		w->jobs[i].next = w->free;
		w->free = &w->jobs[i];
	}
	return z->engine->ops->open(z->engine, &w->queue);
}

static int worker_start(struct zero_worker *w)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int ret;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Signals are the event loop's; a bus error is the thread's own. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&w->thread, &attr, zero_worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

/* All queues before the first thread: an error then stops no thread that has blocks in hand. */
static int start_workers(struct zero *z, unsigned int threads)
{
	int ret = 0;

	z->worker = calloc(threads, sizeof(*z->worker));
	if (!z->worker)
		return -ENOMEM;
	for (unsigned int i = 0; i < threads && !ret; i++)
		ret = worker_init(z, &z->worker[i]);
	for (; z->threads < threads && !ret; z->threads += !ret)
		ret = worker_start(&z->worker[z->threads]);
	if (!ret || !z->threads)
		return ret;
	ml_warn("zeroing has %u of %u threads: %s", z->threads, threads, strerror(-ret));
	for (unsigned int i = z->threads; i < threads; i++)
		z->engine->ops->close(z->worker[i].queue);
	return 0;
}

static void zero_free(struct zero *z, unsigned int queues)
{
	for (unsigned int i = 0; z->worker && i < queues; i++) {
		if (z->worker[i].queue)
			z->engine->ops->close(z->worker[i].queue);
	}
	pthread_mutex_destroy(&z->lock);
	free(z->worker);
	free(z);
}

int zero_start(struct zero **out, const struct zero_config *config)
{
	unsigned int threads = config->threads ? config->threads : 1;
	struct zero *z;
	int ret;

	if (!config_valid(config)) {
		ml_err("zeroing: a block of %llu bytes and %u threads, or a function that is missing",
		       (unsigned long long)config->block_bytes, config->threads);
		return -EINVAL;
	}
	z = calloc(1, sizeof(*z));
	if (!z)
		return -ENOMEM;
	z->source = config->source;
	z->clock = config->clock;
	z->block_bytes = config->block_bytes;
	z->bytes_per_s = config->bytes_per_s;
	z->bounds = bounds_or_default(&config->bounds);
	z->can_lift = may_lift();
	z->engine = config->engine ? config->engine : zero_cpu_engine();
	pthread_mutex_init(&z->lock, NULL);
	begin_counts(z);
	ret = z->engine ? start_workers(z, threads) : -ENOMEM;
	if (ret) {
		ml_err("zeroing cannot start: %s", strerror(-ret));
		zero_free(z, threads);
		return ret;
	}
	*out = z;
	return 0;
}

static void lift_all(struct zero *z)
{
	if (!z->can_lift)
		return;
	for (unsigned int i = 0; i < z->threads; i++) {
		int tid = atomic_load(&z->worker[i].tid);

		if (!tid)
			continue;
		atomic_store(&z->worker[i].lifted, true);
		ml_priority_return(tid);
	}
}

void zero_stop(struct zero *z)
{
	if (!z)
		return;
	atomic_store(&z->stop, true);
	lift_all(z);
	zero_wake_all(z);
	for (unsigned int i = 0; i < z->threads; i++)
		pthread_join(z->worker[i].thread, NULL);
	assert(!atomic_load(&z->zeroing));
	zero_free(z, z->threads);
}

void zero_kick(struct zero *z)
{
	struct zero_counts counts = { 0 };

	z->source.counts(z->source.ctx, &counts);
	if (counts.dirty && (counts.clean < atomic_load(&z->low) || atomic_load(&z->waiting)))
		zero_wake(z, 1);
}

void zero_waiting(struct zero *z, uint32_t touches)
{
	uint32_t before = atomic_exchange(&z->waiting, touches);
	uint64_t now, span;

	if (!before == !touches) {
		if (touches > before) {
			lift_all(z);
			zero_wake(z, 1);
		}
		return;
	}
	now = ml_boot_ns(z->clock);
	if (touches) {
		atomic_fetch_add(&z->waits, 1);
		atomic_store(&z->wait_since_ns, now);
		lift_all(z);
		/* Also the threads that wait for the bound. */
		zero_wake_all(z);
		return;
	}
	span = now - atomic_load(&z->wait_since_ns);
	atomic_store(&z->wait_since_ns, 0);
	atomic_fetch_add(&z->wait_ns, span);
	if (span > atomic_load(&z->longest_wait_ns))
		atomic_store(&z->longest_wait_ns, span);
}

/* What was zeroed in a second: of the window under way if it is as old, else of the last. */
static uint64_t rate(struct zero *z, uint64_t now)
{
	uint64_t began = atomic_load(&z->window_ns), before = atomic_load(&z->window_zeroed);
	uint64_t zeroed = atomic_load(&z->zeroed);

	if (now < began + ZERO_WINDOW_NS || zeroed < before)
		return atomic_load(&z->window_rate);
	return (uint64_t)((unsigned __int128)(zeroed - before) * z->block_bytes * 1000000000 / (now - began));
}

void zero_stats(struct zero *z, struct zero_stats *out)
{
	uint64_t now = ml_boot_ns(z->clock), since = atomic_load(&z->wait_since_ns);
	struct zero_counts counts = { 0 };
	uint64_t ready;

	z->source.counts(z->source.ctx, &counts);
	*out = (struct zero_stats){
		.engine = z->engine->name,
		.bound_bytes_per_s = z->bytes_per_s,
		.clean = counts.clean,
		.dirty = counts.dirty,
		.zeroing = atomic_load(&z->zeroing),
		.low = atomic_load(&z->low),
		.high = atomic_load(&z->high),
		.waiting = atomic_load(&z->waiting),
		.zeroed_blocks = atomic_load(&z->zeroed),
		.undone_blocks = atomic_load(&z->undone),
		.bad_blocks = atomic_load(&z->bad),
		.bytes_per_s = rate(z, now),
		.use_blocks_per_s = atomic_load(&z->use_rate),
		.busy_ns = atomic_load(&z->busy_ns),
		.throttled_ns = atomic_load(&z->throttled_ns),
		.waits = atomic_load(&z->waits),
		.wait_ns = atomic_load(&z->wait_ns),
		.longest_wait_ns = atomic_load(&z->longest_wait_ns),
	};
	out->urgent = out->waiting && out->clean < (uint64_t)out->waiting + out->low;
	ready = (uint64_t)out->clean + out->zeroing;
	out->backlog = out->high > ready ? out->high - (uint32_t)ready : 0;
	if (out->backlog > out->dirty)
		out->backlog = out->dirty;
	if (!since || now < since)
		return;
	out->wait_ns += now - since;
	if (now - since > out->longest_wait_ns)
		out->longest_wait_ns = now - since;
}
