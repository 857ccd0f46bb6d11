// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shrinking; see shrink.h.
 *
 * A round takes the blocks from the emptiest to the fullest and tries each once,
 * as long as the guest keeps its reserve. One attempt has at most
 * ML_ATTEMPT_MS of a processor, and less if the deadline comes: then `alarm` sends
 * the signal that emptying and the kernel's offlining heed. After a round that did
 * not get there the thread pauses for 1 s, doubling up to 60 s (before the deadline: up
 * to 5 s), and begins anew; a round that ended because programs take memory fast
 * is followed by another after 200 ms. A new target ends the attempt and the pause.
 * Programs come first: where they leave no vCPU idle, the thread gets a few percent.
 */
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "empty.h"
#include "memlease.h"
#include "pace.h"

#define ML_ATTEMPT_MS		5000	/* of a processor */
#define ML_ATTEMPT_MAX_MS	30000
#define ML_ALARM_AGAIN_MS	500
#define ML_CACHE_MS		500	/* for page cache to make way */
#define ML_PAUSE_FIRST_MS	1000
#define ML_PAUSE_MAX_MS		60000
#define ML_PAUSE_BUSY_MS	200	/* until programs may take less */
#define ML_PAUSE_URGENT_MAX_MS	5000
#define ML_SHRINK_NICE		12	/* of busy vCPUs 6 %, of idle ones all it takes */
#define ML_RANK_NEVER		(~0ULL)

static const char * const ml_target_state_names[] = {
	[MEMLEASE_TARGET_NONE] = "none",
	[MEMLEASE_TARGET_WORKING] = "working",
	[MEMLEASE_TARGET_MET] = "met",
	[MEMLEASE_TARGET_PARTLY] = "partly",
};

const char *ml_target_state_text(u32 state)
{
	return state < ARRAY_SIZE(ml_target_state_names) ? ml_target_state_names[state] : "unknown";
}

void ml_shrink_interrupt(struct ml_device *ml)
{
	if (!ml->shrink.task)
		return;
	/* Who wants it to let go shall not wait until busy programs let it do so. */
	set_user_nice(ml->shrink.task, 0);
	send_sig(ML_STOP_SIGNAL, ml->shrink.task, 1);
}

/* What the thread has had of a processor. */
static u64 ml_shrink_ran_ns(struct ml_shrink *s)
{
	return READ_ONCE(s->task->se.sum_exec_runtime);
}

static void ml_shrink_alarm(struct work_struct *work)
{
	struct ml_shrink *s = container_of(to_delayed_work(work), struct ml_shrink, alarm);
	u64 now = ktime_get_ns();

	/* Programs came first, and nobody waits: it has hardly begun. */
	if (now < s->attempt_end_ns &&
	    ml_shrink_ran_ns(s) - s->attempt_ran_ns < ML_ATTEMPT_MS * NSEC_PER_MSEC) {
		queue_delayed_work(container_of(s, struct ml_device, shrink)->wq, &s->alarm,
				   msecs_to_jiffies(ML_ALARM_AGAIN_MS));
		return;
	}
	ml_shrink_interrupt(container_of(s, struct ml_device, shrink));
}

/* An attempt begins: set the alarm. One at a time, by the thread. */
static void ml_shrink_set_alarm(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	u64 now = ktime_get_ns(), left_ms = ML_ATTEMPT_MAX_MS;

	/* Past the deadline nobody waits: an attempt may take its full time. */
	if (s->deadline_ns > now)
		left_ms = clamp(div_u64(s->deadline_ns - now, NSEC_PER_MSEC), 100ULL, left_ms);
	s->attempt_end_ns = now + left_ms * NSEC_PER_MSEC;
	s->attempt_ran_ns = ml_shrink_ran_ns(s);
	mod_delayed_work(ml->wq, &s->alarm, msecs_to_jiffies(min_t(u64, left_ms, ML_ATTEMPT_MS)));
}

