// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The split; see split.h.
 *
 * Kernel blocks lie at the bottom of the window and movable ones at its top. What
 * the kernel allocated cannot be moved, so a block comes back only when it holds
 * nothing of that kind; the one at the boundary is tried first, but any will do,
 * since memory blocks need not be neighbours. While the kernel has plenty, for
 * ML_PLENTY_MS, one block after the other comes back; a block that would not is tried
 * again after 5 s, doubling up to 5 min. One that programs need becomes movable, any
 * other is returned to the host, and borrowed again when it is needed.
 */
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../linux/empty.h"
#include "../linux/meminfo.h"
#include "../think/need.h"
#include "../turn/turn.h"
#include "split.h"

#define ML_SPLIT_ATTEMPT_MS	5000
#define ML_SPLIT_LOOK_MS	1000	/* while there are kernel blocks */
#define ML_PLENTY_MS		10000
#define ML_BACK_FIRST_MS	5000
#define ML_BACK_MAX_MS		300000
#define ML_CONVERT_FIRST_MS	100
#define ML_CONVERT_MAX_MS	10000
#define ML_TIDY_SHARE		16	/* of a block may be in use for that */
#define ML_CONVERT_TRIES	4	/* blocks from the boundary on, of one look */

struct ml_split {
	struct ml_turn *turn;
	struct task_struct *task;
	struct ml_request *give_back;
	unsigned long plenty_since;	/* jiffies */
	bool plenty;
	unsigned long not_before;	/* jiffies; no block comes back until then */
	unsigned long no_convert;	/* jiffies; none goes over until then */
	u32 back_ms;			/* pauses, double */
	u32 convert_ms;
	atomic64_t returned;		/* memory blocks */
};

/* One attempt at block i. 0, or -errno with the block as it was. */
static int ml_split_move(struct ml_split *s, u32 i, enum ml_way way)
{
	struct ml_attempt attempt = {
		.block = i,
		.way = way,
		.most_ms = ML_SPLIT_ATTEMPT_MS,
	};
	struct ml_turn *t = s->turn;
	int rc = ml_turn_take(t, ML_SPLIT, &attempt);

	if (!rc && way == ML_KERNEL_TO_HOST) {
		rc = ml_blocks_return(t->blocks, i, s->give_back);
		/* ml_shrink_everything() waits there until nothing is borrowed any more. */
		ml_turn_wake(t, ML_SHRINK);
	}
	return rc;
}

/* The movable block nearest the boundary, from `from` on, or the number of blocks. */
static u32 ml_split_lowest_movable(struct ml_blocks *b, u32 from)
{
	u32 i;

	for (i = from; i < b->count; i++)
		if (ml_blocks_state(b, i) == ML_ONLINE && !ml_blocks_is_kernel(b, i))
			break;
	return i;
}

/*
 * Kernel memory is short: a movable block goes over to it. If that is urgent, whatever
 * came of it a moment ago.
 */
static void ml_split_to_kernel(struct ml_split *s, bool urgent)
{
	struct ml_marks marks = ml_board_marks(s->turn->board);
	struct ml_blocks *b = s->turn->blocks;
	u32 i, tries = 0;

	if (!urgent && time_before(jiffies, s->no_convert))
		return;
	for (i = ml_split_lowest_movable(b, 0); i < b->count && tries < ML_CONVERT_TRIES;
	     i = ml_split_lowest_movable(b, i + 1)) {
		bool pinned;
		u64 used = ml_turn_used_bytes(s->turn, i, &pinned);

		cond_resched();
		if (!ml_may_convert(ml_movable_available_bytes(), used, b->mb_bytes, marks.reserve))
			break;
		tries++;
		if (ml_split_move(s, i, ML_MOVABLE_TO_KERNEL))
			continue;
		s->convert_ms = 0;
		s->plenty = false;
		return;
	}
	s->convert_ms = ml_backoff_ms(s->convert_ms, ML_CONVERT_FIRST_MS, ML_CONVERT_MAX_MS);
	s->no_convert = jiffies + msecs_to_jiffies(s->convert_ms);
}

/*
 * The kernel keeps some empty slabs of each kind, wherever they lie, and each of them
 * pins a block. It lets them go when it takes memory offline, any memory: so a
 * movable block that is nearly empty goes offline and online again. Returns whether.
 */
static bool ml_split_tidy(struct ml_split *s)
{
	struct ml_marks marks = ml_board_marks(s->turn->board);
	struct ml_blocks *b = s->turn->blocks;
	u32 i;

	if (!ml_may_shrink(ml_board_available(s->turn->board), b->mb_bytes, marks.low))
		return false;
	for (i = b->count; i-- > 0;) {
		bool pinned;

		if (ml_blocks_state(b, i) != ML_ONLINE || ml_blocks_is_kernel(b, i))
			continue;
		cond_resched();
		if (ml_turn_used_bytes(s->turn, i, &pinned) <= b->mb_bytes / ML_TIDY_SHARE && !pinned)
			return !ml_split_move(s, i, ML_MOVABLE_AGAIN);
	}
	return false;
}

