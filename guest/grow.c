// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Growing; see grow.h.
 *
 * The worker has access to memory reserves and never waits for memory: it is
 * what others wait for. It borrows first, and hands Linux only whole memory
 * blocks that were granted whole. Each takes a page array of 1/64 of its size
 * from the memory that is there, unless the kernel puts it inside: so a reserve
 * is kept for it, which is given to the kernel just before it is needed.
 *
 * Timers: `work` runs every 4 to 500 ms, by ml_look_ms(). Reclaim moves it to
 * now, at most once a tick, and so does the watch (watch.c), which sees a burst
 * that began after the last look. An out-of-memory event moves it to now and waits up to
 * ML_OOM_WAIT_MS for the round that it caused. After a refusal the worker asks
 * again after 200 ms, doubling up to 5 s; an out-of-memory event asks at once.
 * It waits ML_OOM_ATTEMPT_MS longer while a memory block is being emptied.
 */
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>

#include "compat/compat.h"
#include "memlease.h"
#include "pace.h"

#define ML_PAUSE_FIRST_MS	200
#define ML_PAUSE_MAX_MS		5000
#define ML_OOM_WAIT_MS		5000
#define ML_OOM_ATTEMPT_MS	10000	/* longer, while a memory block is being emptied */
#define ML_IDLE_LOOK_MS		100U	/* while nothing can be borrowed */
#define ML_SLOW_BYTES_S		(1ULL << 20)
#define ML_GUARD_MS		20U	/* while a memory block is being emptied */
#define ML_PACE_FREE_BLOCKS	2	/* memory blocks' worth of free memory: then there is time */
#define ML_DOUBT_MS		10U
#define ML_ROUNDS_MAX		8	/* of one run of the worker */
#define ML_CACHE_LOOK_MS	100U	/* while page cache is read again */
#define ML_STOCK_FIRST_MS	5000	/* after it did not help */
#define ML_STOCK_MAX_MS		600000
#define ML_MOVED_US		500000ULL	/* after which cache that moved is forgotten */
#define ML_WAITS_FIRST_MS	1000
#define ML_WAITS_MAX_MS		300000

static void ml_grow_pause(struct ml_grow *g)
{
	g->pause_ms = ml_backoff_ms(g->pause_ms, ML_PAUSE_FIRST_MS, ML_PAUSE_MAX_MS);
	g->not_before = jiffies + msecs_to_jiffies(g->pause_ms);
}

static void ml_grow_refused(struct ml_device *ml, u32 reason)
{
	struct ml_grow *g = &ml->grow;

	atomic64_inc(&g->refusals);
	WRITE_ONCE(g->last_reason, reason);
	ml_grow_pause(g);
}

/* Hand a block to Linux that was granted whole. */
static int ml_grow_add(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	struct ml_grow *g = &ml->grow;
	int rc;

	if (!mutex_trylock(&b->hotplug)) {
		/* Who empties a block can do so another time. */
		atomic_inc(&b->wanted);
		ml_shrink_interrupt(ml);
		ml_split_interrupt(ml);
		mutex_lock(&b->hotplug);
		atomic_dec(&b->wanted);
	}
	rc = ml_reserve_use(ml);
	if (!rc)
		rc = ml_blocks_add(ml, i);
	mutex_unlock(&b->hotplug);
	if (rc) {
		dev_warn_ratelimited(&ml->vdev->dev,
				     "adding memory block %u failed (error %d), giving it back\n",
				     i, rc);
		WRITE_ONCE(ml->last_error, rc);
		ml_blocks_return(ml, i, g->give_back);
		ml_grow_pause(g);
		return rc;
	}
	g->last_add = jiffies;
	g->added_since_look += b->mb_bytes;
	atomic64_add(b->mb_bytes, &g->added_bytes);
	/* Past the target, if the host let us: come back to it when that is possible. */
	if (ml_host_now(ml).target_blocks != MEMLEASE_NO_TARGET)
		ml_shrink_kick(ml);
	/* Who ran out of memory goes on with the first block. */
	wake_up_all(&g->wait);
	return 0;
}

/*
 * Adding a block takes milliseconds of a vCPU. As long as programs take little and
 * there is room, they come first.
 */
