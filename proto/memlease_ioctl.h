/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memlease: the interface between the daemon and memlease_pool.ko, version 1.
 *
 * This header is all that either needs of the other. It includes nothing but
 * <linux/types.h> and <linux/ioctl.h>; numbers are in the CPU's byte order, and
 * sizes are frozen by the assertions at the end.
 *
 * The story
 * ---------
 * The pool is physical memory that Linux does not manage. The daemon CLAIMs it,
 * range by range; claimed memory is numbered in *blocks* of 2 MiB, over all
 * ranges, in the order of claiming, from 0 on. A *window* is a character device
 * of its own, made of *slots* of one block each, which QEMU maps as guest
 * memory. (A VM's boot memory is a window too, all of it committed.) The module
 * keeps what is behind each slot; that is the truth which a new daemon reads.
 *
 *              COMMIT               touch, or MAP
 *    VACANT ----------> COMMITTED ---------------> RESIDENT(block)
 *      ^ ^   COMMIT off  |   ^         UNMAP         |  |
 *      | +---------------+   +-----------------------+  | memory error
 *      | COMMIT off          |           UNMAP          v
 *      +---------------------+------------------------ LOST
 *
 * A VACANT slot reads as zeros; a write to it is a VIOLATION: the access fails
 * (SIGBUS for a program, a failed KVM_RUN for a vCPU) and the daemon is told. A
 * LOST slot fails every access as poisoned memory does. read() of the window's device
 * is no access: it copies what is RESIDENT, zeros for what is VACANT or COMMITTED, and
 * fails with EIO in what is LOST.
 *
 * A touch of a COMMITTED slot takes a block from the *supply*, a ring that the
 * daemon keeps filled with zeroed blocks, and leaves a record in the *touches*,
 * a ring in the other direction. If the supply is empty the task waits, and can
 * be killed, without holding its memory map's lock, until a block comes or
 * MEMLEASE_POOL_WAIT_MS have passed; then the access fails like a violation, and
 * so does each other of the window that finds no block, until one of it gets one. The
 * daemon is told which slot it waits for (WAITING): it decides who comes first, and
 * serves one by MAP, or all by the supply. Whoever opens the control device next is told
 * of each task that still waits, within half a second. A task goes on when the supply holds a
 * block, or its slot is no longer COMMITTED.
 *
 * The module refuses to put a block behind a second slot, whoever asks. The first
 * block of all is the module's own: what vacant slots show of a window that had none
 * when it was mapped; others have zeros of their own. It is never lent.
 *
 * Who may do what
 * ---------------
 * The control device can be open once at a time, by who has CAP_SYS_ADMIN. What
 * it set up stays when it is closed: windows, slots and rings live as long as the
 * module, and VMs go on. The module cannot be unloaded while a window exists.
 *
 * The rings
 * ---------
 * mmap of the control device, by offset:
 *   MEMLEASE_POOL_OFF_RINGS	the page-aligned struct memlease_rings, read and write
 *   MEMLEASE_POOL_OFF_BLOCKS	the pool: block b at b * 2 MiB, for zeroing. SIGBUS in what
 *				stands behind a slot, in the module's own block, past the
 *				last, and, as in poisoned memory, in one that is retired;
 *				whatever was touched there before
 * Indices run freely and wrap at 2^32; an entry lies at index % size. The one who
 * produces writes the entry, then the head with release; the one who consumes
 * reads the head with acquire, and moves the tail. The module trusts neither an
 * index nor an entry that the daemon wrote: a block of the supply that does not
 * exist, or stands behind a slot already, is skipped and counted in bad_supply.
 * A VIOLATION, TIMEOUT or CLOSED of a window, and a WAITING of a slot, are left only when
 * the one before was read; a CLOSED, if somebody had mapped the window since, or DESTROY
 * was called. Who waits leaves its record a little later if many of its window, or of all,
 * are to be read before. If touches are full, records are dropped and overflow goes up:
 * the daemon then reads the slots instead (MEMLEASE_POOL_SLOTS), and what is open
 * (WINDOW); who waits tells again.
 * poll() of the control device: POLLIN while touches hold a record; as each taking
 * and each wait leaves one, the daemon needs nothing else to know when to fill the
 * supply. After that it calls MEMLEASE_POOL_SUPPLIED if waiting is not 0; MAP wakes
 * who waits for its slot by itself.
 * The daemon may take blocks back out of the supply: it lowers supply_head, calls
 * SUPPLIED, which waits for whoever is taking a block just then, and reads
 * supply_tail. What lies from the greater of the two on is its own again; if that
 * is the tail, it sets the head to it. A head below the tail is an empty supply.
 */
#ifndef MEMLEASE_IOCTL_H
#define MEMLEASE_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MEMLEASE_POOL_VERSION		1
#define MEMLEASE_POOL_BLOCK_SHIFT	21
#define MEMLEASE_POOL_NAME_BYTES	64	/* of a window, with its NUL */
#define MEMLEASE_POOL_MAX_RANGES	64
#define MEMLEASE_POOL_MAX_WINDOWS	8192
#define MEMLEASE_POOL_MAX_SLOTS		(1u << 26)	/* of one window: 128 TiB */
#define MEMLEASE_POOL_MAX_BLOCKS	(1u << 30)	/* of all ranges */
#define MEMLEASE_POOL_MAX_EXTENTS	256	/* of one call */
#define MEMLEASE_POOL_WAIT_MS		0	/* for ever, unless the module's parameter wait_ms says another */
#define MEMLEASE_POOL_SUPPLY		4096	/* entries */
#define MEMLEASE_POOL_TOUCHES		8192	/* entries; a full supply taken leaves half as many */

#define MEMLEASE_POOL_CONTROL		"/dev/memlease_pool"	/* the control device */
#define MEMLEASE_POOL_WINDOWS		"/dev/memlease/"	/* and those of windows */

#define MEMLEASE_POOL_OFF_RINGS		0ULL
#define MEMLEASE_POOL_OFF_BLOCKS	(1ULL << 32)

/* What a slot is: slot words of MEMLEASE_POOL_SLOTS; RESIDENT carries its block. */
#define MEMLEASE_SLOT_VACANT		0u
#define MEMLEASE_SLOT_COMMITTED		1u
#define MEMLEASE_SLOT_LOST		2u
#define MEMLEASE_SLOT_RESIDENT		3u
#define MEMLEASE_SLOT_STATE(word)	((word) & 3u)
#define MEMLEASE_SLOT_BLOCK(word)	((word) >> 2)

/* A record of the touches. */
enum memlease_touch_type {
	MEMLEASE_TOUCH_TAKEN	= 1,	/* block of the supply is behind slot now */
	MEMLEASE_TOUCH_VIOLATION = 2,	/* a vacant slot was written to, by pid */
	MEMLEASE_TOUCH_TIMEOUT	= 3,	/* the supply stayed empty; pid's access failed */
	MEMLEASE_TOUCH_CLOSED	= 4,	/* nobody has the window open any more */
	MEMLEASE_TOUCH_ERROR	= 5,	/* memory error: block is retired, slot is LOST (window 0: no slot) */
	MEMLEASE_TOUCH_WAITING	= 6,	/* the supply is empty; pid begins to wait for a block of slot */
};

struct memlease_touch {
	__u32 type;			/* enum memlease_touch_type */
	__u32 window;			/* id; 0 is none */
	__u32 slot;
	__u32 block;
	__u64 time_ns;			/* CLOCK_MONOTONIC */
	__u32 pid;			/* of the task, in the initial namespace */
	__u32 reserved;
};

struct memlease_rings {
	/* written by the daemon */
	__u32 supply_head;
	__u32 touches_tail;
	__u64 mark;			/* 0 when the module was loaded; it does not look at it */
	__u32 reserved0[12];
	/* written by the module */
	__u32 supply_tail;
	__u32 touches_head;
	__u32 waiting;			/* tasks that wait for a block */
	__u32 reserved1;
	__u64 overflow;			/* records dropped */
	__u64 bad_supply;		/* blocks of the supply that were refused */
	__u64 waits;			/* times that a task had to wait */
	__u64 wait_ns;
	__u64 reserved2[2];
	__u32 supply[MEMLEASE_POOL_SUPPLY];	/* blocks */
	struct memlease_touch touches[MEMLEASE_POOL_TOUCHES];
};

struct memlease_pool_info {
	__u32 version;
	__u32 ranges;
	__u32 windows;
	__u32 blocks;			/* of all ranges */
	__u32 resident;			/* behind slots */
	__u32 retired;
	__u64 metadata_bytes;		/* what the module has allocated */
	__u64 rings_bytes;		/* to map at MEMLEASE_POOL_OFF_RINGS */
};

/*
 * CLAIM. -EINVAL: not aligned to 2 MiB, empty, too large; -EEXIST: Linux uses part
 * of it, or has a page array for it, or has it down for devices; -EBUSY: claimed by
 * somebody, perhaps us; -ENOSPC: too many ranges. RANGE reads back range `index`.
 */
struct memlease_pool_range {
	__u64 base;			/* physical */
	__u64 bytes;
	__u32 first_block;		/* filled in */
	__s32 node;			/* NUMA node, filled in; -1: not known */
	__u32 index;			/* RANGE: which; CLAIM: filled in */
	__u32 reserved;
};

/*
 * CREATE. The device is /dev/memlease/NAME; a name is of letters, digits, '.',
 * '-' and '_', and does not begin with '.'. -EEXIST: the name is in use.
 * WINDOW reads back: the window with the least id above `id`, or -ENOENT.
 */
struct memlease_pool_window {
	char name[MEMLEASE_POOL_NAME_BYTES];
	__u32 id;			/* filled in */
	__u32 slots;
	__u32 uid;
	__u32 gid;
	__u32 mode;			/* permission bits */
	__u32 committed;		/* filled in */
	__u32 resident;			/* filled in */
	__u32 opened;			/* filled in: files open now */
};

struct memlease_pool_extent {
	__u32 first;			/* slot */
	__u32 count;			/* slots, at least 1 */
};

/*
 * COMMIT: make slots COMMITTED (on) or VACANT (off; those RESIDENT are unmapped
 * first). UNMAP: make RESIDENT and LOST slots COMMITTED again (`on` is 0). Both
 * carry out all or, with an error, nothing; slots that are so already are no error.
 * The blocks that were taken away are written to the array at `blocks_ptr`, their
 * number to `taken`. They are mapped nowhere on return, but hold what the VM wrote.
 * With many slots touches of the window come in between. -EFAULT: the extents cannot
 * be read, or the array is not memory that can be written to, for one block for each
 * slot (COMMIT on needs none). Who unmaps the array while the call runs gets the same,
 * and has to find the blocks by BLOCKS. -EINVAL: more slots than the window has, or
 * others. A block may be retired while it is taken away: it is in the array then, and
 * has its record (ERROR, window 0), before or after.
 */
struct memlease_pool_slots_op {
	__u32 window;
	__u32 extents;			/* at most MEMLEASE_POOL_MAX_EXTENTS */
	__u64 extent_ptr;		/* struct memlease_pool_extent[] */
	__u64 blocks_ptr;		/* __u32[] */
	__u32 on;			/* COMMIT: 1 or 0 */
	__u32 taken;			/* filled in */
};

/*
 * MAP: put a block behind a COMMITTED slot. -EBUSY: the block stands behind a
 * slot already; -EEXIST: the slot has one; -EPERM: the slot is VACANT or LOST.
 * MOVE: exchange the block behind a RESIDENT slot for `block`, with its contents:
 * tasks that touch it meanwhile wait. The old one is written to `block`. -EAGAIN:
 * the slot is not RESIDENT; -EIO: the old block cannot be read, nothing is changed;
 * -ETIME: a process that maps the window keeps the lock of its memory map, so it could
 * take the exchange for an error; nothing is changed.
 */
struct memlease_pool_map {
	__u32 window;
	__u32 slot;
	__u32 block;
	__u32 reserved;
};

/* SLOTS: slot words of a window, from first on. */
struct memlease_pool_slots {
	__u32 window;
	__u32 first;
	__u32 count;
	__u32 reserved;
	__u64 words_ptr;		/* __u32[] */
};

/* BLOCKS: what each block is, from first on. */
#define MEMLEASE_BLOCK_UNUSED		0u	/* behind no slot; of the supply, perhaps */
#define MEMLEASE_BLOCK_BEHIND		1u	/* a slot */
#define MEMLEASE_BLOCK_RETIRED		2u
#define MEMLEASE_BLOCK_MODULE		3u	/* the module's own */

struct memlease_pool_blocks {
	__u32 first;
	__u32 count;
	__u64 states_ptr;		/* __u8[] */
};

#define MEMLEASE_POOL_IOC	0xb7
#define MEMLEASE_POOL_INFO	_IOR(MEMLEASE_POOL_IOC, 0, struct memlease_pool_info)
#define MEMLEASE_POOL_CLAIM	_IOWR(MEMLEASE_POOL_IOC, 1, struct memlease_pool_range)
#define MEMLEASE_POOL_RANGE	_IOWR(MEMLEASE_POOL_IOC, 2, struct memlease_pool_range)
#define MEMLEASE_POOL_CREATE	_IOWR(MEMLEASE_POOL_IOC, 3, struct memlease_pool_window)
#define MEMLEASE_POOL_WINDOW	_IOWR(MEMLEASE_POOL_IOC, 4, struct memlease_pool_window)
/*
 * The device goes at once. The window goes if it is used no more: -EBUSY: somebody has
 * it open (CLOSED says when not); -ENOTEMPTY: slots are RESIDENT (COMMIT off takes their
 * blocks). Then call again.
 */
#define MEMLEASE_POOL_DESTROY	_IOW(MEMLEASE_POOL_IOC, 5, __u32)
#define MEMLEASE_POOL_COMMIT	_IOWR(MEMLEASE_POOL_IOC, 6, struct memlease_pool_slots_op)
#define MEMLEASE_POOL_UNMAP	_IOWR(MEMLEASE_POOL_IOC, 7, struct memlease_pool_slots_op)
#define MEMLEASE_POOL_MAP	_IOW(MEMLEASE_POOL_IOC, 8, struct memlease_pool_map)
#define MEMLEASE_POOL_MOVE	_IOWR(MEMLEASE_POOL_IOC, 9, struct memlease_pool_map)
#define MEMLEASE_POOL_SLOTS	_IOW(MEMLEASE_POOL_IOC, 10, struct memlease_pool_slots)
#define MEMLEASE_POOL_SUPPLIED	_IO(MEMLEASE_POOL_IOC, 11)
/* Treat a block as the hardware reports a memory error. For tests, and for operators who know better. */
#define MEMLEASE_POOL_RETIRE	_IOW(MEMLEASE_POOL_IOC, 12, __u32)
#define MEMLEASE_POOL_BLOCKS	_IOW(MEMLEASE_POOL_IOC, 13, struct memlease_pool_blocks)

#define MEMLEASE_POOL_FROZEN(type, size) \
	_Static_assert(sizeof(type) == (size), #type " is frozen")

MEMLEASE_POOL_FROZEN(struct memlease_touch, 32);
MEMLEASE_POOL_FROZEN(struct memlease_pool_info, 40);
MEMLEASE_POOL_FROZEN(struct memlease_pool_range, 32);
MEMLEASE_POOL_FROZEN(struct memlease_pool_window, 96);
MEMLEASE_POOL_FROZEN(struct memlease_pool_extent, 8);
MEMLEASE_POOL_FROZEN(struct memlease_pool_slots_op, 32);
MEMLEASE_POOL_FROZEN(struct memlease_pool_map, 16);
MEMLEASE_POOL_FROZEN(struct memlease_pool_slots, 24);
MEMLEASE_POOL_FROZEN(struct memlease_pool_blocks, 16);
_Static_assert(__builtin_offsetof(struct memlease_rings, supply) == 128, "rings are frozen");

#endif /* MEMLEASE_IOCTL_H */
