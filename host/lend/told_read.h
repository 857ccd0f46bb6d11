/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a source that serves touches tells of: blocks taken, touches that wait, rules broken,
 * memory errors. Reading notes it down in table, slots and meters, and what is to be done
 * about it in the lender's due; it does none of that.
 *
 * A touch needs two changes: the block leaves OFFERED for LENT, then the slot becomes
 * RESIDENT. In between the source knows better, and told_settle.c asks it. The meter runs
 * from the time that the event says, or from the last time at which that VM's meter was
 * read, if that is later: never earlier than the touch.
 */
#ifndef ML_LEND_TOLD_READ_H
#define ML_LEND_TOLD_READ_H

#include "lender.h"

/* As struct loan_ops has it. */
bool told_read(struct lender *l, uint32_t most);
/* The block went behind the slot at this time, if it is OFFERED; else this is old. */
void told_taken(struct lend_region *r, uint64_t slot, uint32_t block, uint64_t at_ns);
/* The slot's block had a memory error: the guest hears of it, once, when there is one to tell. */
void told_lost(struct lend_region *r, uint64_t slot);
/* Say that a block had a memory error and is retired; of that VM, or NULL. */
void told_say_retired(struct lender *l, const struct lend_vm *vm, uint32_t block);

#endif /* ML_LEND_TOLD_READ_H */
