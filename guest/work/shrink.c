// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shrinking; see shrink.h.
 *
 * A round takes the blocks from the emptiest to the fullest and tries each once,
 * as long as the guest keeps its reserve. One attempt has at most ML_ATTEMPT_MS of a
 * processor, and less if the deadline comes (turn.c ends it). After a round that did
 * not get there the thread pauses for 1 s, doubling up to 60 s (before the deadline: up
 * to 5 s), and begins anew; a round that ended because programs take memory fast
 * is followed by another after 200 ms. Where nobody asks for anything, the thread looks
 * every 5 s whether something borrowed is of no use. A new target ends the pause, and the round after
 * the attempt that is under way. Programs come first: where they leave no vCPU idle, the
 * thread gets a few percent.
 */
#include <linux/bitmap.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../../proto/memlease_abi.h"
#include "../linux/cache.h"
#include "../linux/empty.h"
#include "../linux/meminfo.h"
#include "../linux/pace.h"
#include "../think/cold.h"
#include "../think/need.h"
#include "../think/spare.h"
#include "../turn/turn.h"
#include "shrink.h"

#define ML_ATTEMPT_MS		5000	/* of a processor */
#define ML_ATTEMPT_MAX_MS	30000
#define ML_CACHE_MS		500	/* for page cache to make way */
#define ML_PAUSE_FIRST_MS	1000
#define ML_PAUSE_MAX_MS		60000
#define ML_PAUSE_BUSY_MS	200	/* until programs may take less */
#define ML_PAUSE_URGENT_MAX_MS	5000
#define ML_SHRINK_NICE		12	/* of busy vCPUs 6 %, of idle ones all it takes */
#define ML_RANK_NEVER		(~0ULL)
#define ML_RANK_TIMES		50	/* ranks are good for so many times as long as it took */
#define ML_SPARE_LOOK_MS	5000U
#define ML_SPARE_MS		180000	/* as long as the user sets nothing else */
#define ML_LEFT_MS		20000	/* for whoever took a block off line to put it on line again */
#define ML_EMPTY_SHARE		64	/* of an empty block is in use at most */

struct ml_shrink {
	struct ml_turn *turn;
	struct task_struct *task;
	struct ml_request *give_back;
	bool everything;		/* the driver is unloaded: return all */
	bool busy;			/* the last round ended because programs take memory */
	u64 *rank;			/* per memory block */
	u64 ranked_ns;			/* when they were looked at last, and how long that took */
	u64 rank_ns;
	unsigned long *tried;		/* bit per memory block, in this round */
	struct ml_spare spare;
	unsigned long added_since;	/* jiffies; blocks have been ADDED since; valid with `added` */
	bool added;
	u32 spare_ms;			/* the user's: how long too much must have been borrowed; 0: never */
	atomic64_t spared;		/* memory blocks that went back without being asked for */
	atomic64_t trimmed_bytes;	/* page cache that made way */
	atomic64_t yields;		/* rounds that ended because programs take memory */

	/* the target that is being worked on */
	bool seq_known;
	u64 goal;			/* slots */
	u64 deadline_ns;
	u32 pause_ms;			/* between rounds, doubles */
};

static void ml_shrink_state(struct ml_shrink *s, u32 state)
{
	struct ml_board *board = s->turn->board;

	if (board->target_state == state)
		return;
	WRITE_ONCE(board->target_state, state);
	/* The host hears of the end at once, not with the next statistics. */
	ml_turn_wake(s->turn, ML_STATS);
}