void ml_shrink_kick(struct ml_device *ml)
{
	WRITE_ONCE(ml->shrink.kick, true);
	wake_up_all(&ml->shrink.wait);
}

void ml_shrink_hold(struct ml_device *ml, bool held)
{
	WRITE_ONCE(ml->shrink.held, held);
	if (held)
		ml_shrink_interrupt(ml);
	ml_shrink_kick(ml);
}

static void ml_shrink_state(struct ml_device *ml, u32 state)
{
	if (ml->shrink.state == state)
		return;
	WRITE_ONCE(ml->shrink.state, state);
	/* The host hears of the end at once, not with the next statistics. */
	ml_stats_send_now(ml);
}

/* Take over what the config space says. Returns whether there is something to do. */
static bool ml_shrink_look(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	struct ml_host host = ml_host_now(ml);
	u64 held = ml_blocks_held(ml);

	if (!s->seq_known || s->seq != host.target_seq || s->goal != host.target_blocks) {
		s->seq_known = true;
		s->seq = host.target_seq;
		s->goal = host.target_blocks;
		s->deadline_ns = ktime_get_ns() + (u64)host.target_deadline_ms * NSEC_PER_MSEC;
		s->pause_ms = 0;
		if (host.target_blocks == MEMLEASE_NO_TARGET)
			ml_shrink_state(ml, MEMLEASE_TARGET_NONE);
		else if (held > s->goal)
			ml_shrink_state(ml, MEMLEASE_TARGET_WORKING);
		else
			ml_shrink_state(ml, MEMLEASE_TARGET_MET);
	}
	if (READ_ONCE(s->everything))
		return held > 0;
	return s->goal != MEMLEASE_NO_TARGET && held > s->goal;
}

static bool ml_shrink_changed(struct ml_device *ml)
{
	struct ml_host host = ml_host_now(ml);

	return READ_ONCE(ml->shrink.held) || kthread_should_stop() ||
	       host.target_seq != ml->shrink.seq || host.target_blocks != ml->shrink.goal;
}

static bool ml_shrink_enough(struct ml_device *ml)
{
	if (READ_ONCE(ml->shrink.everything))
		return !ml_blocks_held(ml);
	return ml_blocks_held(ml) <= ml->shrink.goal;
}

/* The rank of a block: less goes first. */
static u64 ml_shrink_rank(struct ml_device *ml, u32 i)
{
	struct ml_block *block = &ml->blocks.block[i];
	bool pinned;
	u64 used;

	switch (READ_ONCE(block->state)) {
	case ML_RETURNING:
		return READ_ONCE(block->stuck) ? 0 : ML_RANK_NEVER;
	case ML_ADDED:
		return 0;
	case ML_ONLINE:
		used = ml_blocks_used_bytes(ml, i, &pinned);
		/* Kernel memory does not move, and the kernel complains of each attempt. */
		if (block->kernel && pinned)
			return ML_RANK_NEVER;
		return block->retired ? 1 : 1 + used;
	}
	return ML_RANK_NEVER;
}

