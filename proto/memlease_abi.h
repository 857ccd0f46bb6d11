/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memlease: the interface between a guest and the memory service of its host,
 * version 1.
 *
 * This header is all that a driver or a device needs of the other side. It
 * includes nothing but <linux/types.h>. Everything on the wire is
 * little-endian; sizes and offsets are frozen by the assertions at the end and
 * by the golden bytes in tests/unit/test_abi.c.
 *
 * The story
 * ---------
 * A VM has two regions of guest-physical memory. Its *boot memory* is the RAM
 * it starts with. Its *window* is a contiguous range above it, as large as the
 * VM may ever grow. Both consist of *slots* of one block (2 MiB) each:
 *
 *   boot memory   slot i lies at guest-physical address  i * block_bytes
 *   window        slot i lies at  window_addr + i * block_bytes
 *
 * A slot of boot memory is always committed: the guest may touch it at any
 * time. A slot of the window is VACANT when the device starts. The guest asks
 * for it with BORROW; what is granted becomes COMMITTED, and only then may it
 * be touched. The first touch makes it RESIDENT: the host puts a zeroed block
 * behind it, without a message, and the meter of the VM starts. With REPORT the
 * guest says that slots, committed or resident, hold nothing it needs: the
 * host takes the blocks, and the meter stops. The guest keeps the right to
 * touch those slots again, and finds zeros. With RETURN it gives up that right.
 *
 *               BORROW granted            first touch
 *     VACANT ------------------> COMMITTED ----------> RESIDENT
 *       ^  ^         RETURN       |     ^    REPORT       |
 *       |  +----------------------+     +-----------------+
 *       +---------------------- RETURN, reset ------------+
 *
 * The host steers with a *limit* (the most window slots that may be committed)
 * and a *target* (how many window slots it would like the guest to come down
 * to, by a deadline). Both stand in the config space, where they survive
 * everything; the TARGET event is the nudge to look.
 *
 * Queues
 * ------
 * Queue 0, requests. A request is one descriptor chain: a device-readable part
 * (struct memlease_request, then its extents or statistics) followed by a
 * device-writable part (struct memlease_response, then one struct
 * memlease_answer per extent, or the figures asked for). The boundaries between
 * descriptors carry no meaning. The device handles requests in the order of the available ring and
 * has fully carried out a request when it appears in the used ring.
 *
 * Queue 1, events. The driver keeps device-writable buffers of at least
 * sizeof(struct memlease_event) there; the device fills one per event, in
 * order. Without a buffer, REPORT_NOW and TARGET wait and are merged with later
 * ones of their type; RETIRED waits and is not merged away. Events that wait are
 * lost if the host's daemon is restarted: of TARGET the config space remains.
 *
 * Both queues use the split layout, and lie in boot memory, as do all buffers.
 *
 * Order
 * -----
 * 1. The driver negotiates VIRTIO_F_VERSION_1 and the features below, reads the
 *    config space, refuses a version or block size it does not know, sets up
 *    both queues, sets DRIVER_OK, and fills the event queue.
 * 2. BORROW, REPORT, RETURN, STATS and QUERY may then follow in any number and
 *    order, with these bounds:
 *    - the extents of one request do not overlap and lie wholly inside their
 *      region; their number is at most max_extents;
 *    - a slot of boot memory is never borrowed or returned;
 *    - REPORT names committed slots only, and no slot with a byte of a ring or
 *      of the request itself;
 *    - from sending REPORT or RETURN until the answer, the guest does not touch
 *      the slots; after RETURN it does not until they are borrowed again.
 * 3. BORROW of a committed slot and RETURN of a vacant one succeed and change
 *    nothing: a device that was restarted may have carried out a request whose
 *    answer got lost, and then carries it out again. Hence also: everything
 *    here can be carried out twice with the effect of once.
 * 4. Device reset returns every window slot and clears the target. Boot memory
 *    keeps its contents.
 *
 * Withdrawing
 * -----------
 * A device that does not answer, because its host's daemon is stopped, leaves a guest with
 * slots that it may not touch, perhaps when it needs them most; and what the driver gave away
 * with a REPORT or RETURN it cannot just take back, for the device may act on it at any time.
 * So with WITHDRAW negotiated, done_blocks of the response to a BORROW, REPORT or RETURN is a
 * word that both sides change by compare-and-swap until the answer is there. It lies in one
 * descriptor, at an address that is a multiple of 4, and is MEMLEASE_OPEN when the driver makes
 * the request available. The device changes OPEN to BEGUN before it carries out any of it, the
 * driver OPEN to WITHDRAWN if it has waited too long: one of the two succeeds. A request that
 * was withdrawn the device does not carry out, and answers that nothing was done, for the
 * reason WITHDRAWN; the slots are the guest's from the swap on, the buffers the device's until
 * the answer. Where it finds another value the device carries the request out: it has been
 * restarted, and may have done so before.
 *
 * What a violation costs
 * ----------------------
 * A guest that breaks a bound above, or sends a malformed chain, loses its
 * device: the device sets MEMLEASE_CFG_BROKEN and broken_reason, raises a
 * config interrupt, and looks at no queue until reset. Blocks stay as they are.
 * A guest that touches a vacant slot is stopped for good. Neither is felt by
 * any other VM.
 */