/* Take over what the config space says. Returns whether there is something to do. */
static bool ml_shrink_look(struct ml_shrink *s)
{
	struct ml_board *board = s->turn->board;
	struct ml_host host = ml_wire_host(s->turn->wire);
	u64 borrowed = ml_blocks_borrowed(s->turn->blocks);

	if (!s->seq_known || board->target_seq != host.target_seq || s->goal != host.target_blocks) {
		s->seq_known = true;
		WRITE_ONCE(board->target_seq, host.target_seq);
		s->goal = host.target_blocks;
		s->deadline_ns = ktime_get_ns() + (u64)host.target_deadline_ms * NSEC_PER_MSEC;
		s->pause_ms = 0;
		s->ranked_ns = 0;
		if (host.target_blocks == MEMLEASE_NO_TARGET)
			ml_shrink_state(s, MEMLEASE_TARGET_NONE);
		else if (borrowed > s->goal)
			ml_shrink_state(s, MEMLEASE_TARGET_WORKING);
		else
			ml_shrink_state(s, MEMLEASE_TARGET_MET);
	}
	if (READ_ONCE(s->everything))
		return borrowed > 0;
	return s->goal != MEMLEASE_NO_TARGET && borrowed > s->goal;
}

static bool ml_shrink_changed(struct ml_shrink *s)
{
	struct ml_host host = ml_wire_host(s->turn->wire);

	return READ_ONCE(s->turn->held) || kthread_should_stop() ||
	       host.target_seq != s->turn->board->target_seq || host.target_blocks != s->goal;
}

static bool ml_shrink_enough(struct ml_shrink *s)
{
	u64 borrowed = ml_blocks_borrowed(s->turn->blocks);

	if (READ_ONCE(s->everything))
		return !borrowed;
	return borrowed <= s->goal;
}

/* The rank of a memory block: the block with the lowest is tried first. */
static u64 ml_shrink_rank(struct ml_shrink *s, u32 i)
{
	struct ml_blocks *b = s->turn->blocks;
	bool pinned;
	u64 used;

	switch (ml_blocks_state(b, i)) {
	case ML_RETURNING:
		return ml_blocks_is_stuck(b, i) ? 0 : ML_RANK_NEVER;
	case ML_ADDED:
		return 0;
	case ML_ONLINE:
		used = ml_turn_used_bytes(s->turn, i, &pinned);
		/* Kernel memory does not move, and the kernel complains of each attempt. */
		if (pinned && ml_blocks_is_kernel(b, i))
			return ML_RANK_NEVER;
		return ml_blocks_is_retired(b, i) ? 1 : 1 + used;
	default:
		return ML_RANK_NEVER;
	}
}

/*
 * Rank all blocks, which reads the page array of each: so the ranks of the last time stay
 * good for a while, the longer the more memory there is.
 */
static void ml_shrink_rank_all(struct ml_shrink *s)
{
	u64 began_ns = ktime_get_ns();
	u32 i, count = s->turn->blocks->count;

	bitmap_zero(s->tried, count);
	if (s->ranked_ns && began_ns - s->ranked_ns < ML_RANK_TIMES * s->rank_ns)
		return;
	for (i = 0; i < count; i++) {
		s->rank[i] = ml_shrink_rank(s, i);
		cond_resched();
	}
	s->ranked_ns = ktime_get_ns();
	s->rank_ns = s->ranked_ns - began_ns;
}

/* May a block be tried, whatever its rank was? */
static bool ml_shrink_can(struct ml_shrink *s, u32 i)
{
	enum ml_state state = ml_blocks_state(s->turn->blocks, i);

	return !test_bit(i, s->tried) && (state == ML_ONLINE || state == ML_ADDED ||
		(state == ML_RETURNING && ml_blocks_is_stuck(s->turn->blocks, i)));
}

/* The next block to try in this round, or the number of blocks. */
static u32 ml_shrink_pick(struct ml_shrink *s)
{
	u64 best_rank = ML_RANK_NEVER;
	u32 i, count = s->turn->blocks->count, best = count;

	for (i = 0; i < count; i++) {
		if (s->rank[i] < best_rank && ml_shrink_can(s, i)) {
			best_rank = s->rank[i];
			best = i;
		}
	}
	return best;
}

/*
 * See to it that what block i holds finds room elsewhere. Page cache that nobody
 * uses makes way for it; otherwise the kernel would reclaim while it moves pages,
 * and with less choice.
 */
