/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The window as Linux sees it: whole memory blocks (128 MiB or whatever this
 * kernel says), each in one state, with one setter. Borrowing and returning slots is
 * here; hotplug.c carries out what concerns Linux; work/ decides which and when.
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
#include <linux/spinlock.h>

#include "../think/pure.h"

struct ml_wire;
struct ml_request;

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

/* blocks.c alone looks into it. */
struct ml_block {
	u8 state;		/* enum ml_state; ml_blocks_set() alone writes it */
	bool kernel;		/* for the kernel's own allocations too, not only movable */
	bool retired;		/* has a slot that the host retired */
	bool stuck;		/* RETURNING, and the answer never came: ask again */
	u32 borrowed;		/* slots */
};

struct ml_blocks {
	/* set once, and read by all */
	struct ml_wire *wire;
	u64 addr;		/* of the first, physical */
	u64 mb_bytes;		/* of a memory block */
	u32 slots_per_mb;
	u32 count;
	u64 first_slot;		/* of the window, in the first memory block */

	/*
	 * Whoever has it alone may add, remove or convert a memory block. turn/turn.c
	 * takes it for them, and has the order of all locks.
	 */
	struct mutex hotplug;

	/* blocks.c alone looks at the rest */
	spinlock_t lock;	/* states and counts */
	struct ml_block *block;
	u32 in_state[ML_STATE_COUNT];
	u64 borrowed_slots;	/* sum over the blocks */
};

/*
 * Find the memory blocks of the window. -ERANGE, with a line in the log, if the
 * window holds none that this kernel can use.
 */
int ml_blocks_init(struct ml_blocks *b, struct ml_wire *wire);
void ml_blocks_exit(struct ml_blocks *b);

/* The only writer of a state; a move that the picture lacks is a bug of ours. */
void ml_blocks_set(struct ml_blocks *b, u32 i, enum ml_state state);
enum ml_state ml_blocks_state(const struct ml_blocks *b, u32 i);
u32 ml_blocks_in(struct ml_blocks *b, enum ml_state state);	/* how many are in it */
const char *ml_state_text(enum ml_state state);			/* never NULL */

/* Slots that the host has granted of block i; keeps the sum, and the module's use count. */
void ml_blocks_grant(struct ml_blocks *b, u32 i, u32 slots);

/* Window slots this guest has borrowed. */
u64 ml_blocks_borrowed(struct ml_blocks *b);

/* Where block i lies: its physical address, its slots from the first on. */
u64 ml_blocks_addr(const struct ml_blocks *b, u32 i);
struct ml_span ml_blocks_span(const struct ml_blocks *b, u32 i, u32 slots);
/* The block that holds a page, or count. */
u32 ml_blocks_of_pfn(const struct ml_blocks *b, unsigned long pfn);

/*
 * Pick up to n vacant blocks and make them BORROWING: for the kernel's own use
 * from the bottom of the window, for movable pages from its top, so that the
 * two do not mix. Returns how many.
 */
u32 ml_blocks_pick(struct ml_blocks *b, bool kernel, u32 *picked, u32 n);

/*
 * Is it one that kernel allocations use, or may use once it is ONLINE? Written under hotplug,
 * or, where somebody else puts it on line, under the kernel's hotplug locks.
 */
bool ml_blocks_is_kernel(const struct ml_blocks *b, u32 i);
void ml_blocks_set_kernel(struct ml_blocks *b, u32 i, bool kernel);
/* ONLINE blocks that kernel allocations use. */
u32 ml_blocks_kernel_count(struct ml_blocks *b);

/*
 * Give what is borrowed of a COMMITTED or BORROWING block back to the host, or of one
 * that is RETURNING and stuck. Waits for the host, so never under hotplug; req is
 * the caller's own. Leaves it VACANT, or RETURNING and stuck with -errno.
 */
int ml_blocks_return(struct ml_blocks *b, u32 i, struct ml_request *req);
bool ml_blocks_is_stuck(const struct ml_blocks *b, u32 i);

/*
 * The device was reset, so nothing is borrowed any more: what was being borrowed or
 * returned is VACANT. When nobody calls the host any more.
 */
void ml_blocks_forget(struct ml_blocks *b);

/* The host retired these slots of the window. Any context. */
void ml_blocks_retire(struct ml_blocks *b, u64 first, u64 count);
bool ml_blocks_is_retired(const struct ml_blocks *b, u32 i);

#endif /* MEMLEASE_BLOCKS_H */
