/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The window as Linux sees it: whole memory blocks (128 MiB or whatever this
 * kernel says), each in one state. Used by growing and shrinking, which decide
 * which and when; this file only carries it out.
 *
 *             borrow               granted               add_memory
 *   VACANT ------------> BORROWING -------> COMMITTED ---------------> ADDED
 *     ^ ^  none granted      |               |   ^                     |   ^
 *     | +--------------------+               |   | removed     online  v   | offline
 *     |            RETURNING <---------------+   +---- REMOVING <---- ONLINE
 *     +-----------------+  the rest granted, or all not needed
 *
 * ADDED is memory that Linux knows of but does not use. It stays like that only
 * if somebody took it offline by hand or onlining failed. LOST is a block with a
 * retired slot, after it was given back: it is not borrowed again.
 */
#ifndef MEMLEASE_BLOCKS_H
#define MEMLEASE_BLOCKS_H

#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "pure.h"

enum ml_state {
	ML_VACANT,
	ML_BORROWING,
	ML_COMMITTED,
	ML_ADDED,
	ML_ONLINE,
	ML_REMOVING,
	ML_RETURNING,
	ML_LOST,
	ML_STATE_COUNT,
};

struct ml_block {
	u8 state;		/* enum ml_state; ml_blocks_set() alone writes it */
	bool kernel;		/* for the kernel's own allocations too, not only movable */
	bool retired;		/* has a slot that the host retired */
	bool stuck;		/* RETURNING, and the answer never came: ask again */
	u32 held;		/* slots borrowed */
};

struct ml_blocks {
	u64 addr;		/* of the first, physical */
	u64 mb_bytes;
	u32 slots_per_mb;
	u32 count;
	u64 first_slot;		/* of the window, in the first memory block */
	int nid;
	bool memmap_inside;	/* page arrays lie in the memory that they describe */

	struct mutex hotplug;	/* one adds or removes; outermost */
	spinlock_t lock;	/* states and counts */
	struct ml_block *block;
	u32 in_state[ML_STATE_COUNT];
	u64 held_slots;		/* sum over the blocks */
	atomic_t wanted;	/* growing waits for hotplug: who empties blocks gives way */
	u32 adding;		/* block that nobody else may online, or count */
	struct task_struct *onlining;
	struct task_struct *offlining;	/* and does so only if nothing is in use */
	unsigned long taken;	/* pages that were, of `offlining` */
	struct notifier_block notifier;

	u64 offline_failures;	/* under hotplug */
	u64 online_failures;	/* under hotplug */
};

struct ml_device;
struct ml_request;

/*
 * Find the memory blocks of the window. -ERANGE, with a line in the log, if the
 * window holds none that this kernel can use.
 */
int ml_blocks_init(struct ml_device *ml);
void ml_blocks_exit(struct ml_device *ml);

/* The only writer of a state; a move that the picture lacks is a bug of ours. */
void ml_blocks_set(struct ml_device *ml, u32 i, enum ml_state state);
/* Slots that the host has granted of block i; keeps the sum, and the module's use count. */
void ml_blocks_hold(struct ml_device *ml, u32 i, u32 slots);

/* Window slots this guest holds. */
u64 ml_blocks_held(struct ml_device *ml);
u32 ml_blocks_in(struct ml_device *ml, enum ml_state state);

/* The slots of block i, from the first on. */
struct ml_span ml_blocks_span(struct ml_device *ml, u32 i, u32 slots);

/*
 * Take up to n vacant blocks and make them BORROWING: for the kernel's own use
 * from the bottom of the window, for movable pages from its top, so that the
 * two do not mix. Returns how many.
 */
u32 ml_blocks_take(struct ml_device *ml, bool kernel, u32 *picked, u32 n);

/*
 * Give a COMMITTED block to Linux. Under hotplug, with access to memory
 * reserves. Leaves it ONLINE, or COMMITTED with -errno. One that cannot be
 * onlined is removed again; logged once, and counted.
 */
int ml_blocks_add(struct ml_device *ml, u32 i);

/*
 * Take an ADDED or ONLINE block away from Linux. Under hotplug and
 * ml_defrag_keep_off(); may take long; ML_STOP_SIGNAL (empty.h) to the caller ends
 * it. Leaves it COMMITTED, or as it was with -errno.
 */
int ml_blocks_remove(struct ml_device *ml, u32 i);

/*
 * Make an ONLINE block kernel memory that is movable, or the other way round: takes
 * it offline and online again. Called and ended as ml_blocks_remove(). Leaves it
 * ONLINE, as it was if it returns -errno; one that cannot be onlined at all stays
 * ADDED.
 */
int ml_blocks_convert(struct ml_device *ml, u32 i, bool kernel);

/* ONLINE blocks that kernel allocations use. */
u32 ml_blocks_kernel(struct ml_device *ml);

/*
 * Give what is held of a COMMITTED or BORROWING block back to the host, or of one
 * that is RETURNING and stuck. Waits for the host, so not under hotplug; req is
 * the caller's own. Leaves it VACANT, or RETURNING and stuck with -errno.
 */
int ml_blocks_return(struct ml_device *ml, u32 i, struct ml_request *req);

/*
 * Bytes in use in an ONLINE block: what removing it would have to move. *pinned
 * says whether there seems to be a page that cannot be moved. Both are hints.
 */
u64 ml_blocks_used_bytes(struct ml_device *ml, u32 i, bool *pinned);

/* The host retired these slots of the window. */
void ml_blocks_retire(struct ml_device *ml, u64 first, u64 count);

const char *ml_state_text(enum ml_state state);

#endif /* MEMLEASE_BLOCKS_H */