#ifndef MEMLEASE_ABI_H
#define MEMLEASE_ABI_H

#include <linux/types.h>

#define MEMLEASE_ABI_VERSION	1

/* Virtio device id: experimental, the highest that fits PCI's range. */
#define VIRTIO_ID_MEMLEASE	63

#define MEMLEASE_BLOCK_SHIFT	21
#define MEMLEASE_BLOCK_BYTES	(1ULL << MEMLEASE_BLOCK_SHIFT)

/* Queues. */
#define MEMLEASE_VQ_REQUEST	0
#define MEMLEASE_VQ_EVENT	1
#define MEMLEASE_VQ_COUNT	2
#define MEMLEASE_VQ_MAX_SIZE	256	/* descriptors */

/*
 * Feature bits. EAGER is offered when blocks are attached at BORROW rather than
 * at first touch; a driver must accept it if offered. A host whose blocks lie in
 * ordinary files cannot pin them, and does not offer it. Without REPORTING,
 * REPORT is a violation; without STATS, so is STATS; without QUERY, QUERY. Without WITHDRAW
 * nothing is withdrawn, and done_blocks means nothing until the answer.
 */
#define MEMLEASE_F_EAGER	0
#define MEMLEASE_F_REPORTING	1
#define MEMLEASE_F_STATS	2
#define MEMLEASE_F_QUERY	3
#define MEMLEASE_F_WITHDRAW	4

/* Bounds. */
#define MEMLEASE_MAX_EXTENTS	128	/* extents of one request */
#define MEMLEASE_MAX_STATS	32	/* statistics or figures of one request */

#define MEMLEASE_NO_TARGET	(~0ULL)	/* target_blocks: grow freely */

/* memlease_config.flags */
#define MEMLEASE_CFG_BROKEN	(1u << 0) /* see broken_reason; reset mends it */

/* Why a device broke: memlease_config.broken_reason. */
enum memlease_broken {
	MEMLEASE_BROKEN_NOT	= 0,
	MEMLEASE_BROKEN_RING	= 1,	/* a ring or a descriptor chain is malformed */
	MEMLEASE_BROKEN_LENGTH	= 2,	/* a request is too short or too long, or its response does not fit */
	MEMLEASE_BROKEN_TYPE	= 3,	/* unknown request type, or one whose feature was not negotiated, or reserved is not 0 */
	MEMLEASE_BROKEN_COUNT	= 4,	/* no or too many extents, statistics or figures, or an empty extent */
	MEMLEASE_BROKEN_RANGE	= 5,	/* unknown region, or an extent outside its region */
	MEMLEASE_BROKEN_OVERLAP	= 6,	/* two extents of one request overlap */
	MEMLEASE_BROKEN_ORDER	= 7,	/* REPORT of a slot that is not committed */
	MEMLEASE_BROKEN_BUSY	= 8,	/* REPORT of a slot that holds a ring or the request */
	MEMLEASE_BROKEN_TOUCH	= 9,	/* a vacant slot was touched */
};

/*
 * Config space, read-only for the driver. QEMU fills in window_addr; the rest
 * comes from the daemon. Fields may change together with a config interrupt,
 * except version, block_bytes, window_addr, window_bytes and max_extents.
 */
struct memlease_config {
	__le32 version;			/* MEMLEASE_ABI_VERSION */
	__le32 flags;			/* MEMLEASE_CFG_* */
	__le64 block_bytes;		/* MEMLEASE_BLOCK_BYTES */
	__le64 window_addr;		/* guest-physical, a multiple of block_bytes */
	__le64 window_bytes;		/* a multiple of block_bytes, may be 0 */
	__le64 limit_blocks;		/* most window slots committed at a time */
	__le64 target_blocks;		/* window slots to come down to, or MEMLEASE_NO_TARGET */
	__le32 target_seq;		/* goes up with each new target */
	__le32 target_deadline_ms;	/* time allowed for it when it was set */
	__le16 max_extents;		/* at most MEMLEASE_MAX_EXTENTS */
	__le16 broken_reason;		/* enum memlease_broken */
	__le32 reserved;
};

/* Regions. */
enum memlease_region {
	MEMLEASE_REGION_BOOT	= 0,
	MEMLEASE_REGION_WINDOW	= 1,
	MEMLEASE_REGION_COUNT	= 2,
};

