// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whose turn it is; see turn.h.
 *
 * An attempt holds blocks.hotplug, which growing needs: so growing sends the signal
 * that ends it, as the attempt's alarm does when it takes too long. Signals from
 * before a taker waits for blocks.hotplug are forgotten, those from after are meant
 * for this attempt. Where programs come first (`nice`), and nobody waits, an attempt
 * has its time of a processor; who interrupts it does not wait until busy programs
 * let it stop.
 */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "../linux/empty.h"
#include "turn.h"

#define ML_ALARM_AGAIN_MS	500

/* --- who may work, and who is woken ------------------------------------------ */

void ml_turn_wake(struct ml_turn *t, enum ml_part part)
{
	struct ml_bell *bell = &t->bell[part];
	bool held = part == ML_GROW ? READ_ONCE(t->growing_held) : READ_ONCE(t->held);

	if (bell->work && held)
		return;
	WRITE_ONCE(bell->rung, true);
	if (bell->work)
		mod_delayed_work(bell->wq, bell->work, 0);
	else
		wake_up_all(&bell->wait);
}

bool ml_turn_woken(struct ml_turn *t, enum ml_part part)
{
	return xchg(&t->bell[part].rung, false);
}

void ml_turn_woken_by(struct ml_turn *t, enum ml_part part, struct workqueue_struct *wq,
		      struct delayed_work *work)
{
	t->bell[part].wq = wq;
	t->bell[part].work = work;
}

static bool ml_bell_heard(const struct ml_bell *bell)
{
	return READ_ONCE(bell->rung) || kthread_should_stop();
}

void ml_turn_sleep(struct ml_turn *t, enum ml_part part, long timeout)
{
	struct ml_bell *bell = &t->bell[part];

	wait_event_idle_timeout(bell->wait, ml_bell_heard(bell), timeout);
	WRITE_ONCE(bell->rung, false);
}

wait_queue_head_t *ml_turn_waitqueue(struct ml_turn *t, enum ml_part part)
{
	return &t->bell[part].wait;
}

void ml_turn_hold_growing(struct ml_turn *t, bool held)
{
	WRITE_ONCE(t->growing_held, held);
	if (held)
		wake_up_all(&t->relief);
	else
		ml_turn_wake(t, ML_GROW);
}

void ml_turn_hold(struct ml_turn *t, bool held)
{
	enum ml_part part;

	if (held)
		ml_turn_hold_growing(t, true);
	WRITE_ONCE(t->held, held);
	if (held)
		ml_turn_interrupt(t);
	for (part = 0; part < ML_PART_COUNT; part++)
		if (part != ML_GROW)
			ml_turn_wake(t, part);
}

/* --- taking ------------------------------------------------------------------ */

static struct ml_taker *ml_taker_of(struct ml_turn *t, enum ml_part part)
{
	return &t->taker[part == ML_SPLIT];
}

static void ml_taker_interrupt(struct ml_taker *k)
{
	if (!k->task)
		return;
	set_user_nice(k->task, 0);
	send_sig(ML_STOP_SIGNAL, k->task, 1);
}

void ml_turn_interrupt(struct ml_turn *t)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(t->taker); i++)
		ml_taker_interrupt(&t->taker[i]);
}

/* What the thread has had of a processor. */
static u64 ml_taker_ran_ns(const struct ml_taker *k)
{
	return READ_ONCE(k->task->se.sum_exec_runtime);
}

static void ml_taker_alarm(struct work_struct *work)
{
	struct ml_taker *k = container_of(to_delayed_work(work), struct ml_taker, alarm);

	/* Programs came first, and nobody waits: it has hardly begun. */
	if (ktime_get_ns() < k->end_ns &&
	    ml_taker_ran_ns(k) - k->ran_ns < (u64)k->cpu_ms * NSEC_PER_MSEC)
		queue_delayed_work(k->turn->wire->wq, &k->alarm,
				   msecs_to_jiffies(ML_ALARM_AGAIN_MS));
	else
		ml_taker_interrupt(k);
}

void ml_turn_taker(struct ml_turn *t, enum ml_part part, struct task_struct *task)
{
	struct ml_taker *k = ml_taker_of(t, part);

	k->task = task;
	if (!task)
		cancel_delayed_work_sync(&k->alarm);
}

static void ml_attempt_begin(struct ml_taker *k, const struct ml_attempt *a)
{
	struct ml_turn *t = k->turn;

	set_user_nice(current, a->nice);
	k->end_ns = ktime_get_ns() + (u64)a->most_ms * NSEC_PER_MSEC;
	k->ran_ns = ml_taker_ran_ns(k);
	k->cpu_ms = a->cpu_ms;
	mod_delayed_work(t->wire->wq, &k->alarm,
			 msecs_to_jiffies(min(a->most_ms, a->cpu_ms ?: a->most_ms)));
	WRITE_ONCE(t->way, a->way);
	/* Odd before anything is missing, and even when all is back or gone for good. */
	WRITE_ONCE(t->attempts, t->attempts + 1);
	smp_wmb();
	/* From now on growing watches that programs do not take the last memory. */
	ml_turn_wake(t, ML_GROW);
}

