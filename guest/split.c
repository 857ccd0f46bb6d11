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
 *
 * An attempt holds blocks.hotplug, which growing needs: so growing sends the signal
 * that ends it, as `alarm` does after ML_ATTEMPT_MS. Signals from before the lock was
 * taken are forgotten, those from after are meant for this attempt.
 */
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>

#include "empty.h"
#include "memlease.h"

#define ML_SPLIT_ATTEMPT_MS	5000
#define ML_SPLIT_LOOK_MS	1000	/* while there are kernel blocks */
#define ML_PLENTY_MS		10000
#define ML_BACK_FIRST_MS	5000
#define ML_BACK_MAX_MS		300000
#define ML_CONVERT_FIRST_MS	100
#define ML_CONVERT_MAX_MS	10000
#define ML_TIDY_SHARE		16	/* of a block may be in use for that */
#define ML_CONVERT_TRIES	4	/* blocks from the boundary on, of one look */

void ml_split_interrupt(struct ml_device *ml)
{
	if (ml->split.task)
		send_sig(ML_STOP_SIGNAL, ml->split.task, 1);
}

static void ml_split_alarm(struct work_struct *work)
{
	struct ml_split *s = container_of(to_delayed_work(work), struct ml_split, alarm);

	ml_split_interrupt(container_of(s, struct ml_device, split));
}

void ml_split_kick(struct ml_device *ml)
{
	WRITE_ONCE(ml->split.kick, true);
	wake_up_all(&ml->split.wait);
}

void ml_split_want(struct ml_device *ml)
{
	atomic_inc(&ml->split.asked);
	ml_split_kick(ml);
}

void ml_split_hold(struct ml_device *ml, bool held)
{
	WRITE_ONCE(ml->split.held, held);
	if (held)
		ml_split_interrupt(ml);
	ml_split_kick(ml);
}

/* The ways of an attempt: what becomes of the block. */
enum ml_way {
	ML_TO_KERNEL,
	ML_TO_MOVABLE,
	ML_TO_HOST,
	ML_TIDY,	/* a movable block that stays one; see ml_split_tidy() */
};

/* One attempt at block i. 0, or -errno with the block as it was. */
static int ml_split_move(struct ml_device *ml, u32 i, enum ml_way way)
{
	struct ml_blocks *b = &ml->blocks;
	struct ml_split *s = &ml->split;
	int rc = -EAGAIN;

	ml_defrag_keep_off(ml);
	flush_signals(current);
	mutex_lock(&b->hotplug);
	WRITE_ONCE(s->attempts, s->attempts + 1);
	WRITE_ONCE(s->attempt, true);
	if (READ_ONCE(b->block[i].state) == ML_ONLINE && !READ_ONCE(s->held) &&
	    READ_ONCE(b->block[i].kernel) == (way == ML_TO_MOVABLE || way == ML_TO_HOST)) {
		mod_delayed_work(ml->wq, &s->alarm, msecs_to_jiffies(ML_SPLIT_ATTEMPT_MS));
		/* From now on growing watches that it does not take the last memory. */
		ml_grow_kick(ml);
		rc = way == ML_TO_HOST ? ml_blocks_remove(ml, i) :
					 ml_blocks_convert(ml, i, way == ML_TO_KERNEL);
		cancel_delayed_work_sync(&s->alarm);
	}
	WRITE_ONCE(s->attempt, false);
	mutex_unlock(&b->hotplug);
	flush_signals(current);
	ml_defrag_go_on(ml);
	if (!rc && way == ML_TO_HOST) {
		rc = ml_blocks_return(ml, i, s->give_back);
		/* Who waits for all to be returned waits there. */
		ml_shrink_kick(ml);
	}
	return rc;
}

/* The movable block nearest the boundary, from `from` on, or the number of blocks. */
static u32 ml_split_lowest_movable(struct ml_device *ml, u32 from)
{
	struct ml_blocks *b = &ml->blocks;
	u32 i;

	for (i = from; i < b->count; i++)
		if (READ_ONCE(b->block[i].state) == ML_ONLINE && !READ_ONCE(b->block[i].kernel))
			break;
	return i;
}