static void ml_grow_pace(struct ml_device *ml, u64 began_ns)
{
	struct ml_grow *g = &ml->grow;

	if (!atomic_read(&g->urgent) && g->rate < ML_PACE_BYTES_S &&
	    ml_free_bytes() > ML_PACE_FREE_BLOCKS * ml->blocks.mb_bytes)
		ml_pace(ktime_get_ns() - began_ns);
}

/* Borrow and add up to n blocks. Returns how many Linux has got. */
static u32 ml_grow_by(struct ml_device *ml, u32 n, enum ml_reason_grow why, bool kernel)
{
	struct ml_grow *g = &ml->grow;
	struct ml_span spans[ML_GROW_STEP];
	u32 picked[ML_GROW_STEP];
	u32 i, got = 0, slots = ml->blocks.slots_per_mb;
	u32 reason = MEMLEASE_WHY_OK;
	u64 began_ns;
	int rc;

	n = ml_blocks_take(ml, kernel, picked, min3(n, (u32)ML_GROW_STEP, ml->fixed.max_extents));
	if (!n)
		return 0;
	for (i = 0; i < n; i++)
		spans[i] = ml_blocks_span(ml, picked[i], slots);
	ml_request_spans(g->borrow, MEMLEASE_REQ_BORROW, spans, n);
	rc = ml_queue_call(&ml->queue, g->borrow);
	if (rc) {
		/* Nothing was granted that we know of, and nothing is touched. */
		for (i = 0; i < n; i++)
			ml_blocks_set(ml, picked[i], ML_VACANT);
		ml_failed(ml, "BORROW", rc);
		ml_grow_refused(ml, MEMLEASE_WHY_OK);
		return 0;
	}
	atomic64_inc(&g->borrows);
	/* All grants first: they count as held, whatever adding them takes. */
	for (i = 0; i < n; i++)
		ml_blocks_hold(ml, picked[i], ml_request_done(g->borrow, i));
	for (i = 0; i < n; i++) {
		u32 done = ml_request_done(g->borrow, i);

		if (done < slots)
			reason = ml_request_reason(g->borrow, i);
		if (done < slots && reason == MEMLEASE_WHY_RETIRED)
			ml_blocks_retire(ml, spans[i].first + done, 1);
		if (!done) {
			ml_blocks_set(ml, picked[i], ML_VACANT);
		} else if (done < slots) {
			ml_blocks_return(ml, picked[i], g->give_back);
		} else {
			ml_blocks_set(ml, picked[i], ML_COMMITTED);
			began_ns = ktime_get_ns();
			got += !ml_grow_add(ml, picked[i]);
			ml_grow_pace(ml, began_ns);
		}
	}
	atomic64_add(got, &g->added_for[why]);
	if (got && kernel)
		ml_split_kick(ml);
	if (reason != MEMLEASE_WHY_OK && reason != MEMLEASE_WHY_RETIRED)
		ml_grow_refused(ml, reason);
	else if (got)
		g->pause_ms = 0;
	return got;
}

/* Is a memory block being emptied? */
static bool ml_grow_attempt(struct ml_device *ml)
{
	return READ_ONCE(ml->shrink.attempt) || READ_ONCE(ml->split.attempt);
}

static u64 ml_over(u64 have, u64 mark)
{
	return have > mark ? have - mark : 0;
}

/* The level at which half of spare is gone; 0 if there is none to wait for. */
static u64 ml_halfway(u64 free, u64 spare)
{
	return spare && free > spare / 2 ? free - spare / 2 : 0;
}

static u32 ml_grow_room(struct ml_device *ml, bool urgent)
{
	struct ml_host host = ml_host_now(ml);

	return ml_room(host.limit_blocks, host.target_blocks, ml_blocks_held(ml),
		       ml->blocks.slots_per_mb, ml_blocks_in(ml, ML_VACANT), urgent);
}

/*
 * Page cache may have taken the stock. As long as nobody misses it that is well; who
 * waits for a large page does. Not at once again, because the cache may take the next
 * block as well.
 */