/* The next block to try in this round, or the number of blocks. */
static u32 ml_shrink_pick(struct ml_device *ml)
{
	u64 best_rank = ML_RANK_NEVER;
	u32 i, best = ml->blocks.count;

	for (i = 0; i < ml->blocks.count; i++) {
		if (ml->shrink.rank[i] < best_rank) {
			best_rank = ml->shrink.rank[i];
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
static void ml_shrink_make_room(struct ml_device *ml, u32 i, u64 reserve)
{
	u64 mb_bytes = ml->blocks.mb_bytes, free = ml_free_bytes(), used, want;
	bool pinned;

	if (READ_ONCE(ml->blocks.block[i].state) != ML_ONLINE)
		return;
	used = ml_blocks_used_bytes(ml, i, &pinned);
	free -= min(free, mb_bytes - min(used, mb_bytes));
	want = ml_trim_for_move(used, free, reserve, ml_cache_unused_bytes());
	if (want)
		ml_cache_give_up(ml, want, ML_CACHE_MS);
}

/* Is there room for what block i holds, and some to spare for the kernel? */
static bool ml_shrink_fits(struct ml_device *ml, u32 i, const struct ml_marks *marks)
{
	struct ml_block *block = &ml->blocks.block[i];
	u64 movable = ml_movable_free_bytes(), kernel = ml_kernel_available_bytes(), used, inside;
	bool pinned;

	if (READ_ONCE(block->state) != ML_ONLINE)
		return true;
	used = ml_blocks_used_bytes(ml, i, &pinned);
	inside = ml->blocks.mb_bytes - min(used, ml->blocks.mb_bytes);
	if (READ_ONCE(block->kernel))
		kernel -= min(kernel, inside);
	else
		movable -= min(movable, inside);
	return ml_may_move(used, movable, kernel, marks);
}

/* Does somebody need what an attempt would keep from him? */
static bool ml_shrink_gives_way(struct ml_device *ml)
{
	return atomic_read(&ml->blocks.wanted) || atomic_read(&ml->grow.urgent);
}

/* Empty one block and return it. */
static void ml_shrink_one(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	struct ml_shrink *s = &ml->shrink;
	u8 state;
	int rc = 0;

	ml_defrag_keep_off(ml);
	mutex_lock(&b->hotplug);
	state = READ_ONCE(b->block[i].state);
	if (state == ML_ADDED || state == ML_ONLINE) {
		flush_signals(current);
		set_user_nice(current, ML_SHRINK_NICE);
		ml_shrink_set_alarm(ml);
		WRITE_ONCE(s->attempts, s->attempts + 1);
		WRITE_ONCE(s->attempt, true);
		/* From now on growing watches that it does not take the last memory. */
		ml_grow_kick(ml);
		rc = ml_blocks_remove(ml, i);
		WRITE_ONCE(s->attempt, false);
		cancel_delayed_work_sync(&s->alarm);
		flush_signals(current);
	} else if (state != ML_RETURNING) {
		rc = -EAGAIN;
	}
	mutex_unlock(&b->hotplug);
	ml_defrag_go_on(ml);
	if (!rc)
		ml_blocks_return(ml, i, s->give_back);
}

/* Try each block once, the emptiest first, as far as it is needed and can be borne. */
static void ml_shrink_round(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	u32 i, count = ml->blocks.count;
	u64 began_ns;

	s->busy = false;
	/* What is free goes first: that takes no work, and nobody misses it. */
	ml_report_now(ml);
	for (i = 0; i < count; i++) {
		s->rank[i] = ml_shrink_rank(ml, i);
		cond_resched();
	}
	while (!ml_shrink_enough(ml) && !ml_shrink_changed(ml)) {
		struct ml_marks marks = ml_marks_now(ml);
		u64 available = ml_available(ml);

		if (!ml_may_shrink(available, ml->blocks.mb_bytes, marks.reserve))
			break;
		/* What programs will take within a second is as good as gone. */
		s->busy = ml_shrink_gives_way(ml) ||
			  !ml_may_shrink(available, ml->blocks.mb_bytes,
					 marks.reserve + READ_ONCE(ml->grow.rate));
		if (s->busy)
			break;
		i = ml_shrink_pick(ml);
		if (i >= count)
			break;
		s->rank[i] = ML_RANK_NEVER;
		ml_shrink_make_room(ml, i, marks.reserve);
		if (!ml_shrink_fits(ml, i, &marks))
			continue;
		began_ns = ktime_get_ns();
		ml_shrink_one(ml, i);
		ml_pace(ktime_get_ns() - began_ns);
	}
}

/* After a round: what to tell the host, and how long to pause. In jiffies. */
static long ml_shrink_after(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	u64 now = ktime_get_ns();
	u32 most = ML_PAUSE_MAX_MS;

	if (ml_shrink_enough(ml)) {
		ml_shrink_state(ml, s->goal == MEMLEASE_NO_TARGET ? MEMLEASE_TARGET_NONE :
				MEMLEASE_TARGET_MET);
		return MAX_SCHEDULE_TIMEOUT;
	}
	if (now < s->deadline_ns) {
		u32 left_ms = div_u64(s->deadline_ns - now, NSEC_PER_MSEC) + 1;

		/* Not past the deadline, at which the host wants to hear of us. */
		most = min_t(u32, left_ms, ML_PAUSE_URGENT_MAX_MS);
	} else {
		ml_shrink_state(ml, MEMLEASE_TARGET_PARTLY);
	}
	if (s->busy)
		return msecs_to_jiffies(min_t(u32, ML_PAUSE_BUSY_MS, most));
	s->pause_ms = ml_backoff_ms(s->pause_ms, ML_PAUSE_FIRST_MS, ML_PAUSE_MAX_MS);
	return msecs_to_jiffies(min(s->pause_ms, most));
}

static bool ml_shrink_wanted(struct ml_shrink *s)
{
	return READ_ONCE(s->kick) || kthread_should_stop();
}

static int ml_shrink_thread(void *data)
{
	struct ml_device *ml = data;
	struct ml_shrink *s = &ml->shrink;
	long pause = MAX_SCHEDULE_TIMEOUT;

	allow_signal(ML_STOP_SIGNAL);
	while (!kthread_should_stop()) {
		wait_event_idle_timeout(s->wait, ml_shrink_wanted(s), pause);
		flush_signals(current);
		WRITE_ONCE(s->kick, false);
		pause = MAX_SCHEDULE_TIMEOUT;
		if (kthread_should_stop() || READ_ONCE(s->held))
			continue;
		if (ml_shrink_look(ml)) {
			WRITE_ONCE(s->idle, false);
			ml_shrink_round(ml);
			if (!ml_shrink_changed(ml))
				pause = ml_shrink_after(ml);
			else
				WRITE_ONCE(s->kick, true);
		} else if (s->goal != MEMLEASE_NO_TARGET) {
			ml_shrink_state(ml, MEMLEASE_TARGET_MET);
		}
		WRITE_ONCE(s->idle, true);
		wake_up_all(&s->wait);
	}
	return 0;
}

u64 ml_shrink_everything(struct ml_device *ml, u32 timeout_ms)
{
	struct ml_shrink *s = &ml->shrink;

	if (!ml_blocks_held(ml))
		return 0;
	WRITE_ONCE(s->everything, true);
	ml_shrink_kick(ml);
	wait_event_idle_timeout(s->wait, !ml_blocks_held(ml), msecs_to_jiffies(timeout_ms));
	WRITE_ONCE(s->everything, false);
	return ml_blocks_held(ml);
}

int ml_shrink_init(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	struct task_struct *task;

	init_waitqueue_head(&s->wait);
	INIT_DELAYED_WORK(&s->alarm, ml_shrink_alarm);
	s->held = true;
	s->goal = MEMLEASE_NO_TARGET;
	s->rank = kvcalloc(max(ml->blocks.count, 1U), sizeof(*s->rank), GFP_KERNEL);
	s->give_back = ml_request_alloc();
	if (!s->rank || !s->give_back)
		goto fail;
	task = kthread_run(ml_shrink_thread, ml, "memlease_shrink");
	if (IS_ERR(task))
		goto fail;
	s->task = task;
	return 0;
fail:
	kvfree(s->rank);
	ml_request_free(s->give_back);
	return -ENOMEM;
}

void ml_shrink_exit(struct ml_device *ml)
{
	struct ml_shrink *s = &ml->shrink;
	struct task_struct *task = s->task;

	ml_shrink_hold(ml, true);
	kthread_stop(task);
	s->task = NULL;
	cancel_delayed_work_sync(&s->alarm);
	kvfree(s->rank);
	ml_request_free(s->give_back);
}
