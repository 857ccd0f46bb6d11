/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loans: blocks move between the pool and VMs here, and in the files of the two kinds of
 * sources. What differs between these is in struct loan_ops: `direct` (direct.h), where the
 * daemon sees each touch first and puts each block there itself, and `told` (told.h), where
 * the source serves touches and tells of it afterwards. All else in lend/ asks for a loan by
 * the functions here, and goes by the struct where something is done for one kind only.
 *
 * A block that may be mapped is never free. So on the way in a block is LENT before it is
 * mapped, and the slot RESIDENT after; on the way out it is unmapped, then the slot leaves
 * RESIDENT, then the block is put back. The meter is brought up to the time of the move
 * before anything changes, and takes the new counts after, as of the same instant.
 */
#ifndef ML_LEND_LOAN_H
#define ML_LEND_LOAN_H

#include "lender.h"

struct loan_ops {
	/* What QEMU opens, for people: "files", "windows". */
	const char *memory;
	/*
	 * Optional. Note down what the source has to tell, up to so many events. False: there may
	 * be more. Slots and meters follow what touches did; nothing is done about the rest.
	 */
	bool (*read)(struct lender *l, uint32_t most);
	/*
	 * The source would not put the block behind the slot, and said this error. The block goes
	 * back to the pool, or is not lent any more. 0: the slot is RESIDENT, by a touch; -EAGAIN:
	 * the touch waits; -EIO: the slot is lost; -EBUSY: try with another block.
	 */
	int (*refused)(struct lend_region *r, uint64_t slot, uint32_t block, int error);
	/* A RESIDENT slot was touched: should its memory be gone, get it again. Optional. */
	void (*again)(struct lend_region *r, uint64_t slot);
	/* Slots of the window were committed in the record: the source is to know. Optional. -EUCLEAN. */
	int (*commit)(struct lend_vm *vm, uint64_t first, uint64_t count);
	/*
	 * RESIDENT slots of the range to `to`; to VACANT, all slots. *moved counts blocks that
	 * came back, where it is not NULL. -EUCLEAN: the source failed, which was logged; what it
	 * may still have mapped stays lent.
	 */
	int (*out)(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
		   uint64_t *moved);

	/* The end of a VM. How many slots from first on need nothing to be done for it? */
	uint64_t (*end_idle)(const struct lend_region *r, uint64_t first);
	/* These are emptied; who still has the memory open gets no more of it. */
	void (*end_out)(struct lend_region *r, uint64_t first, uint64_t count);
	/* All slots are done: what others put there goes, too. Optional. */
	void (*end_rest)(struct lend_vm *vm);

	/* Once a second: does the source count what the table has? */
	void (*audit)(struct lend_vm *vm, uint64_t now_ns);
	/* Count what others put there anew; cheap, so also for what a guest can cause at will. Optional. */
	void (*count)(struct lend_vm *vm, uint64_t now_ns);
	/* Act on what read() has noted down: see DUE_ACT and DUE_RESYNC. Optional. */
	void (*act)(struct lender *l);
	/* At start, when the records are read: finish what the last daemon was doing. 0 or -errno. */
	int (*settle)(struct lender *l);
};

/* False: there may be more to read. */
bool loan_read(struct lender *l, uint32_t most);
/* All of it: table and slots are then as the source's were a moment ago. */
void loan_read_all(struct lender *l);

/* Whose a block will be. */
struct block_owner loan_owner(const struct lend_vm *vm, enum memlease_region region,
			      uint64_t slot);
/*
 * COMMITTED to RESIDENT. owed: policy says that it may have one of the pool; else only one
 * of the supply, which is for all. -EAGAIN: no block, or the source is short; -EIO: the
 * slot was lost to a memory error.
 */
int loan_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	    bool owed);
/* A RESIDENT slot was touched: if others took its memory away, it gets it again, if it can be had. */
void loan_again(struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* VACANT slots of the window became COMMITTED in the record. -EUCLEAN: they are not, after all. */
int loan_commit(struct lend_vm *vm, uint64_t first, uint64_t count);
/* All RESIDENT slots of the range become COMMITTED. *moved, where not NULL, counts them. -EUCLEAN. */
int loan_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	     uint64_t *moved);
/* All slots of the window's range become VACANT; touches of them wait no longer. -EUCLEAN. */
int loan_return(struct lend_vm *vm, uint64_t first, uint64_t count);
/* What others put into a VM's memory is counted anew; and only where the last count found any. */
void loan_count(struct lend_vm *vm, uint64_t now_ns);
void loan_count_again(struct lend_vm *vm, uint64_t now_ns);

/*
 * Another block takes the place of a LENT one, of that area if it has one, or of any.
 * -EAGAIN: it is not behind its slot; -ENOSPC: there is no other; or the source's.
 */
int loan_move(struct lender *l, uint32_t from, uint32_t into);

/* --- for the two kinds of sources --- */

/* A RESIDENT slot goes to `to`, and its block, which is mapped nowhere any more, to the pool. */
void loan_away(struct lend_region *r, uint64_t slot, enum slot_state to);
/* The source has no memory though the table has a block: say so, once. Returns -EAGAIN. */
int loan_source_short(struct lend_vm *vm, int error);

#endif /* ML_LEND_LOAN_H */