static void ml_grow_mind_waits(struct ml_grow *g, u64 stock_mark, u64 elapsed_us)
{
	u64 waits = ml_large_waits(), io = ml_block_io_bytes(), cache = ml_file_bytes();

	/* Over a while: looks can be 4 ms apart. */
	g->moved -= g->moved * min(elapsed_us, ML_MOVED_US) / ML_MOVED_US;
	g->moved += io - g->last_io + max(cache, g->last_cache) - min(cache, g->last_cache);
	if (waits != g->last_waits && time_after_eq(jiffies, g->next_wait) &&
	    ml_stock_missed(&g->stock, stock_mark, g->moved)) {
		g->wait_ms = ml_backoff_ms(g->wait_ms, ML_WAITS_FIRST_MS, ML_WAITS_MAX_MS);
		g->next_wait = jiffies + msecs_to_jiffies(g->wait_ms);
	} else if (time_after(jiffies, g->next_wait + msecs_to_jiffies(ML_WAITS_MAX_MS))) {
		g->wait_ms = 0;
		g->next_wait = jiffies;
	}
	g->last_waits = waits;
	g->last_io = io;
	g->last_cache = cache;
}

/*
 * Borrowing for the stock, look after look, must not go on where it does not help,
 * as with marks of the kernel's (vm.min_free_kbytes) that keep all of it.
 */
static void ml_grow_mind_stock(struct ml_grow *g, u64 available, u64 have_before)
{
	if (!g->for_stock)
		return;
	if (ml_stock_vain(g->for_stock, g->last_available, available, have_before,
			  ml_stock_have(&g->stock))) {
		g->stock_ms = ml_backoff_ms(g->stock_ms, ML_STOCK_FIRST_MS, ML_STOCK_MAX_MS);
		g->next_stock = jiffies + msecs_to_jiffies(g->stock_ms);
	} else {
		g->stock_ms = 0;
	}
	g->for_stock = 0;
}

/*
 * Pages that the kernel is about to report, or has reported and not put back yet, are
 * missing for a moment, and a long one where the host takes the processor away. So a
 * fall that begins is believed at the second look, unless it leads below the mark.
 */
static bool ml_grow_doubts(struct ml_grow *g, u64 rate, u64 available, u64 low)
{
	g->doubted = !g->doubted && ml_rate_sudden(g->rate, rate, available, low);
	return g->doubted;
}

/*
 * Measure how fast programs take memory, since the last look, and of which kind.
 * Returns false if that is in doubt: then it counts as no look.
 */
static bool ml_grow_measure(struct ml_device *ml, const struct ml_marks *marks)
{
	struct ml_grow *g = &ml->grow;
	u64 now_ns = ktime_get_ns(), kernel = ml_kernel_available_bytes();
	u64 available = ml_for_programs(marks, ml_available(ml), kernel);
	u64 again = ml_read_again_bytes();
	u64 large = ml_large_free_bytes() + atomic64_read(&ml->report.isolated_bytes);
	u64 elapsed_us = div_u64(now_ns - g->last_look_ns, NSEC_PER_USEC);
	u32 attempts = READ_ONCE(ml->shrink.attempts) + READ_ONCE(ml->split.attempts);
	u64 rate = g->rate / 2, have_before = ml_stock_have(&g->stock);

	if (attempts == g->last_attempts && !ml_grow_attempt(ml)) {
		rate = ml_rate(g->rate, g->last_available, available, g->added_since_look,
			       elapsed_us);
		if (ml_grow_doubts(g, rate, available, marks->low))
			return false;
		g->kernel_rate = ml_rate(g->kernel_rate, g->last_kernel, kernel, 0, elapsed_us);
		ml_stock_look(&g->stock, large, ml_file_bytes(), g->added_since_look, elapsed_us);
	} else {
		/* What is kept from use while a block is emptied is used by nobody. */
		g->kernel_rate /= 2;
		g->stock.large = large;
	}
	ml_grow_mind_stock(g, available, have_before);
	g->cache_credit = ml_cache_credit(g->cache_credit, again - g->last_again, ml_free_bytes(),
					  elapsed_us, ml->blocks.mb_bytes);
	ml_grow_mind_waits(g, ml_stock_mark(marks), elapsed_us);
	WRITE_ONCE(g->rate, rate);
	g->last_attempts = attempts;
	g->last_available = available;
	g->last_kernel = kernel;
	g->last_again = again;
	g->last_look_ns = now_ns;
	g->added_since_look = 0;
	return true;
}

