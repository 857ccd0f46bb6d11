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
 * now, at most once a tick, and so do the watch (watch.c), which sees a burst that
 * began after the last look, and who runs out of memory (oom.c). After a refusal the
 * worker asks again after 200 ms, doubling up to 5 s; out of memory it asks at once.
 */
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>

#include "../../proto/memlease_abi.h"
#include "../linux/compat.h"
#include "../linux/meminfo.h"
#include "../linux/pace.h"
#include "../think/need.h"
#include "../turn/turn.h"
#include "grow.h"

#define ML_PAUSE_FIRST_MS	200
#define ML_PAUSE_MAX_MS		5000
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

struct ml_grow {
	struct ml_turn *turn;
	struct workqueue_struct *wq;	/* has a rescuer: runs when no memory is left */
	struct delayed_work work;
	struct ml_request *borrow;	/* the worker's */
	struct ml_request *give_back;	/* the worker's, for what a grant had too much */
	struct shrinker *shrinker;
	unsigned long next_kick;	/* jiffies; how often reclaim may wake the worker */
	struct ml_grow_counts counts;

	/* the worker's own view */
	u64 last_available;		/* bytes, to programs */
	u64 last_look_ns;
	u64 added_since_look;		/* bytes */
	bool doubted;			/* the last look found a sudden fall, and did not count */
	u64 last_kernel;		/* bytes that kernel allocations could have */
	u64 kernel_rate;		/* bytes per second */
	struct ml_stock stock;
	u64 for_stock;			/* bytes that the last look added for it */
	unsigned long next_stock;	/* jiffies; until then a low stock is no reason to borrow */
	u32 stock_ms;			/* the length of that pause, doubles */
	u64 last_again;			/* bytes of page cache read again */
	u64 last_stolen;		/* bytes reclaimed */
	u64 stolen;			/* bytes of these that were not read again yet */
	u64 cache_credit;		/* bytes */
	u64 last_waits;			/* for a large page */
	u64 last_io;			/* bytes of block devices */
	u64 last_cache;			/* bytes of page cache */
	u64 moved;			/* bytes that I/O and page cache moved lately */
	unsigned long next_wait;	/* jiffies; until then no wait for a large page counts */
	u32 wait_ms;			/* the length of that pause, doubles */
	u32 by_strangers;		/* memory blocks put on line or off line, as last seen */
	u32 last_attempts;		/* to empty a block, which looks like programs taking memory */
	u32 pause_ms;			/* after a refusal, doubles */
	unsigned long not_before;	/* jiffies; no asking until then, unless urgent */
};

static void ml_grow_pause(struct ml_grow *g)
{
	g->pause_ms = ml_backoff_ms(g->pause_ms, ML_PAUSE_FIRST_MS, ML_PAUSE_MAX_MS);
	g->not_before = jiffies + msecs_to_jiffies(g->pause_ms);
}

static void ml_grow_refused(struct ml_grow *g, u32 reason)
{
	atomic64_inc(&g->counts.refusals);
	WRITE_ONCE(g->counts.last_reason, reason);
	ml_grow_pause(g);
}

/* Hand a block to Linux that was granted whole. */
static int ml_grow_add(struct ml_grow *g, u32 i)
{
	struct ml_turn *t = g->turn;
	int rc = ml_turn_give(t, i);

	if (rc == -ENODEV) {
		/* On its way out; what the host granted goes back, or with the device. */
		ml_blocks_return(t->blocks, i, g->give_back);
		return rc;
	}
	if (rc) {
		dev_warn_ratelimited(ml_wire_dev(t->wire),
				     "adding memory block %u failed (error %d), giving it back\n",
				     i, rc);
		ml_wire_note(t->wire, rc);
		ml_blocks_return(t->blocks, i, g->give_back);
		ml_grow_pause(g);
		return rc;
	}
	g->added_since_look += t->blocks->mb_bytes;
	/* The host may have granted more than its target: shrinking comes back to that later. */
	if (ml_wire_host(t->wire).target_blocks != MEMLEASE_NO_TARGET)
		ml_turn_wake(t, ML_SHRINK);
	return 0;
}