static void ml_attempt_end(struct ml_taker *k)
{
	smp_store_release(&k->turn->attempts, k->turn->attempts + 1);
	cancel_delayed_work_sync(&k->alarm);
}

/* Can the block go that way, now that nobody else changes it? */
static bool ml_attempt_may(struct ml_turn *t, const struct ml_attempt *a)
{
	enum ml_state state = ml_blocks_state(t->blocks, a->block);
	bool kernel = ml_blocks_is_kernel(t->blocks, a->block);

	lockdep_assert_held(&t->pages);
	lockdep_assert_held(&t->blocks->hotplug);
	if (READ_ONCE(t->held))
		return false;
	if (a->way == ML_TO_HOST)
		return state == ML_ADDED || state == ML_ONLINE;
	return state == ML_ONLINE &&
	       kernel == (a->way == ML_KERNEL_TO_HOST || a->way == ML_KERNEL_TO_MOVABLE);
}

static int ml_attempt_make(struct ml_turn *t, const struct ml_attempt *a)
{
	int rc;

	if (a->way == ML_TO_HOST || a->way == ML_KERNEL_TO_HOST)
		rc = ml_hotplug_remove(t->hotplug, a->block);
	else
		rc = ml_hotplug_convert(t->hotplug, a->block, a->way == ML_MOVABLE_TO_KERNEL);
	if (!rc)
		atomic64_inc(&t->taken[a->way]);
	return rc;
}

/* Have the page arrays, and have who reads them in the background let go of them. */
static void ml_pages_lock(struct ml_turn *t)
{
	atomic_inc(&t->pages_wanted);
	wake_up_all(&t->bell[ML_DEFRAG].wait);
	mutex_lock(&t->pages);
}

int ml_turn_take(struct ml_turn *t, enum ml_part part, const struct ml_attempt *attempt)
{
	struct ml_taker *k = ml_taker_of(t, part);
	int rc = -EAGAIN;

	lockdep_assert_not_held(&t->blocks->hotplug);
	ml_pages_lock(t);
	flush_signals(current);
	mutex_lock(&t->blocks->hotplug);
	if (ml_attempt_may(t, attempt)) {
		ml_attempt_begin(k, attempt);
		rc = ml_attempt_make(t, attempt);
		ml_attempt_end(k);
	}
	mutex_unlock(&t->blocks->hotplug);
	flush_signals(current);
	mutex_unlock(&t->pages);
	atomic_dec(&t->pages_wanted);
	return rc;
}

bool ml_turn_pressed(struct ml_turn *t)
{
	return atomic_read(&t->giving) || !ml_plea_answered(&t->urges, ml_plea_last(&t->urges));
}

bool ml_turn_attempt(struct ml_turn *t)
{
	return READ_ONCE(t->attempts) & 1;
}

bool ml_turn_attempt_for_kernel(struct ml_turn *t)
{
	return ml_turn_attempt(t) && READ_ONCE(t->way) == ML_MOVABLE_TO_KERNEL;
}

u32 ml_turn_attempts(struct ml_turn *t)
{
	return smp_load_acquire(&t->attempts);
}

bool ml_turn_attempts_since(struct ml_turn *t, u32 attempts)
{
	smp_rmb();
	return (attempts & 1) || READ_ONCE(t->attempts) != attempts;
}

u64 ml_turn_taken(struct ml_turn *t, enum ml_way way)
{
	return atomic64_read(&t->taken[way]);
}

/* --- reading ----------------------------------------------------------------- */

bool ml_turn_read_try(struct ml_turn *t)
{
	return mutex_trylock(&t->pages);
}

void ml_turn_read(struct ml_turn *t)
{
	lockdep_assert_not_held(&t->blocks->hotplug);
	ml_pages_lock(t);
	atomic_dec(&t->pages_wanted);
}

void ml_turn_read_end(struct ml_turn *t)
{
	mutex_unlock(&t->pages);
}

bool ml_turn_pages_wanted(struct ml_turn *t)
{
	return atomic_read(&t->pages_wanted);
}

u64 ml_turn_used_bytes(struct ml_turn *t, u32 i, bool *pinned)
{
	u64 used;

	ml_turn_read(t);
	used = ml_hotplug_used_bytes(t->hotplug, i, pinned);
	ml_turn_read_end(t);
	return used;
}

const atomic_t *ml_turn_pages_flag(struct ml_turn *t)
{
	return &t->pages_wanted;
}

/* --- giving ------------------------------------------------------------------ */