/* The kernel has plenty: take away a block in which it keeps nothing. Returns whether. */
static bool ml_split_from_kernel(struct ml_split *s)
{
	struct ml_marks marks = ml_board_marks(s->turn->board);
	struct ml_blocks *b = s->turn->blocks;
	enum ml_way way;
	u32 i;

	for (i = b->count; i-- > 0;) {
		bool pinned;

		if (ml_blocks_state(b, i) != ML_ONLINE || !ml_blocks_is_kernel(b, i))
			continue;
		ml_turn_used_bytes(s->turn, i, &pinned);
		cond_resched();
		/* The kernel complains of each attempt at a page that cannot be moved. */
		if (pinned)
			continue;
		if (!ml_may_shrink(ml_board_available(s->turn->board), b->mb_bytes, marks.reserve))
			return false;
		way = ml_needs_movable(ml_board_available(s->turn->board) - b->mb_bytes, ml_large_free_bytes(),
				       b->mb_bytes, &marks) ? ML_KERNEL_TO_MOVABLE :
								    ML_KERNEL_TO_HOST;
		if (ml_split_move(s, i, way))
			return false;
		if (way == ML_KERNEL_TO_HOST)
			atomic64_inc(&s->returned);
		return true;
	}
	return false;
}

/* Look at kernel memory, and do what follows. Returns when to look again, in jiffies. */
static long ml_split_look(struct ml_split *s)
{
	struct ml_marks marks = ml_board_marks(s->turn->board);
	struct ml_turn *t = s->turn;
	struct ml_plea_look asked;

	if (ml_turn_split_asked(t, &asked)) {
		/* Who waits for that is the kernel itself: what it takes comes out of its reserves. */
		unsigned int flags = memalloc_noreclaim_save();

		ml_split_to_kernel(s, asked.any_special);
		memalloc_noreclaim_restore(flags);
		ml_turn_split_answer(t, &asked);
	}
	if (!ml_blocks_kernel_count(t->blocks))
		return MAX_SCHEDULE_TIMEOUT;
	if (!ml_kernel_plenty(&marks, ml_kernel_available_bytes(), t->blocks->mb_bytes)) {
		s->plenty = false;
	} else if (!s->plenty) {
		s->plenty = true;
		s->plenty_since = jiffies;
	} else if (time_after_eq(jiffies, s->plenty_since + msecs_to_jiffies(ML_PLENTY_MS)) &&
		   time_after_eq(jiffies, s->not_before)) {
		if (ml_split_from_kernel(s) ||
		    (ml_split_tidy(s) && ml_split_from_kernel(s)))
			s->back_ms = 0;
		else
			s->back_ms = ml_backoff_ms(s->back_ms, ML_BACK_FIRST_MS, ML_BACK_MAX_MS);
		s->not_before = jiffies + msecs_to_jiffies(s->back_ms);
	}
	return msecs_to_jiffies(ML_SPLIT_LOOK_MS);
}

static int ml_split_thread(void *data)
{
	struct ml_split *s = data;
	struct ml_turn *t = s->turn;
	long pause = MAX_SCHEDULE_TIMEOUT;

	allow_signal(ML_STOP_SIGNAL);
	while (!kthread_should_stop()) {
		ml_turn_sleep(t, ML_SPLIT, pause);
		flush_signals(current);
		pause = MAX_SCHEDULE_TIMEOUT;
		if (!kthread_should_stop() && !READ_ONCE(t->held))
			pause = ml_split_look(s);
	}
	return 0;
}

u64 ml_split_returned(const struct ml_split *s)
{
	return atomic64_read(&s->returned);
}

int ml_split_init(struct ml_turn *t, struct ml_split **out)
{
	struct ml_split *s = kzalloc(sizeof(*s), GFP_KERNEL);
	struct task_struct *task;
	int rc = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->turn = t;
	s->not_before = jiffies;
	s->no_convert = jiffies;
	s->give_back = ml_request_alloc();
	if (!s->give_back)
		goto fail;
	task = kthread_run(ml_split_thread, s, "memlease_split");
	if (IS_ERR(task)) {
		rc = PTR_ERR(task);
		goto fail;
	}
	s->task = task;
	ml_turn_taker(t, ML_SPLIT, task);
	*out = s;
	return 0;
fail:
	ml_request_free(s->give_back);
	kfree(s);
	return rc;
}

void ml_split_exit(struct ml_split *s)
{
	kthread_stop(s->task);
	ml_turn_taker(s->turn, ML_SPLIT, NULL);
	ml_request_free(s->give_back);
	kfree(s);
}