static void ml_shrink_make_room(struct ml_shrink *s, u32 i, u64 reserve)
{
	struct ml_turn *t = s->turn;
	u64 mb_bytes = t->blocks->mb_bytes, free = ml_free_bytes(), used, want;
	bool pinned;

	if (ml_blocks_state(t->blocks, i) != ML_ONLINE)
		return;
	used = ml_turn_used_bytes(t, i, &pinned);
	free -= min(free, mb_bytes - min(used, mb_bytes));
	want = ml_cold_for_move(used, free, reserve, ml_cache_unused_bytes());
	if (want)
		atomic64_add(ml_cache_give_up(want, ML_CACHE_MS, &t->held), &s->trimmed_bytes);
}

/* Is there room for what block i holds, and some to spare for the kernel? */
static bool ml_shrink_fits(struct ml_shrink *s, u32 i, const struct ml_marks *marks)
{
	struct ml_blocks *b = s->turn->blocks;
	u64 movable = ml_movable_free_bytes(), kernel = ml_kernel_available_bytes(), used, inside;
	bool pinned;

	if (ml_blocks_state(b, i) != ML_ONLINE)
		return true;
	used = ml_turn_used_bytes(s->turn, i, &pinned);
	inside = b->mb_bytes - min(used, b->mb_bytes);
	if (ml_blocks_is_kernel(b, i))
		kernel -= min(kernel, inside);
	else
		movable -= min(movable, inside);
	return ml_may_move(used, movable, kernel, marks);
}

/* How long an attempt may take, in ms: all that is left to the deadline; after that the most. */
static u32 ml_shrink_most_ms(const struct ml_shrink *s)
{
	u64 now = ktime_get_ns();

	if (s->deadline_ns <= now)
		return ML_ATTEMPT_MAX_MS;
	return clamp(div_u64(s->deadline_ns - now, NSEC_PER_MSEC), 100ULL,
		     (u64)ML_ATTEMPT_MAX_MS);
}

/* Empty one block and return it, or return one whose answer never came. */
static void ml_shrink_one(struct ml_shrink *s, u32 i)
{
	struct ml_attempt attempt = {
		.block = i,
		.way = ML_TO_HOST,
		.most_ms = ml_shrink_most_ms(s),
		.cpu_ms = ML_ATTEMPT_MS,
		.nice = ML_SHRINK_NICE,
	};
	struct ml_turn *t = s->turn;
	/* A RETURNING block that is not stuck is being returned by the split or by growing. */
	bool again = ml_blocks_state(t->blocks, i) == ML_RETURNING &&
		     ml_blocks_is_stuck(t->blocks, i);

	if (again || !ml_turn_take(t, ML_SHRINK, &attempt))
		ml_blocks_return(t->blocks, i, s->give_back);
}

/* Try each block once, the emptiest first, as far as it is needed and can be borne. */
static void ml_shrink_round(struct ml_shrink *s)
{
	struct ml_turn *t = s->turn;
	struct ml_board *board = t->board;
	u64 mb_bytes = t->blocks->mb_bytes, began_ns;
	u32 i, count = t->blocks->count;

	s->busy = false;
	ml_shrink_rank_all(s);
	/* Free memory is reported first: that takes no work, and programs do not miss it. */
	ml_turn_wake(t, ML_REPORT);
	while (!ml_shrink_enough(s) && !ml_shrink_changed(s)) {
		struct ml_marks marks = ml_board_marks(board);
		u64 available = ml_board_available(board);

		if (!ml_may_shrink(available, mb_bytes, marks.reserve))
			break;
		/* What programs will take within a second counts as taken. */
		s->busy = ml_turn_pressed(t) ||
			  !ml_may_shrink(available, mb_bytes,
					 marks.reserve + READ_ONCE(board->rate));
		if (s->busy)
			break;
		i = ml_shrink_pick(s);
		if (i >= count)
			break;
		set_bit(i, s->tried);
		ml_shrink_make_room(s, i, marks.reserve);
		if (!ml_shrink_fits(s, i, &marks))
			continue;
		began_ns = ktime_get_ns();
		ml_shrink_one(s, i);
		ml_pace(ktime_get_ns() - began_ns);
	}
}