int ml_turn_give(struct ml_turn *t, u32 i)
{
	struct ml_blocks *b = t->blocks;
	int rc;

	lockdep_assert_not_held(&t->pages);
	WRITE_ONCE(t->arriving, true);
	if (!mutex_trylock(&b->hotplug)) {
		/* Who empties a block can do so another time. */
		atomic_inc(&t->giving);
		ml_turn_interrupt(t);
		mutex_lock(&b->hotplug);
		atomic_dec(&t->giving);
	}
	/* The device may be about to go, and its memory with it. */
	rc = READ_ONCE(t->growing_held) ? -ENODEV : ml_hotplug_add(t->hotplug, i);
	mutex_unlock(&b->hotplug);
	if (!rc) {
		WRITE_ONCE(t->board->last_add, jiffies);
		atomic64_add(b->mb_bytes, &t->given_bytes);
	}
	smp_store_release(&t->arriving, false);
	/* Who ran out of memory goes on with the first block. */
	wake_up_all(&t->relief);
	return rc;
}

bool ml_turn_arriving(const struct ml_turn *t)
{
	return smp_load_acquire(&t->arriving);
}

void ml_turn_give_no_more(struct ml_turn *t)
{
	ml_turn_hold_growing(t, true);
	mutex_lock(&t->blocks->hotplug);
	mutex_unlock(&t->blocks->hotplug);
}

u64 ml_turn_given_bytes(struct ml_turn *t)
{
	return atomic64_read(&t->given_bytes);
}

int ml_turn_call(struct ml_turn *t, struct ml_request *req)
{
	lockdep_assert_not_held(&t->pages);
	lockdep_assert_not_held(&t->blocks->hotplug);
	return ml_queue_call(&t->wire->queue, req);
}

int ml_turn_call_briefly(struct ml_turn *t, struct ml_request *req)
{
	lockdep_assert_not_held(&t->pages);
	lockdep_assert_not_held(&t->blocks->hotplug);
	return ml_queue_call_briefly(&t->wire->queue, req, ML_SILENT_MS);
}

/* --- out of memory ----------------------------------------------------------- */

struct ml_relief ml_turn_relief(struct ml_turn *t)
{
	return (struct ml_relief){
		.given_bytes = atomic64_read(&t->given_bytes),
		.to_kernel = atomic64_read(&t->taken[ML_MOVABLE_TO_KERNEL]),
	};
}

int ml_turn_urge(struct ml_turn *t, bool kernel)
{
	int urge = ml_plea_make(&t->urges, kernel);

	/*
	 * An attempt keeps memory from use, and the lock that giving needs. One for the
	 * kernel may be all the help there is; if there is more, ml_turn_give() ends it.
	 */
	if (!ml_turn_attempt_for_kernel(t))
		ml_turn_interrupt(t);
	ml_turn_wake(t, ML_GROW);
	return urge;
}

bool ml_turn_urge_answered(const struct ml_turn *t, int urge)
{
	return ml_plea_answered(&t->urges, urge);
}

enum ml_urgency ml_turn_urged(struct ml_turn *t, struct ml_plea_look *look)
{
	if (!ml_plea_look(&t->urges, look))
		return ML_CALM;
	return look->any_special ? ML_URGENT_KERNEL : ML_URGENT;
}

void ml_turn_answer_urged(struct ml_turn *t, const struct ml_plea_look *look)
{
	ml_plea_answer(&t->urges, look);
	wake_up_all(&t->relief);
}

void ml_turn_ask_split(struct ml_turn *t, bool urgent)
{
	ml_plea_make(&t->for_kernel, urgent);
	ml_turn_wake(t, ML_SPLIT);
}

int ml_turn_split_plea(struct ml_turn *t)
{
	return ml_plea_last(&t->for_kernel);
}

bool ml_turn_split_answered(const struct ml_turn *t, int plea)
{
	return ml_plea_answered(&t->for_kernel, plea);
}

bool ml_turn_split_asked(struct ml_turn *t, struct ml_plea_look *look)
{
	return ml_plea_look(&t->for_kernel, look);
}

void ml_turn_split_answer(struct ml_turn *t, const struct ml_plea_look *look)
{
	ml_plea_answer(&t->for_kernel, look);
	wake_up_all(&t->relief);
}

wait_queue_head_t *ml_turn_relief_waitqueue(struct ml_turn *t)
{
	return &t->relief;
}

void ml_turn_init(struct ml_turn *t, struct ml_wire *wire, struct ml_hotplug *hotplug,
		  struct ml_board *board)
{
	u32 i;

	t->wire = wire;
	t->blocks = hotplug->blocks;
	t->hotplug = hotplug;
	t->board = board;
	t->held = true;
	t->growing_held = true;
	mutex_init(&t->pages);
	init_waitqueue_head(&t->relief);
	for (i = 0; i < ML_PART_COUNT; i++)
		init_waitqueue_head(&t->bell[i].wait);
	for (i = 0; i < ARRAY_SIZE(t->taker); i++) {
		t->taker[i].turn = t;
		INIT_DELAYED_WORK(&t->taker[i].alarm, ml_taker_alarm);
	}
}
