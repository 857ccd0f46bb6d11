// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The threads of zero.c. Each has a queue of the engine, and goes round: see what the plan
 * and the bound allow, take so many dirty blocks, begin them, reap what is done, rest if
 * there is nothing. Nothing here may make the event loop wait.
 */
#include "zero_worker.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/priority.h"

#define REAP_WAIT_NS 10000000ULL
#define PAUSE_NS 2000000ULL	/* after an engine's failure, or when there was no block */
#define REST_FOR_EVER UINT64_MAX

/* --- sleeping and waking --- */

static void futex_wake(struct zero *z, int count)
{
	syscall(SYS_futex, &z->wake, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void zero_wake(struct zero *z, unsigned int count)
{
	atomic_fetch_add(&z->wake, 1);
	if (atomic_load(&z->sleepers))
		futex_wake(z, (int)count);
}

void zero_wake_all(struct zero *z)
{
	atomic_fetch_add(&z->wake, 1);
	futex_wake(z, INT32_MAX);
}

/* Unless `wake` is not `seen` any more. */
static void futex_wait(struct zero *z, uint32_t seen, uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	syscall(SYS_futex, &z->wake, FUTEX_WAIT_PRIVATE, seen, ns == REST_FOR_EVER ? NULL : &t, NULL, 0);
}

/* Until there is work; or for so long, until the bound allows more. */
static void rest(struct zero *z, uint32_t seen, uint64_t ns)
{
	uint64_t began;

	if (ns == REST_FOR_EVER) {
		atomic_fetch_add(&z->sleepers, 1);
		futex_wait(z, seen, ns);
		atomic_fetch_sub(&z->sleepers, 1);
		return;
	}
	began = ml_boot_ns(z->clock);
	futex_wait(z, seen, ns);
	atomic_fetch_add(&z->throttled_ns, ml_boot_ns(z->clock) - began);
}

/* What could not be done now is not tried again at once; a waking does not end this. */
static void pause_for_a_while(struct zero_worker *w)
{
	futex_wait(w->zero, atomic_load(&w->zero->wake), PAUSE_NS);
	w->pause = false;
}

/* --- priority --- */

static bool hurried(struct zero *z)
{
	return atomic_load(&z->waiting) || atomic_load(&z->stop);
}

/*
 * When a wait begins the owner lifts the threads at idle priority, for they may not run soon
 * enough to do it themselves; each goes down again by itself, when it next comes round. A
 * thread that goes down just as a wait begins comes up at the second look here, or at the
 * next touch that waits: it has no block in hand.
 */
static void settle_priority(struct zero_worker *w)
{
	struct zero *z = w->zero;

	if (!z->can_lift || hurried(z) == atomic_load(&w->lifted))
		return;
	if (atomic_exchange(&w->lifted, false)) {
		ml_priority_idle();
		if (!hurried(z))
			return;
	}
	atomic_store(&w->lifted, true);
	ml_priority_return(0);
}

/* --- one round --- */

/* Under lock: what is to be done now, and what others may know of it. */
static struct zero_plan look_and_plan(struct zero *z, uint64_t now)
{
	struct zero_counts counts = { 0 };
	struct zero_view view;
	struct zero_plan plan;
	uint64_t ever;

	view.zeroing = atomic_load(&z->zeroing);
	ever = atomic_load(&z->zeroed) + z->first_clean;
	z->source.counts(z->source.ctx, &counts);
	view.clean = counts.clean;
	view.dirty = counts.dirty;
	view.waiting = atomic_load(&z->waiting);
	view.working = z->working;
	view.use_blocks_per_s = zero_use_note(&z->use, ever > counts.clean ? ever - counts.clean : 0, now);
	plan = zero_plan_make(&z->bounds, &view);
	z->working = plan.work;
	atomic_store(&z->use_rate, view.use_blocks_per_s);
	atomic_store(&z->low, plan.low);
	atomic_store(&z->high, plan.high);
	return plan;
}

static void close_window(struct zero *z, uint64_t now)
{
	uint64_t span = now - atomic_load(&z->window_ns), zeroed = atomic_load(&z->zeroed);

	if (span < ZERO_WINDOW_NS)
		return;
	atomic_store(&z->window_rate, (uint64_t)((unsigned __int128)(zeroed - atomic_load(&z->window_zeroed)) *
						 z->block_bytes * 1000000000 / span));
	atomic_store(&z->window_zeroed, zeroed);
	atomic_store(&z->window_ns, now);
}

/* How many blocks this worker may take now; *wait_ns: if 0 blocks, how long to rest. */
static unsigned int allowance(struct zero_worker *w, uint64_t *wait_ns)
{
	struct zero *z = w->zero;
	unsigned int room = z->engine->depth - w->in_flight - w->pending, n = 0;
	struct zero_plan plan;
	uint64_t now;

	*wait_ns = REST_FOR_EVER;
	if (atomic_load(&z->stop))
		return 0;
	pthread_mutex_lock(&z->lock);
	now = ml_boot_ns(z->clock);
	plan = look_and_plan(z, now);
	close_window(z, now);
	while (n < room && n < plan.want) {
		uint64_t wait = plan.urgent ? 0 : zero_bucket_take(&z->bucket, z->block_bytes, now);

		if (wait) {
			*wait_ns = wait;
			break;
		}
		n++;
	}
	atomic_fetch_add(&z->zeroing, n);
	pthread_mutex_unlock(&z->lock);
	/* More than this thread can do: wake the next, which wakes one after it in the same way. */
	if (plan.want > n && *wait_ns == REST_FOR_EVER)
		zero_wake(z, 1);
	return n;
}

/* Take up to n dirty blocks, which are counted as being zeroed already; others may be faster. */
static void take_blocks(struct zero_worker *w, unsigned int n)
{
	struct zero *z = w->zero;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t block = z->source.take(z->source.ctx);
		struct zero_job *job = w->free;

		if (block == ZERO_NO_BLOCK) {
			atomic_fetch_sub(&z->zeroing, n - i);
			w->pause = true;
			return;
		}
		assert(job);
		w->free = job->next;
		*job = (struct zero_job){
			.data = z->source.address(z->source.ctx, block),
			.bytes = z->block_bytes,
			.block = block,
		};
		w->todo[w->pending++] = job;
	}
}

static void give_back(struct zero_worker *w, struct zero_job *job)
{
	struct zero *z = w->zero;

	if (!job->error) {
		z->source.clean(z->source.ctx, job->block);
		atomic_fetch_add(&z->zeroed, 1);
	} else if (job->error == -EHWPOISON || job->error == -EFAULT) {
		ml_err("block %u cannot be written (%s)", job->block, strerror(-job->error));
		z->source.bad(z->source.ctx, job->block, job->error);
		atomic_fetch_add(&z->bad, 1);
	} else {
		uint64_t before = atomic_fetch_add(&z->undone, 1);

		/* The first, the second, the fourth, ...: an engine can fail very often. */
		if (!(before & (before + 1)))
			ml_warn("zeroing by %s failed (%s) on block %u, %llu times so far; will be tried again",
				z->engine->name, strerror(-job->error), job->block,
				(unsigned long long)before + 1);
		z->source.undo(z->source.ctx, job->block);
		w->pause = true;
	}
	/* After the block is counted as clean, so that nobody takes one too many for it. */
	atomic_fetch_sub(&z->zeroing, 1);
	job->next = w->free;
	w->free = job;
}

/* Give back what was not begun: because of error, or undone without one. */
static void drop_pending(struct zero_worker *w, int error)
{
	for (unsigned int i = 0; i < w->pending; i++) {
		w->todo[i]->error = error;
		give_back(w, w->todo[i]);
	}
	w->pending = 0;
}

static void submit_jobs(struct zero_worker *w)
{
	int n;

	if (!w->pending)
		return;
	n = w->zero->engine->ops->submit(w->queue, w->todo, w->pending);
	if (n < 0) {
		/* Of whatever kind: it says nothing of a block. */
		drop_pending(w, n == -EHWPOISON || n == -EFAULT ? -EIO : n);
		return;
	}
	assert((unsigned int)n <= w->pending);
	w->in_flight += (unsigned int)n;
	w->pending -= (unsigned int)n;
	memmove(w->todo, w->todo + n, w->pending * sizeof(*w->todo));
}

static void reap_jobs(struct zero_worker *w)
{
	struct zero_job *done[ZERO_DEPTH_MAX];
	unsigned int n;

	if (!w->in_flight)
		return;
	n = w->zero->engine->ops->reap(w->queue, done, w->in_flight, REAP_WAIT_NS);
	assert(n <= w->in_flight);
	w->in_flight -= n;
	for (unsigned int i = 0; i < n; i++)
		give_back(w, done[i]);
}

/* --- the thread --- */

static void work(struct zero_worker *w)
{
	struct zero *z = w->zero;
	uint64_t began = ml_boot_ns(z->clock);

	submit_jobs(w);
	reap_jobs(w);
	atomic_fetch_add(&z->busy_ns, ml_boot_ns(z->clock) - began);
}

static void be_named(const struct zero_worker *w)
{
	char name[16];

	snprintf(name, sizeof(name), "ml-zero-%u", (unsigned int)(w - w->zero->worker) % 100);
	pthread_setname_np(pthread_self(), name);
}

void *zero_worker_main(void *arg)
{
	struct zero_worker *w = arg;
	struct zero *z = w->zero;

	ml_priority_ordinary();
	be_named(w);
	atomic_store(&w->lifted, true);
	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	for (;;) {
		uint32_t seen = atomic_load(&z->wake);
		uint64_t wait_ns = REST_FOR_EVER;

		settle_priority(w);
		if (!w->pause)
			take_blocks(w, allowance(w, &wait_ns));
		if (w->pending && atomic_load(&z->stop))
			drop_pending(w, -ECANCELED);
		if (w->pending || w->in_flight)
			work(w);
		else if (atomic_load(&z->stop))
			return NULL;
		else if (w->pause)
			pause_for_a_while(w);
		else
			rest(z, seen, wait_ns);
	}
}