/* After a round: what to tell the host, and how long to pause. In jiffies. */
static long ml_shrink_after(struct ml_shrink *s)
{
	u64 now = ktime_get_ns();
	u32 most = ML_PAUSE_MAX_MS;

	if (ml_shrink_enough(s)) {
		ml_shrink_state(s, s->goal == MEMLEASE_NO_TARGET ? MEMLEASE_TARGET_NONE :
				MEMLEASE_TARGET_MET);
		return MAX_SCHEDULE_TIMEOUT;
	}
	if (now < s->deadline_ns) {
		u32 left_ms = div_u64(s->deadline_ns - now, NSEC_PER_MSEC) + 1;

		/* The pause ends with the deadline, when the host wants to hear how far we came. */
		most = min_t(u32, left_ms, ML_PAUSE_URGENT_MAX_MS);
	} else {
		ml_shrink_state(s, MEMLEASE_TARGET_PARTLY);
	}
	if (s->busy) {
		atomic64_inc(&s->yields);
		return msecs_to_jiffies(min_t(u32, ML_PAUSE_BUSY_MS, most));
	}
	s->pause_ms = ml_backoff_ms(s->pause_ms, ML_PAUSE_FIRST_MS, ML_PAUSE_MAX_MS);
	return msecs_to_jiffies(min(s->pause_ms, most));
}

/* A block that somebody took off line, and left so: of no use to anybody, and billed. */
static u32 ml_shrink_left(struct ml_shrink *s)
{
	struct ml_blocks *b = s->turn->blocks;
	bool added = ml_blocks_in(b, ML_ADDED);
	u32 i;

	if (added && !s->added)
		s->added_since = jiffies;
	s->added = added;
	if (!added || time_before(jiffies, s->added_since + msecs_to_jiffies(ML_LEFT_MS)))
		return b->count;
	for (i = 0; i < b->count; i++)
		if (ml_blocks_state(b, i) == ML_ADDED)
			break;
	return i;
}

/* An empty block, while the guest has had too much for some minutes. */
static u32 ml_shrink_empty(struct ml_shrink *s)
{
	struct ml_turn *t = s->turn;
	struct ml_blocks *b = t->blocks;
	struct ml_marks marks = ml_board_marks(t->board);
	struct ml_spare_look look = {
		.now_ms = ktime_to_ms(ktime_get_boottime()),
		.given = ml_turn_given_bytes(t),
		.available = ml_board_available(t->board),
		.large = ml_board_large_free(t->board),
		.stock = ml_stock_mark(&marks),
		.mb_bytes = b->mb_bytes,
		.after_ms = READ_ONCE(s->spare_ms),
	};
	u64 empty = b->mb_bytes / ML_EMPTY_SHARE;
	bool pinned;
	u32 i;

	if (!ml_spare_may(&s->spare, &look, &marks))
		return b->count;
	ml_shrink_rank_all(s);
	while ((i = ml_shrink_pick(s)) < b->count && s->rank[i] <= 1 + empty) {
		set_bit(i, s->tried);
		/* The split sees to the kernel's; and the rank may be of a while ago. */
		if (ml_blocks_state(b, i) == ML_ONLINE && !ml_blocks_is_kernel(b, i) &&
		    ml_turn_used_bytes(t, i, &pinned) <= empty && !pinned)
			return i;
	}
	return b->count;
}

/* Nobody asks for anything: give back what is of no use. Returns how long to pause, in jiffies. */
static long ml_shrink_spare(struct ml_shrink *s)
{
	struct ml_blocks *b = s->turn->blocks;
	u64 borrowed = ml_blocks_borrowed(b);
	u32 i;

	if (!borrowed)
		return MAX_SCHEDULE_TIMEOUT;
	i = ml_shrink_left(s);
	if (i >= b->count)
		i = ml_shrink_empty(s);
	if (i < b->count && !ml_turn_pressed(s->turn)) {
		ml_shrink_one(s, i);
		if (ml_blocks_borrowed(b) < borrowed) {
			ml_spare_returned(&s->spare, ktime_to_ms(ktime_get_boottime()));
			atomic64_inc(&s->spared);
		}
	}
	return msecs_to_jiffies(min(ML_SPARE_LOOK_MS, READ_ONCE(s->spare_ms) ?: ML_SPARE_LOOK_MS));
}

