/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose turn it is. The one place that says who may give a memory block to Linux or
 * take one away now, who is made to let go of one, and who wakes whom. The parts of
 * work/ know each other only from here and from the board.
 *
 * Three things exclude each other, by two locks:
 *
 *   taking	shrinking or the split empties a memory block: an *attempt*, one at a
 *		time. Takes seconds, and ends early when it is interrupted.
 *   reading	defragmenting reads page arrays and empties blocks of 2 MiB, others read
 *		how full a memory block is, and draining holds some pages. Taking
 *		removes page arrays, so it waits until reading has left off, which it
 *		does at once, in some milliseconds.
 *   giving	growing adds a memory block. Others wait for memory then, so it waits
 *		for nobody who reads, and makes who takes let go of his block.
 *
 * Lock order, whole, outermost first, and what holding each guarantees:
 *
 *   pages		Who takes or reads holds it. No page array of memory that
 *			was on line goes away, but for that of the block which the
 *			holder himself removes.
 *   the kernel's out-of-memory lock	(oom.c is called with it)
 *   blocks.hotplug	Who takes or gives holds it. Nobody else of the driver adds,
 *			removes or converts a memory block, and none changes between
 *			movable and kernel memory. States still change: a user may put
 *			a block on line or off line, the host may grant and retire.
 *   the kernel's hotplug locks		(hotplug.c's notifier is called with them)
 *   blocks.lock, wire.lock, queue.lock, events.lock, query.lock
 *			What they guard is consistent. Spinlocks, for some
 *			instructions each, none of them inside another.
 *
 * Two locks stand apart: the batch of work/report.c (request and spans are those of one
 * batch of free pages, until the host has answered) and the mutex of linux/cache.c (one at a
 * time raises marks of zones). None of the list is taken with them, or they with one.
 *
 * Rules, and who checks them (with CONFIG_LOCKDEP):
 *   - pages comes before blocks.hotplug		ml_turn_take()
 *   - an attempt has both				ml_turn_take()
 *   - giving does not wait for pages			ml_turn_give()
 *   - adding, removing, converting have blocks.hotplug	hotplug.c
 *   - page arrays are read with pages			ml_turn_assert_pages()
 *   - who waits for the host has neither		ml_turn_call(), ml_blocks_return()
 *   - states and counts change under blocks.lock, a
 *     request under queue.lock				blocks.c, queue.c
 * And one that nobody can check: the growing worker takes no lock under which anybody
 * waits for memory.
 */
#ifndef MEMLEASE_TURN_H
#define MEMLEASE_TURN_H

#include <linux/atomic.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../window/hotplug.h"
#include "../wire/wire.h"
#include "board.h"
#include "plea.h"

/* Who can be woken. */
enum ml_part {
	ML_GROW,	/* look at available memory now */
	ML_SHRINK,	/* look at the target now; takes blocks */
	ML_SPLIT,	/* look at kernel memory now; takes blocks */
	ML_REPORT,	/* report all that is free now */
	ML_ANEW,	/* see whether what was reported must be again */
	ML_DEFRAG,	/* look at settings again; reads */
	ML_STATS,	/* send statistics now */
	ML_QUERY,	/* readers who wait look again */
	ML_PART_COUNT,
};

/* What becomes of a memory block that is taken. */
enum ml_way {
	ML_TO_HOST,		/* one that is ADDED or ONLINE is removed: COMMITTED then */
	ML_KERNEL_TO_HOST,	/* the same with an ONLINE block of the kernel's */
	ML_KERNEL_TO_MOVABLE,	/* an ONLINE block of the kernel's becomes movable */
	ML_MOVABLE_TO_KERNEL,	/* and the other way round */
	ML_MOVABLE_AGAIN,	/* an ONLINE movable one goes off line and on line again */
	ML_WAY_COUNT,
};

/* An attempt to take memory block i. */
struct ml_attempt {
	u32 block;
	enum ml_way way;
	u32 most_ms;		/* after so long it is interrupted */
	u32 cpu_ms;		/* or after so long on a processor, if not 0 */
	int nice;		/* of the thread, until it is interrupted */
};

/* Where one part is woken: a thread waits, or there is work to queue. */
struct ml_bell {
	wait_queue_head_t wait;
	struct workqueue_struct *wq;
	struct delayed_work *work;
	bool rung;
};