/* Kernel memory is short: a movable block goes over to it. */
static void ml_split_to_kernel(struct ml_device *ml)
{
	struct ml_marks marks = ml_marks_now(ml);
	struct ml_blocks *b = &ml->blocks;
	struct ml_split *s = &ml->split;
	u32 i, tries = 0;

	if (time_before(jiffies, s->no_convert))
		return;
	for (i = ml_split_lowest_movable(ml, 0); i < b->count && tries < ML_CONVERT_TRIES;
	     i = ml_split_lowest_movable(ml, i + 1)) {
		bool pinned;
		u64 used = ml_blocks_used_bytes(ml, i, &pinned);

		cond_resched();
		if (!ml_may_convert(ml_movable_available_bytes(), used, b->mb_bytes, marks.reserve))
			break;
		tries++;
		if (ml_split_move(ml, i, ML_TO_KERNEL))
			continue;
		atomic64_inc(&s->to_kernel);
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
static bool ml_split_tidy(struct ml_device *ml)
{
	struct ml_marks marks = ml_marks_now(ml);
	struct ml_blocks *b = &ml->blocks;
	u32 i;

	if (!ml_may_shrink(ml_available(ml), b->mb_bytes, marks.low))
		return false;
	for (i = b->count; i-- > 0;) {
		bool pinned;

		if (READ_ONCE(b->block[i].state) != ML_ONLINE || READ_ONCE(b->block[i].kernel))
			continue;
		cond_resched();
		if (ml_blocks_used_bytes(ml, i, &pinned) <= b->mb_bytes / ML_TIDY_SHARE && !pinned)
			return !ml_split_move(ml, i, ML_TIDY);
	}
	return false;
}

/* The kernel has plenty: let go of a block that holds nothing of its own. */
static bool ml_split_from_kernel(struct ml_device *ml)
{
	struct ml_marks marks = ml_marks_now(ml);
	struct ml_blocks *b = &ml->blocks;
	struct ml_split *s = &ml->split;
	enum ml_way way;
	u32 i;

	for (i = b->count; i-- > 0;) {
		bool pinned;

		if (READ_ONCE(b->block[i].state) != ML_ONLINE || !READ_ONCE(b->block[i].kernel))
			continue;
		ml_blocks_used_bytes(ml, i, &pinned);
		cond_resched();
		/* The kernel complains of each attempt at a page that cannot be moved. */
		if (pinned)
			continue;
		if (!ml_may_shrink(ml_available(ml), b->mb_bytes, marks.reserve))
			return false;
		way = ml_needs_movable(ml_available(ml) - b->mb_bytes, ml_large_free_bytes(),
				       b->mb_bytes, &marks) ? ML_TO_MOVABLE : ML_TO_HOST;
		if (ml_split_move(ml, i, way))
			return false;
		atomic64_inc(way == ML_TO_MOVABLE ? &s->to_movable : &s->returned);
		return true;
	}
	return false;
}

/* Look at kernel memory, and do what follows. Returns when to look again, in jiffies. */
static long ml_split_look(struct ml_device *ml)
{
	struct ml_marks marks = ml_marks_now(ml);
	struct ml_split *s = &ml->split;
	int asked = atomic_read(&s->asked);

	if (asked != s->answered) {
		ml_split_to_kernel(ml);
		WRITE_ONCE(s->answered, asked);
		wake_up_all(&ml->grow.wait);
	}
	if (!ml_blocks_kernel(ml))
		return MAX_SCHEDULE_TIMEOUT;
	if (!ml_kernel_plenty(&marks, ml_kernel_available_bytes(), ml->blocks.mb_bytes)) {
		s->plenty = false;
	} else if (!s->plenty) {
		s->plenty = true;
		s->plenty_since = jiffies;
	} else if (time_after_eq(jiffies, s->plenty_since + msecs_to_jiffies(ML_PLENTY_MS)) &&
		   time_after_eq(jiffies, s->not_before)) {
		if (ml_split_from_kernel(ml) ||
		    (ml_split_tidy(ml) && ml_split_from_kernel(ml)))
			s->back_ms = 0;
		else
			s->back_ms = ml_backoff_ms(s->back_ms, ML_BACK_FIRST_MS, ML_BACK_MAX_MS);
		s->not_before = jiffies + msecs_to_jiffies(s->back_ms);
	}
	return msecs_to_jiffies(ML_SPLIT_LOOK_MS);
}

static bool ml_split_woken(struct ml_split *s)
{
	return READ_ONCE(s->kick) || kthread_should_stop();
}

static int ml_split_thread(void *data)
{
	struct ml_device *ml = data;
	struct ml_split *s = &ml->split;
	long pause = MAX_SCHEDULE_TIMEOUT;

	allow_signal(ML_STOP_SIGNAL);
	while (!kthread_should_stop()) {
		wait_event_idle_timeout(s->wait, ml_split_woken(s), pause);
		flush_signals(current);
		WRITE_ONCE(s->kick, false);
		pause = MAX_SCHEDULE_TIMEOUT;
		if (!kthread_should_stop() && !READ_ONCE(s->held))
			pause = ml_split_look(ml);
	}
	return 0;
}

int ml_split_init(struct ml_device *ml)
{
	struct ml_split *s = &ml->split;
	struct task_struct *task;

	init_waitqueue_head(&s->wait);
	INIT_DELAYED_WORK(&s->alarm, ml_split_alarm);
	s->held = true;
	s->not_before = jiffies;
	s->no_convert = jiffies;
	s->give_back = ml_request_alloc();
	if (!s->give_back)
		return -ENOMEM;
	task = kthread_run(ml_split_thread, ml, "memlease_split");
	if (IS_ERR(task)) {
		ml_request_free(s->give_back);
		return PTR_ERR(task);
	}
	s->task = task;
	return 0;
}

void ml_split_exit(struct ml_device *ml)
{
	struct ml_split *s = &ml->split;
	struct task_struct *task = s->task;

	ml_split_hold(ml, true);
	kthread_stop(task);
	s->task = NULL;
	cancel_delayed_work_sync(&s->alarm);
	ml_request_free(s->give_back);
}