/*
 * Adding a block takes milliseconds of a vCPU. As long as programs take little and
 * there is room, they come first.
 */
static void ml_grow_pace(struct ml_grow *g, u64 began_ns)
{
	struct ml_turn *t = g->turn;

	if (!ml_turn_pressed(t) && t->board->rate < ML_PACE_BYTES_S &&
	    ml_free_bytes() > ML_PACE_FREE_BLOCKS * t->blocks->mb_bytes)
		ml_pace(ktime_get_ns() - began_ns);
}

/* Borrow and add up to n blocks. Returns how many Linux has got. */
static u32 ml_grow_by(struct ml_grow *g, u32 n, enum ml_reason_grow why, bool kernel)
{
	struct ml_span spans[ML_GROW_STEP];
	u32 picked[ML_GROW_STEP];
	struct ml_turn *t = g->turn;
	struct ml_blocks *b = t->blocks;
	u32 i, got = 0, slots = b->slots_per_mb;
	u32 reason = MEMLEASE_WHY_OK;
	u64 began_ns;
	int rc;

	n = ml_blocks_pick(b, kernel, picked,
			   min3(n, (u32)ML_GROW_STEP, t->wire->fixed.max_extents));
	if (!n)
		return 0;
	for (i = 0; i < n; i++)
		spans[i] = ml_blocks_span(b, picked[i], slots);
	ml_request_spans(g->borrow, MEMLEASE_REQ_BORROW, spans, n);
	rc = ml_turn_call(t, g->borrow);
	if (rc) {
		/* Whatever was granted, nothing of it is known to Linux, so nothing is touched. */
		for (i = 0; i < n; i++)
			ml_blocks_set(b, picked[i], ML_VACANT);
		ml_wire_failed(t->wire, "BORROW", rc);
		ml_grow_refused(g, MEMLEASE_WHY_OK);
		return 0;
	}
	atomic64_inc(&g->counts.borrows);
	/* Note all grants before adding any: they are borrowed even if adding fails. */
	for (i = 0; i < n; i++)
		ml_blocks_grant(b, picked[i], ml_request_done(g->borrow, i));
	for (i = 0; i < n; i++) {
		u32 done = ml_request_done(g->borrow, i);

		if (done < slots)
			reason = ml_request_reason(g->borrow, i);
		if (done < slots && reason == MEMLEASE_WHY_RETIRED)
			ml_blocks_retire(b, spans[i].first + done, 1);
		if (!done) {
			ml_blocks_set(b, picked[i], ML_VACANT);
		} else if (done < slots) {
			ml_blocks_return(b, picked[i], g->give_back);
		} else {
			ml_blocks_set(b, picked[i], ML_COMMITTED);
			began_ns = ktime_get_ns();
			got += !ml_grow_add(g, picked[i]);
			ml_grow_pace(g, began_ns);
		}
	}
	atomic64_add(got, &g->counts.added_for[why]);
	if (got && kernel)
		ml_turn_wake(t, ML_SPLIT);
	if (reason != MEMLEASE_WHY_OK && reason != MEMLEASE_WHY_RETIRED)
		ml_grow_refused(g, reason);
	else if (got)
		g->pause_ms = 0;
	return got;
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

static u32 ml_grow_room(struct ml_grow *g, bool urgent)
{
	struct ml_blocks *b = g->turn->blocks;
	struct ml_host host = ml_wire_host(g->turn->wire);

	return ml_room(host.limit_blocks, host.target_blocks, ml_blocks_borrowed(b),
		       b->slots_per_mb, ml_blocks_in(b, ML_VACANT), urgent);
}

/*
 * Page cache may have taken the stock. As long as nobody misses it that is well; who
 * waits for a large page does. Not at once again, because the cache may take the next
 * block as well.
 */
static void ml_grow_mind_waits(struct ml_grow *g, u64 stock_mark, u64 elapsed_us)
{
	u64 waits = ml_large_waits(), io = ml_block_io_bytes(), cache = ml_file_bytes();

	/* Of the last half second, fading: looks can be 4 ms apart. */
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
	g->doubted = !g->doubted && ml_rate_sudden(g->turn->board->rate, rate, available, low);
	return g->doubted;
}

/*
 * Measure how fast programs take memory, since the last look, and of which kind.
 * Returns false if that is in doubt: then it counts as no look.
 */
static bool ml_grow_measure(struct ml_grow *g, const struct ml_marks *marks)
{
	struct ml_turn *t = g->turn;
	u32 attempts = ml_turn_attempts(t);
	u64 now_ns = ktime_get_ns(), kernel = ml_kernel_available_bytes();
	u64 available = ml_for_programs(marks, ml_board_available(t->board), kernel);
	u64 again = ml_read_again_bytes(), stolen = ml_stolen_bytes();
	u64 large = ml_board_large_free(t->board);
	u64 elapsed_us = div_u64(now_ns - g->last_look_ns, NSEC_PER_USEC);
	u64 was = t->board->rate, rate = was / 2, have_before = ml_stock_have(&g->stock);

	if (attempts == g->last_attempts && !ml_turn_attempts_since(t, attempts)) {
		rate = ml_rate(was, g->last_available, available, g->added_since_look, elapsed_us);
		if (ml_grow_doubts(g, rate, available, marks->low))
			return false;
		g->kernel_rate = ml_rate(g->kernel_rate, g->last_kernel, kernel, 0, elapsed_us);
		ml_stock_look(&g->stock, large, ml_file_bytes(), g->added_since_look, elapsed_us);
	} else {
		/* Memory of a block that is being emptied is missing, but no program uses it. */
		g->kernel_rate /= 2;
		g->stock.large = large;
	}
	ml_grow_mind_stock(g, available, have_before);
	g->stolen += stolen - g->last_stolen;
	g->cache_credit = ml_cache_credit(g->cache_credit, again - g->last_again, &g->stolen,
					  ml_free_bytes(), elapsed_us, t->blocks->mb_bytes);
	ml_grow_mind_waits(g, ml_stock_mark(marks), elapsed_us);
	WRITE_ONCE(t->board->rate, rate);
	g->last_attempts = attempts;
	g->last_available = available;
	g->last_kernel = kernel;
	g->last_again = again;
	g->last_stolen = stolen;
	g->last_look_ns = now_ns;
	g->added_since_look = 0;
	return true;
}

/* How many blocks of movable memory to borrow, and what for. */
static u32 ml_grow_decide(struct ml_grow *g, const struct ml_marks *marks, u32 room,
			  bool urgent, enum ml_reason_grow *why)
{
	u64 mb_bytes = g->turn->blocks->mb_bytes;
	struct ml_need need = {
		.available = g->last_available,
		.rate = g->turn->board->rate,
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
	/* Blocks for the mark fill the stock too: borrow the larger number, not the sum. */
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

/* How many blocks the kernel's own allocations want. */
static u32 ml_grow_for_kernel(struct ml_grow *g, const struct ml_marks *marks, bool tight)
{
	struct ml_kernel_have have = {
		.available = g->last_kernel,
		.lack = ml_kernel_lack_bytes(),
		.rate = g->kernel_rate,
		.movable_free = ml_movable_free_bytes(),
	};

	return ml_kernel_want(marks, &have, tight, g->turn->blocks->mb_bytes, ML_GROW_STEP);
}

/* One look, and what follows from it. Returns how many blocks Linux has got. */
static u32 ml_grow_round(struct ml_grow *g, enum ml_urgency urgent)
{
	struct ml_turn *t = g->turn;
	struct ml_marks marks = ml_board_marks(t->board);
	bool pause = !urgent && time_before(jiffies, g->not_before);
	enum ml_reason_grow why;
	u32 room, n;

	/* While the machine shuts down memory cannot be onlined any more. */
	if (system_state > SYSTEM_RUNNING)
		return 0;
	if (!ml_grow_measure(g, &marks) && !urgent)
		return 0;
	room = pause ? 0 : ml_grow_room(g, urgent);
	/* Between the urge and this look somebody may have freed a page, that will be gone again. */
	n = ml_grow_for_kernel(g, &marks, urgent == ML_URGENT_KERNEL ||
					  (urgent && ml_kernel_tight(&node_states[N_ONLINE])));
	if (n) {
		n = room ? ml_grow_by(g, min(n, room), ML_FOR_KERNEL, true) : 0;
		/* The host lends none: a movable block has to go over to the kernel. */
		if (!n)
			ml_turn_ask_split(t, urgent);
		return n;
	}
	n = ml_grow_decide(g, &marks, room, urgent, &why);
	n = n ? ml_grow_by(g, n, why, false) : 0;
	if (why == ML_FOR_STOCK)
		g->for_stock = n * t->blocks->mb_bytes;
	return n;
}

/*
 * A memory block is being emptied, and what is in it needs room elsewhere. If
 * programs, or the kernel, take that meanwhile, let go of the block; but not for the
 * kernel's sake of one that is to be the kernel's.
 */
static u32 ml_grow_guard(struct ml_grow *g, const struct ml_marks *marks)
{
	struct ml_turn *t = g->turn;
	u64 available = ml_board_available(t->board), free = ml_free_bytes();
	struct ml_levels level = { 0 };
	bool lacking;

	if (ml_turn_attempt_for_kernel(t))
		/* Available memory is less by what the kernel lacks; what is moved has room all the same. */
		lacking = ml_room_bytes() < marks->reserve / 2;
	else
		lacking = available < marks->reserve || ml_kernel_available_bytes() < marks->kernel / 2;
	if (lacking)
		ml_turn_interrupt(t);
	else
		level.free = ml_halfway(free, ml_over(available, marks->reserve));
	ml_board_wake_under(t->board, &level);
	return ML_GUARD_MS;
}

/* When to look again, in ms; and sees to it that the watch wakes us before. */
static u32 ml_grow_next(struct ml_grow *g)
{
	struct ml_turn *t = g->turn;
	struct ml_marks marks = ml_board_marks(t->board);
	u64 mark = ml_stock_mark(&marks), stock = ml_stock_have(&g->stock);
	/* Be woken when half of what is left above a mark is gone. */
	struct ml_levels level = {
		.free = ml_halfway(ml_free_bytes(), ml_over(g->last_available, marks.low)),
		.kernel = ml_halfway(ml_kernel_free_bytes(),
				     ml_over(g->last_kernel, marks.kernel)),
		.large = stock > mark ? ml_halfway(g->stock.large, stock - mark) : 0,
	};
	u32 look_ms = min3(ml_look_ms(g->last_available, marks.low, t->board->rate),
			   ml_look_ms(g->last_kernel, marks.kernel, g->kernel_rate),
			   ml_look_ms(stock, mark, g->stock.rate));

	if (g->doubted)
		look_ms = min(look_ms, ML_DOUBT_MS);
	if (ml_turn_attempt(t))
		return min(look_ms, ml_grow_guard(g, &marks));
	if (g->cache_credit)
		look_ms = min(look_ms, ML_CACHE_LOOK_MS);
	if (time_before(jiffies, g->not_before) || !ml_grow_room(g, false)) {
		/* Nothing can be borrowed now, so looking often is of no use. */
		level.free = 0;
		level.large = 0;
		/* But shrinking goes by the rate, and waits for it to fall. */
		look_ms = t->board->rate > ML_SLOW_BYTES_S ? ML_IDLE_LOOK_MS : max(look_ms, ML_IDLE_LOOK_MS);
	}
	ml_board_wake_under(t->board, &level);
	return look_ms;
}

/* What others put on line may be the kernel's now, and what they took off line is of no use. */
static void ml_grow_mind_strangers(struct ml_grow *g)
{
	u32 by_strangers = ml_hotplug_by_strangers(g->turn->hotplug);

	if (by_strangers == g->by_strangers)
		return;
	g->by_strangers = by_strangers;
	ml_turn_wake(g->turn, ML_SPLIT);
	ml_turn_wake(g->turn, ML_SHRINK);
}

static void ml_grow_work(struct work_struct *work)
{
	struct ml_grow *g = container_of(to_delayed_work(work), struct ml_grow, work);
	struct ml_turn *t = g->turn;
	unsigned int flags = memalloc_noreclaim_save();
	struct ml_plea_look look;
	enum ml_urgency asked = ml_turn_urged(t, &look);
	u32 round;

	for (round = 0; round < ML_ROUNDS_MAX && !READ_ONCE(t->growing_held); round++)
		if (!ml_grow_round(g, round ? ML_CALM : asked))
			break;
	memalloc_noreclaim_restore(flags);
	ml_grow_mind_strangers(g);
	ml_hotplug_keep_reserve(t->hotplug);
	if (asked)
		ml_turn_answer_urged(t, &look);
	if (!READ_ONCE(t->growing_held))
		/* Does nothing where the work is queued already: whoever woke it wants it sooner. */
		queue_delayed_work(g->wq, &g->work, msecs_to_jiffies(ml_grow_next(g)));
}

/* Reclaim has begun. The driver has nothing to free, but it is a good time to look. */
static unsigned long ml_grow_count_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct ml_grow *g = ml_shrinker_private(shrinker);

	if (time_after_eq(jiffies, READ_ONCE(g->next_kick))) {
		WRITE_ONCE(g->next_kick, jiffies + 1);
		ml_turn_wake(g->turn, ML_GROW);
	}
	return 0;
}

static unsigned long ml_grow_scan_objects(struct shrinker *shrinker, struct shrink_control *sc)
{
	return SHRINK_STOP;
}

int ml_grow_init(struct ml_turn *t, struct ml_grow **out)
{
	struct ml_grow *g = kzalloc(sizeof(*g), GFP_KERNEL);
	int rc = -ENOMEM;

	if (!g)
		return -ENOMEM;
	g->turn = t;
	INIT_DELAYED_WORK(&g->work, ml_grow_work);
	g->not_before = jiffies;
	g->next_kick = jiffies;
	g->next_wait = jiffies;
	g->next_stock = jiffies;

	g->wq = alloc_workqueue("memlease_grow", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_UNBOUND, 1);
	g->borrow = ml_request_alloc();
	g->give_back = ml_request_alloc();
	g->shrinker = ml_shrinker_alloc(g);
	if (!g->wq || !g->borrow || !g->give_back || !g->shrinker)
		goto fail;
	ml_turn_woken_by(t, ML_GROW, g->wq, &g->work);
	g->shrinker->count_objects = ml_grow_count_objects;
	g->shrinker->scan_objects = ml_grow_scan_objects;
	g->shrinker->seeks = DEFAULT_SEEKS;
	rc = ml_shrinker_register(g->shrinker);
	if (rc)
		goto fail;
	*out = g;
	return 0;
fail:
	ml_grow_exit(g);
	return rc;
}

void ml_grow_exit(struct ml_grow *g)
{
	ml_shrinker_free(g->shrinker);
	if (g->wq)
		destroy_workqueue(g->wq);
	ml_hotplug_drop_reserve(g->turn->hotplug);
	ml_request_free(g->borrow);
	ml_request_free(g->give_back);
	kfree(g);
}

void ml_grow_start(struct ml_grow *g)
{
	struct ml_board *board = g->turn->board;
	struct ml_marks marks = ml_board_marks(board);

	if (!g->turn->blocks->count)
		return;
	g->last_kernel = ml_kernel_available_bytes();
	g->last_available = ml_for_programs(&marks, ml_board_available(board), g->last_kernel);
	g->last_again = ml_read_again_bytes();
	g->last_stolen = ml_stolen_bytes();
	g->stock = (struct ml_stock){ .large = ml_large_free_bytes() };
	g->stock.cache = ml_file_bytes();
	g->stock.least = g->stock.cache;
	g->last_look_ns = ktime_get_ns();
	g->added_since_look = 0;
	ml_turn_hold_growing(g->turn, false);
}

void ml_grow_stop(struct ml_grow *g)
{
	ml_turn_hold_growing(g->turn, true);
	ml_board_wake_under(g->turn->board, NULL);
	cancel_delayed_work_sync(&g->work);
}

const struct ml_grow_counts *ml_grow_counts(const struct ml_grow *g)
{
	return &g->counts;
}