/* A thread that takes blocks, and the attempt that it makes. */
struct ml_taker {
	struct ml_turn *turn;
	struct task_struct *task;	/* NULL: none */
	struct delayed_work alarm;	/* interrupts an attempt that takes too long */
	u64 end_ns;
	u64 ran_ns;			/* what the thread had run for when it began */
	u32 cpu_ms;
};

struct ml_turn {
	/* set once, and read by all */
	struct ml_wire *wire;
	struct ml_blocks *blocks;
	struct ml_hotplug *hotplug;
	struct ml_board *board;

	/*
	 * Read by all; the door writes them. Nobody begins anything while `held`: the device
	 * is gone, broken or asleep. Growing is held longer: while the machine is on its way
	 * to sleep, too.
	 */
	bool held;
	bool growing_held;

	/* turn.c alone looks at the rest */
	struct mutex pages;
	atomic_t pages_wanted;		/* so many want them from who reads in the background */
	atomic_t giving;		/* growing waits for blocks.hotplug */
	bool arriving;			/* a block is being given to Linux */
	u32 attempts;			/* begun and ended so far: odd while there is one */
	enum ml_way way;		/* of the one there is, or the last */
	struct ml_taker taker[2];	/* shrinking, the split */
	struct ml_bell bell[ML_PART_COUNT];

	/* out of memory */
	struct ml_pleas urges;		/* to growing; special: for the kernel's memory */
	struct ml_pleas for_kernel;	/* to the split, for a block; special: of who was out of memory */
	wait_queue_head_t relief;	/* who ran out of memory waits here */

	atomic64_t given_bytes;
	atomic64_t taken[ML_WAY_COUNT];	/* memory blocks */
};

/* Held, until ml_turn_hold(). */
void ml_turn_init(struct ml_turn *t, struct ml_wire *wire, struct ml_hotplug *hotplug,
		  struct ml_board *board);

/* --- who may work, and who is woken ------------------------------------------ */

/*
 * Hold all parts, or let them work. Held, an attempt is interrupted, and no part
 * begins anything new; what is under way may still be. Growing is held with all, and
 * released by itself. May sleep.
 */
void ml_turn_hold(struct ml_turn *t, bool held);
void ml_turn_hold_growing(struct ml_turn *t, bool held);

/*
 * Where a part is woken: a work item of its own. Threads need not say: they wait for
 * it. Once, at the part's start.
 */
void ml_turn_woken_by(struct ml_turn *t, enum ml_part part, struct workqueue_struct *wq,
		      struct delayed_work *work);

/* Wake a part; see enum ml_part. One that is held does nothing. Any context. */
void ml_turn_wake(struct ml_turn *t, enum ml_part part);

/* Was this part woken since the last call? */
bool ml_turn_woken(struct ml_turn *t, enum ml_part part);

/*
 * In the thread of a part: sleep until it is woken or to be stopped, at most that
 * long. In jiffies.
 */
void ml_turn_sleep(struct ml_turn *t, enum ml_part part, long timeout);

/* Where a part's thread sleeps: for other waits there, which ml_turn_wake() ends, too. */
wait_queue_head_t *ml_turn_waitqueue(struct ml_turn *t, enum ml_part part);

/* --- taking ------------------------------------------------------------------ */

/* The thread of ML_SHRINK or ML_SPLIT will take blocks, from now until it is NULL. */
void ml_turn_taker(struct ml_turn *t, enum ml_part part, struct task_struct *task);

/*
 * In such a thread: make an attempt. Waits for both locks. 0 if it worked; -EAGAIN if
 * the block cannot go that way any more, or all are held; or what ml_hotplug_remove()
 * and ml_hotplug_convert() return, the block being as it was.
 */
int ml_turn_take(struct ml_turn *t, enum ml_part part, const struct ml_attempt *attempt);

/* Have who takes a block leave it as it is, and not be nice. Any context. */
void ml_turn_interrupt(struct ml_turn *t);

/* Does growing wait for an attempt to end, or somebody who ran out of memory for growing? */
bool ml_turn_pressed(struct ml_turn *t);

/* Is a memory block being emptied? */
bool ml_turn_attempt(struct ml_turn *t);

/*
 * And is it one that goes over to the kernel? Then to interrupt it is no help to a kernel
 * that is short. A look without a lock: the attempt may have ended.
 */
bool ml_turn_attempt_for_kernel(struct ml_turn *t);

/*
 * For who counts memory, and would take what an attempt keeps from use for used: call
 * the first before counting. If the second is true after it, some of it was kept so.
 * Nobody waits, as with a seqcount.
 */