static int ml_shrink_thread(void *data)
{
	struct ml_shrink *s = data;
	struct ml_turn *t = s->turn;
	long pause = MAX_SCHEDULE_TIMEOUT;

	allow_signal(ML_STOP_SIGNAL);
	while (!kthread_should_stop()) {
		ml_turn_sleep(t, ML_SHRINK, pause);
		flush_signals(current);
		pause = MAX_SCHEDULE_TIMEOUT;
		if (kthread_should_stop() || READ_ONCE(t->held))
			continue;
		if (ml_shrink_look(s)) {
			ml_shrink_round(s);
			if (!ml_shrink_changed(s))
				pause = ml_shrink_after(s);
			else
				ml_turn_wake(t, ML_SHRINK);
		} else {
			if (s->goal != MEMLEASE_NO_TARGET)
				ml_shrink_state(s, MEMLEASE_TARGET_MET);
			pause = ml_shrink_spare(s);
		}
		wake_up_all(ml_turn_waitqueue(t, ML_SHRINK));
	}
	return 0;
}

u64 ml_shrink_everything(struct ml_shrink *s, u32 timeout_ms)
{
	struct ml_turn *t = s->turn;

	if (!ml_blocks_borrowed(t->blocks))
		return 0;
	WRITE_ONCE(s->everything, true);
	ml_turn_wake(t, ML_SHRINK);
	wait_event_idle_timeout(*ml_turn_waitqueue(t, ML_SHRINK), !ml_blocks_borrowed(t->blocks),
				msecs_to_jiffies(timeout_ms));
	WRITE_ONCE(s->everything, false);
	return ml_blocks_borrowed(t->blocks);
}

u64 ml_shrink_trimmed_bytes(const struct ml_shrink *s)
{
	return atomic64_read(&s->trimmed_bytes);
}

u64 ml_shrink_spared(const struct ml_shrink *s)
{
	return atomic64_read(&s->spared);
}

u32 ml_shrink_spare_ms(const struct ml_shrink *s)
{
	return READ_ONCE(s->spare_ms);
}

void ml_shrink_set_spare(struct ml_shrink *s, u32 ms)
{
	WRITE_ONCE(s->spare_ms, ms);
	ml_turn_wake(s->turn, ML_SHRINK);
}

u64 ml_shrink_yields(const struct ml_shrink *s)
{
	return atomic64_read(&s->yields);
}

int ml_shrink_init(struct ml_turn *t, struct ml_shrink **out)
{
	struct ml_shrink *s = kzalloc(sizeof(*s), GFP_KERNEL);
	struct task_struct *task;

	if (!s)
		return -ENOMEM;
	s->turn = t;
	s->goal = MEMLEASE_NO_TARGET;
	s->spare_ms = ML_SPARE_MS;
	s->rank = kvcalloc(max(t->blocks->count, 1U), sizeof(*s->rank), GFP_KERNEL);
	s->tried = bitmap_zalloc(max(t->blocks->count, 1U), GFP_KERNEL);
	s->give_back = ml_request_alloc();
	if (!s->rank || !s->tried || !s->give_back)
		goto fail;
	task = kthread_run(ml_shrink_thread, s, "memlease_shrink");
	if (IS_ERR(task))
		goto fail;
	s->task = task;
	ml_turn_taker(t, ML_SHRINK, task);
	*out = s;
	return 0;
fail:
	kvfree(s->rank);
	bitmap_free(s->tried);
	ml_request_free(s->give_back);
	kfree(s);
	return -ENOMEM;
}

void ml_shrink_exit(struct ml_shrink *s)
{
	kthread_stop(s->task);
	ml_turn_taker(s->turn, ML_SHRINK, NULL);
	kvfree(s->rank);
	bitmap_free(s->tried);
	ml_request_free(s->give_back);
	kfree(s);
}
