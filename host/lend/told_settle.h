/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start-up where the source serves touches by itself. While no daemon ran VMs went on, and
 * touches too, as long as the supply lasted; so here is a moving target, and a dead daemon's
 * half-done work.
 *
 * Why nothing is lost, lent twice or lent dirty. The source says what stands behind
 * each slot, and the supply can be read; the table says what the last daemon did.
 *
 *   1. Windows that are of no VM go: what was behind them is behind nothing. But those that
 *	somebody has open stay (orphan.h), and are read in 2 like those of VMs.
 *   2. The supply is read, then all slots. In this order: a block that a touch takes
 *      in between is found in the first or in both, never in neither. Nothing else
 *      can get behind a slot while we do not put it there.
 *   3. Each block is settled by where it was found, whatever was under way:
 *	  behind a slot, and LENT or MOVING: LENT to that slot. So a lend or a move
 *	    that was cut off is complete, or has not begun.
 *	  behind a slot, and OFFERED: OFFERED, for its event is still unread; or was
 *	    lost, see 5.
 *	  in the supply: OFFERED. If the table does not agree, as a new one does not, all
 *	    of the supply is taken back first.
 *	  in neither, and LENT, OFFERED or MOVING: DIRTY. It may have been behind a slot
 *	    since it was clean.
 *	  behind a slot, and free: damage. It is LENT all the same: the source is right.
 *      Blocks that the source has retired are RETIRED.
 *   4. What is behind a slot is what the source says, but where an event is awaited;
 *      which slots are committed is what the record says, and the source is told.
 *      A slot that was lost to a memory error is as it was, until 5.
 *   5. The events are carried out as ever: OFFERED blocks become LENT and their slots
 *      RESIDENT, as of the time that they say. What is behind a slot and OFFERED even
 *      then lost its event; it is LENT as of now.
 *
 * A crash in here is as any other: each step goes by the source, and is done again.
 *
 * Billing. The meter counted up to some instant before the crash. From there on are
 * billed the blocks of 4, which the last daemon knew of and which stood there all the
 * time, and those of 5 from when they were touched. A VM whose QEMU has ended meanwhile is
 * billed until its last touch that an event tells of: that it lived then is known.
 */
#ifndef ML_LEND_TOLD_SETTLE_H
#define ML_LEND_TOLD_SETTLE_H

#include "lender.h"

/* As struct loan_ops has it. */
int told_settle(struct lender *l);

#endif /* ML_LEND_TOLD_SETTLE_H */