u32 ml_turn_attempts(struct ml_turn *t);
bool ml_turn_attempts_since(struct ml_turn *t, u32 attempts);

/* How many memory blocks were taken that way. */
u64 ml_turn_taken(struct ml_turn *t, enum ml_way way);

/* --- reading ----------------------------------------------------------------- */

/*
 * Have page arrays to read, in the background: only if nobody else has them. On
 * demand: wait for them. Read until ml_turn_pages_wanted(); then let go of them soon.
 */
bool ml_turn_read_try(struct ml_turn *t);
void ml_turn_read(struct ml_turn *t);
void ml_turn_read_end(struct ml_turn *t);
bool ml_turn_pages_wanted(struct ml_turn *t);

/* The same as a number that is not 0, for linux/census.c. */
const atomic_t *ml_turn_pages_flag(struct ml_turn *t);

/*
 * Bytes in use in a memory block, and whether there seems to be a page that cannot be
 * moved; see ml_hotplug_used_bytes(). Waits for pages, and has them while it looks.
 */
u64 ml_turn_used_bytes(struct ml_turn *t, u32 i, bool *pinned);

static inline void ml_turn_assert_pages(struct ml_turn *t)
{
	lockdep_assert_held(&t->pages);
}

/* --- giving ------------------------------------------------------------------ */

/*
 * Give a COMMITTED block to Linux; see ml_hotplug_add(). Interrupts who takes a block,
 * and waits until he has let go. -ENODEV while growing is held. By the growing worker
 * alone.
 */
int ml_turn_give(struct ml_turn *t, u32 i);

/* Hold growing, and return when nothing is being given any more. With none of the locks. */
void ml_turn_give_no_more(struct ml_turn *t);

/* Bytes given so far. */
u64 ml_turn_given_bytes(struct ml_turn *t);

/*
 * Ask the host and wait for its answer; see ml_queue_call(). Sleeps for as long as
 * the device lives, so with none of the locks.
 */
int ml_turn_call(struct ml_turn *t, struct ml_request *req);

/* The same, but withdrawn where the host is silent; see ml_queue_call_briefly(). */
int ml_turn_call_briefly(struct ml_turn *t, struct ml_request *req);

/* --- out of memory ----------------------------------------------------------- */

/* What growing and the split have brought so far. */
struct ml_relief {
	u64 given_bytes;
	u64 to_kernel;		/* memory blocks */
};

struct ml_relief ml_turn_relief(struct ml_turn *t);

/* What growing was urged to; see ml_turn_urge(). */
enum ml_urgency {
	ML_CALM,
	ML_URGENT,
	ML_URGENT_KERNEL,	/* memory of the kernel's is lacking, whatever it looks like by now */
};

/*
 * A process would be killed, for want of the kernel's memory or of any: growing is to look
 * now, as a matter of urgency, and no attempt is to be in its way, unless it brings the kernel
 * memory. Any context. Returns the plea's number, and whether growing has looked since.
 */
int ml_turn_urge(struct ml_turn *t, bool kernel);
bool ml_turn_urge_answered(const struct ml_turn *t, int urge);

/* By growing: what is it urged to, as a look begins? And when it has looked. */
enum ml_urgency ml_turn_urged(struct ml_turn *t, struct ml_plea_look *look);
void ml_turn_answer_urged(struct ml_turn *t, const struct ml_plea_look *look);

/*
 * By growing: no block is to be had for the kernel, which is short, or, urgent, for
 * want of which a process would be killed. Any context.
 */
void ml_turn_ask_split(struct ml_turn *t, bool urgent);

/* The number of the last such plea, and whether the split has looked since. Any context. */
int ml_turn_split_plea(struct ml_turn *t);
bool ml_turn_split_answered(const struct ml_turn *t, int plea);

/* By the split: is a block wanted that it has not looked for, and urgently? And the answer. */
bool ml_turn_split_asked(struct ml_turn *t, struct ml_plea_look *look);
void ml_turn_split_answer(struct ml_turn *t, const struct ml_plea_look *look);

/* Is a block being given to Linux, of which some may be there already? Any context. */
bool ml_turn_arriving(const struct ml_turn *t);

/* Where who urged waits; woken by each answer, when anything of ml_relief changes, or growing is held. */
wait_queue_head_t *ml_turn_relief_waitqueue(struct ml_turn *t);

#endif /* MEMLEASE_TURN_H */