/* A run of slots of one region; count is at least 1. */
struct memlease_extent {
	__le32 region;			/* enum memlease_region */
	__le32 count;			/* slots */
	__le64 first;			/* slot */
};

/* Requests. */
enum memlease_request_type {
	MEMLEASE_REQ_BORROW	= 1,	/* n extents */
	MEMLEASE_REQ_RETURN	= 2,	/* n extents */
	MEMLEASE_REQ_REPORT	= 3,	/* n extents */
	MEMLEASE_REQ_STATS	= 4,	/* n statistics, no answers */
	MEMLEASE_REQ_QUERY	= 5,	/* nothing follows; n figures are asked for */
};

struct memlease_request {
	__le16 type;			/* enum memlease_request_type */
	__le16 count;			/* extents or statistics that follow, or figures asked for; at least 1 */
	__le32 reserved;		/* 0 */
	__le64 cookie;			/* the driver's own; copied to the response */
};

/*
 * How a request ended, and what became of each of its extents: of an extent,
 * the first done slots are as asked for, the rest is as before, for the reason
 * given. done_blocks is the sum over the extents.
 */
struct memlease_response {
	__le16 status;			/* enum memlease_status */
	__le16 count;			/* answers, or figures, that follow */
	__le32 done_blocks;		/* until the answer: with WITHDRAW, see below */
	__le64 cookie;
};

/* done_blocks before the answer; see Withdrawing. No answer has the last two. */
#define MEMLEASE_OPEN		0u
#define MEMLEASE_BEGUN		0xfffffffeu
#define MEMLEASE_WITHDRAWN	0xffffffffu

struct memlease_answer {
	__le32 done;			/* slots, from the first on */
	__le32 reason;			/* enum memlease_reason, why not all */
};

enum memlease_status {
	MEMLEASE_DONE		= 0,	/* all of it */
	MEMLEASE_PARTLY		= 1,	/* see the answers */
	MEMLEASE_REFUSED	= 2,	/* none of it; see the answers */
};

enum memlease_reason {
	MEMLEASE_WHY_OK		= 0,
	MEMLEASE_WHY_LIMIT	= 1,	/* the VM is at its limit */
	MEMLEASE_WHY_TARGET	= 2,	/* above the target while others wait for memory: ask again later */
	MEMLEASE_WHY_POOL	= 3,	/* the host sells no more at present: ask again later */
	MEMLEASE_WHY_RETIRED	= 4,	/* the slot was retired after a memory error */
	MEMLEASE_WHY_RATE	= 5,	/* too many requests: ask again later; for hosts that count them: memleased never says so */
	MEMLEASE_WHY_WITHDRAWN	= 6,	/* the driver has withdrawn the request */
};

/*
 * A statistic: what the guest knows of itself. Unknown tags are ignored. And, in
 * the answer to QUERY, a figure: what the host knows of the VM.
 */
struct memlease_stat {
	__le16 tag;			/* enum memlease_stat_tag, or enum memlease_query_tag */
	__le16 reserved[3];
	__le64 value;
};

enum memlease_stat_tag {
	MEMLEASE_STAT_TOTAL_BYTES	= 1,	/* memory the guest manages */
	MEMLEASE_STAT_FREE_BYTES	= 2,
	MEMLEASE_STAT_AVAILABLE_BYTES	= 3,	/* free, or freed without swapping */
	MEMLEASE_STAT_CACHE_BYTES	= 4,	/* page cache */
	MEMLEASE_STAT_TARGET_SEQ	= 5,	/* the target that the next two speak of */
	MEMLEASE_STAT_TARGET_STATE	= 6,	/* enum memlease_target_state */
	MEMLEASE_STAT_COMMITTED_BLOCKS	= 7,	/* window slots the guest holds: how far it came */
	MEMLEASE_STAT_REPORTED_BLOCKS	= 8,	/* reported since the driver was loaded */
	MEMLEASE_STAT_OOM_RESCUES	= 9,	/* out-of-memory events answered by borrowing */
	MEMLEASE_STAT_REPORTING		= 10,	/* enum memlease_reporting */
	MEMLEASE_STAT_KERNEL_BLOCKS	= 11,	/* window slots in memory that the guest's kernel uses itself */
};

/* Does the guest report free memory, and if not, why? What a later driver says may be more. */
enum memlease_reporting {
	MEMLEASE_REPORTING_ON		= 1,
	MEMLEASE_REPORTING_REFUSED	= 2,	/* not offered, or the guest's kernel cannot */
	MEMLEASE_REPORTING_TAKEN	= 3,	/* another driver reports, a balloon's probably */
	MEMLEASE_REPORTING_POISONED	= 4,	/* free pages keep a pattern, which would be lost */
};