/* How many blocks of movable memory to borrow, and what for. */
static u32 ml_grow_decide(struct ml_device *ml, const struct ml_marks *marks, u32 room,
			  bool urgent, enum ml_reason_grow *why)
{
	struct ml_grow *g = &ml->grow;
	u64 mb_bytes = ml->blocks.mb_bytes;
	struct ml_need need = {
		.available = g->last_available,
		.rate = g->rate,
		.mb_bytes = mb_bytes,
		.room = room,
		.step = ML_GROW_STEP,
		.urgent = urgent,
	};
	u32 n = ml_grow_want(&need, marks), stock;

	*why = urgent ? ML_FOR_OOM : ML_FOR_AVAILABLE;
	stock = time_before(jiffies, g->next_stock) ? 0 :
		ml_stock_want(&g->stock, ml_stock_mark(marks), mb_bytes,
			      min_t(u32, room, ML_GROW_STEP));
	/* What comes for the one serves the other. */
	if (stock > n) {
		if (!n)
			*why = ML_FOR_STOCK;
		n = stock;
	}
	if (!n && room && ml_cache_wants(g->cache_credit, mb_bytes) && ml_free_bytes() < mb_bytes) {
		*why = ML_FOR_CACHE;
		g->cache_credit -= mb_bytes;
		n = 1;
	}
	return n;
}

/* One look, and what follows from it. Returns how many blocks Linux has got. */
static u32 ml_grow_round(struct ml_device *ml, bool urgent)
{
	struct ml_grow *g = &ml->grow;
	struct ml_marks marks = ml_marks_now(ml);
	bool pause = !urgent && time_before(jiffies, g->not_before);
	enum ml_reason_grow why;
	u32 room, n;

	/* On the way down devices go, and memory cannot be onlined any more. */
	if (system_state > SYSTEM_RUNNING)
		return 0;
	if (!ml_grow_measure(ml, &marks) && !urgent)
		return 0;
	room = pause ? 0 : ml_grow_room(ml, urgent);
	if (ml_kernel_short(&marks, g->last_kernel, g->kernel_rate, ml_movable_free_bytes(),
			    urgent)) {
		n = room ? ml_grow_by(ml, 1, ML_FOR_KERNEL, true) : 0;
		/* No block from the host: one that is here has to do. */
		if (!n)
			ml_split_want(ml);
		return n;
	}
	n = ml_grow_decide(ml, &marks, room, urgent, &why);
	n = n ? ml_grow_by(ml, n, why, false) : 0;
	if (why == ML_FOR_STOCK)
		g->for_stock = n * ml->blocks.mb_bytes;
	return n;
}

/*
 * A memory block is being emptied, and what is in it needs room elsewhere. If
 * programs, or the kernel, take that meanwhile, let go of the block.
 */
static u32 ml_grow_guard(struct ml_device *ml, const struct ml_marks *marks)
{
	u64 available = ml_available(ml), free = ml_free_bytes();
	struct ml_levels level = { 0 };

	if (available < marks->reserve || ml_kernel_available_bytes() < marks->kernel / 2) {
		ml_shrink_interrupt(ml);
		ml_split_interrupt(ml);
	} else {
		level.free = ml_halfway(free, available - marks->reserve);
	}
	ml_watch_set(ml, &level);
	return ML_GUARD_MS;
}