enum memlease_target_state {
	MEMLEASE_TARGET_NONE	= 0,
	MEMLEASE_TARGET_WORKING	= 1,
	MEMLEASE_TARGET_MET	= 2,
	MEMLEASE_TARGET_PARTLY	= 3,	/* the deadline passed; see COMMITTED_BLOCKS */
};

/*
 * The figures of QUERY: what the meter of the VM counts, all as of one instant.
 * The writable part has room for as many struct memlease_stat as were asked for.
 * The device fills them in the order of the tags, as many as it knows, says in
 * count how many, and leaves the rest 0. A later device may know more.
 */
enum memlease_query_tag {
	MEMLEASE_QUERY_RESIDENT_BLOCKS	= 1,	/* window and boot memory */
	MEMLEASE_QUERY_RESIDENT_BOOT_BLOCKS = 2,
	MEMLEASE_QUERY_METERED_BLOCK_NS	= 3,	/* resident block-nanoseconds since the VM was started */
	MEMLEASE_QUERY_COMMITTED_BLOCKS	= 4,	/* window and boot memory */
	MEMLEASE_QUERY_METERED_HIGH	= 5,	/* bits 64 and up of METERED_BLOCK_NS: 512 GiB fill 64 bits in 19 h */
	MEMLEASE_QUERY_COUNT		= 5,	/* figures of this version */
};

/* Events. */
enum memlease_event_type {
	MEMLEASE_EV_TARGET	= 1,	/* a: target_blocks, b: deadline_ms, seq: target_seq */
	MEMLEASE_EV_REPORT_NOW	= 2,	/* report all free blocks at once */
	MEMLEASE_EV_RETIRED	= 3,	/* a: first slot, b: count, of region */
};

struct memlease_event {
	__le16 type;			/* enum memlease_event_type */
	__le16 region;			/* enum memlease_region, RETIRED only */
	__le32 seq;
	__le64 a;
	__le64 b;
};

#define MEMLEASE_FROZEN(type, size) \
	_Static_assert(sizeof(type) == (size), #type " is frozen")
#define MEMLEASE_FROZEN_AT(type, member, offset) \
	_Static_assert(__builtin_offsetof(type, member) == (offset), \
		       #type "." #member " is frozen")

MEMLEASE_FROZEN(struct memlease_config, 64);
MEMLEASE_FROZEN_AT(struct memlease_config, flags, 4);
MEMLEASE_FROZEN_AT(struct memlease_config, block_bytes, 8);
MEMLEASE_FROZEN_AT(struct memlease_config, window_addr, 16);
MEMLEASE_FROZEN_AT(struct memlease_config, window_bytes, 24);
MEMLEASE_FROZEN_AT(struct memlease_config, limit_blocks, 32);
MEMLEASE_FROZEN_AT(struct memlease_config, target_blocks, 40);
MEMLEASE_FROZEN_AT(struct memlease_config, target_seq, 48);
MEMLEASE_FROZEN_AT(struct memlease_config, target_deadline_ms, 52);
MEMLEASE_FROZEN_AT(struct memlease_config, max_extents, 56);
MEMLEASE_FROZEN_AT(struct memlease_config, broken_reason, 58);
MEMLEASE_FROZEN(struct memlease_extent, 16);
MEMLEASE_FROZEN_AT(struct memlease_extent, count, 4);
MEMLEASE_FROZEN_AT(struct memlease_extent, first, 8);
MEMLEASE_FROZEN(struct memlease_request, 16);
MEMLEASE_FROZEN_AT(struct memlease_request, count, 2);
MEMLEASE_FROZEN_AT(struct memlease_request, cookie, 8);
MEMLEASE_FROZEN(struct memlease_response, 16);
MEMLEASE_FROZEN_AT(struct memlease_response, count, 2);
MEMLEASE_FROZEN_AT(struct memlease_response, done_blocks, 4);
MEMLEASE_FROZEN_AT(struct memlease_response, cookie, 8);
MEMLEASE_FROZEN(struct memlease_answer, 8);
MEMLEASE_FROZEN_AT(struct memlease_answer, reason, 4);
MEMLEASE_FROZEN(struct memlease_stat, 16);
MEMLEASE_FROZEN_AT(struct memlease_stat, value, 8);
MEMLEASE_FROZEN(struct memlease_event, 24);
MEMLEASE_FROZEN_AT(struct memlease_event, region, 2);
MEMLEASE_FROZEN_AT(struct memlease_event, seq, 4);
MEMLEASE_FROZEN_AT(struct memlease_event, a, 8);
MEMLEASE_FROZEN_AT(struct memlease_event, b, 16);

#endif /* MEMLEASE_ABI_H */