/* When to look again, in ms; and sees to it that the watch wakes us before. */
static u32 ml_grow_next(struct ml_device *ml)
{
	struct ml_grow *g = &ml->grow;
	struct ml_marks marks = ml_marks_now(ml);
	u64 mark = ml_stock_mark(&marks), stock = ml_stock_have(&g->stock);
	/* Half of what may go before a mark is reached: wake up by then. */
	struct ml_levels level = {
		.free = ml_halfway(ml_free_bytes(), ml_over(g->last_available, marks.low)),
		.kernel = ml_halfway(ml_kernel_free_bytes(),
				     ml_over(g->last_kernel, marks.kernel)),
		.large = stock > mark ? ml_halfway(g->stock.large, stock - mark) : 0,
	};
	u32 look_ms = min3(ml_look_ms(g->last_available, marks.low, g->rate),
			   ml_look_ms(g->last_kernel, marks.kernel, g->kernel_rate),
			   ml_look_ms(stock, mark, g->stock.rate));

	if (g->doubted)
		look_ms = min(look_ms, ML_DOUBT_MS);
	if (ml_grow_attempt(ml))
		return min(look_ms, ml_grow_guard(ml, &marks));
	if (g->cache_credit)
		look_ms = min(look_ms, ML_CACHE_LOOK_MS);
	if (time_before(jiffies, g->not_before) || !ml_grow_room(ml, false)) {
		/* With nothing to be had, looking often is of no use. */
		level.free = 0;
		level.large = 0;
		/* But shrinking waits to hear that memory does not go fast any more. */
		look_ms = g->rate > ML_SLOW_BYTES_S ? ML_IDLE_LOOK_MS : max(look_ms, ML_IDLE_LOOK_MS);
	}
	ml_watch_set(ml, &level);
	return look_ms;
}

static void ml_grow_work(struct work_struct *work)
{
	struct ml_grow *g = container_of(to_delayed_work(work), struct ml_grow, work);
	struct ml_device *ml = container_of(g, struct ml_device, grow);
	unsigned int flags = memalloc_noreclaim_save();
	u32 asked = atomic_xchg(&g->urgent, 0), round;

	for (round = 0; round < ML_ROUNDS_MAX && !READ_ONCE(g->stopped); round++)
		if (!ml_grow_round(ml, asked && !round))
			break;
	memalloc_noreclaim_restore(flags);
	ml_reserve_keep(ml);
	if (asked) {
		atomic_inc(&g->answered);
		wake_up_all(&g->wait);
	}
	if (!READ_ONCE(g->stopped))
		/* Not modified: a kick that came meanwhile is due earlier. */
		queue_delayed_work(g->wq, &g->work, msecs_to_jiffies(ml_grow_next(ml)));
}

void ml_grow_kick(struct ml_device *ml)
{
	if (!READ_ONCE(ml->grow.stopped))
		mod_delayed_work(ml->grow.wq, &ml->grow.work, 0);
}

/* Reclaim has begun: no object of ours to free, but a good time to look. */
static unsigned long ml_grow_count_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct ml_device *ml = ml_shrinker_private(shrinker);

	if (time_after_eq(jiffies, READ_ONCE(ml->grow.next_kick))) {
		WRITE_ONCE(ml->grow.next_kick, jiffies + 1);
		ml_grow_kick(ml);
	}
	return 0;
}

static unsigned long ml_grow_scan_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	return SHRINK_STOP;
}

/* Has the worker found something, or seen that there is nothing? */
static bool ml_grow_answered(struct ml_grow *g, u64 before, int answered)
{
	return atomic64_read(&g->added_bytes) != before ||
	       atomic_read(&g->answered) != answered || READ_ONCE(g->stopped);
}

/*
 * The kernel is about to kill a process. It holds its own lock of this path, so
 * all that the worker does must work without it. The wait is bounded: a host
 * that does not answer must not keep the kernel from helping itself.
 */
static int ml_grow_oom(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_grow *g = container_of(nb, struct ml_grow, oom);
	struct ml_device *ml = container_of(g, struct ml_device, grow);
	unsigned long *freed = arg;
	u64 before = atomic64_read(&g->added_bytes), free = ml_free_bytes(), added;
	int answered = atomic_read(&g->answered), asked = atomic_read(&ml->split.asked);
	u64 moved = atomic64_read(&ml->split.to_kernel);
	bool attempt = ml_grow_attempt(ml);

	if (READ_ONCE(g->stopped))
		return NOTIFY_OK;
	atomic_inc(&g->urgent);
	/* A memory block that is being emptied holds the lock that adding needs. */
	ml_shrink_interrupt(ml);
	ml_split_interrupt(ml);
	ml_grow_kick(ml);
	wait_event_timeout(g->wait, ml_grow_answered(g, before, answered),
			   msecs_to_jiffies(ML_OOM_WAIT_MS));
	/*
	 * The kernel heeds the interruption only between batches of pages, and while
	 * memory is short a batch takes long. What is kept from use comes back then.
	 */
	if (ml_grow_attempt(ml))
		wait_event_timeout(g->wait, ml_grow_answered(g, before, answered),
				   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	added = atomic64_read(&g->added_bytes) - before;
	if (!added && attempt && !ml_grow_attempt(ml))
		added = ml_over(ml_free_bytes(), free);
	if (!added && asked != atomic_read(&ml->split.asked)) {
		/* Only kernel memory is short, and a block of ours is on its way there. */
		wait_event_timeout(g->wait, READ_ONCE(ml->split.answered) - asked > 0 ||
				   READ_ONCE(g->stopped), msecs_to_jiffies(ML_OOM_WAIT_MS));
		added = (atomic64_read(&ml->split.to_kernel) - moved) * ml->blocks.mb_bytes;
	}
	if (added) {
		atomic64_inc(&g->oom_rescues);
		*freed += added >> PAGE_SHIFT;
		dev_info_ratelimited(&ml->vdev->dev,
				     "out of memory: found %llu MiB more\n", added >> 20);
	}
	return NOTIFY_OK;
}

int ml_grow_init(struct ml_device *ml)
{
	struct ml_grow *g = &ml->grow;
	int rc;

	INIT_DELAYED_WORK(&g->work, ml_grow_work);
	init_waitqueue_head(&g->wait);
	g->stopped = true;
	g->not_before = jiffies;
	g->next_kick = jiffies;
	ml_reserve_init(ml);
	g->next_wait = jiffies;
	g->next_stock = jiffies;
	g->last_add = jiffies - HZ;
	g->oom.notifier_call = ml_grow_oom;

	g->wq = alloc_workqueue("memlease_grow", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_UNBOUND, 1);
	g->borrow = ml_request_alloc();
	g->give_back = ml_request_alloc();
	g->shrinker = ml_shrinker_alloc(ml);
	if (!g->wq || !g->borrow || !g->give_back || !g->shrinker) {
		rc = -ENOMEM;
		goto fail;
	}
	g->shrinker->count_objects = ml_grow_count_objects;
	g->shrinker->scan_objects = ml_grow_scan_objects;
	g->shrinker->seeks = DEFAULT_SEEKS;
	rc = ml_shrinker_register(g->shrinker);
	if (rc)
		goto fail;
	rc = register_oom_notifier(&g->oom);
	if (rc)
		goto fail;
	g->oom_registered = true;
	return 0;
fail:
	ml_grow_exit(ml);
	return rc;
}

void ml_grow_exit(struct ml_device *ml)
{
	struct ml_grow *g = &ml->grow;

	if (g->oom_registered)
		unregister_oom_notifier(&g->oom);
	ml_shrinker_free(g->shrinker);
	if (g->wq)
		destroy_workqueue(g->wq);
	ml_reserve_exit(ml);
	ml_request_free(g->borrow);
	ml_request_free(g->give_back);
}

void ml_grow_start(struct ml_device *ml)
{
	struct ml_marks marks = ml_marks_now(ml);
	struct ml_grow *g = &ml->grow;

	if (!ml->blocks.count)
		return;
	g->last_kernel = ml_kernel_available_bytes();
	g->last_available = ml_for_programs(&marks, ml_available(ml), g->last_kernel);
	g->last_again = ml_read_again_bytes();
	g->stock = (struct ml_stock){ .large = ml_large_free_bytes() };
	g->stock.cache = ml_file_bytes();
	g->stock.least = g->stock.cache;
	g->last_look_ns = ktime_get_ns();
	g->added_since_look = 0;
	WRITE_ONCE(g->stopped, false);
	ml_grow_kick(ml);
}

void ml_grow_hold(struct ml_device *ml)
{
	WRITE_ONCE(ml->grow.stopped, true);
	wake_up_all(&ml->grow.wait);
}

void ml_grow_stop(struct ml_device *ml)
{
	static const struct ml_levels nothing;

	ml_grow_hold(ml);
	ml_watch_set(ml, &nothing);
	cancel_delayed_work_sync(&ml->grow.work);
}
