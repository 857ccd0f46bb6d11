/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking blocks out of VMs where the source serves touches. A slot leaves RESIDENT, then
 * its block becomes DIRTY; in between the source knows better, and told_settle.c asks it.
 * No block can become free while it is behind a slot: only what unmap() and commit() of the
 * source have returned is given to the pool, and what was never OFFERED is never taken.
 */
#ifndef ML_LEND_TOLD_OUT_H
#define ML_LEND_TOLD_OUT_H

#include "lender.h"

/* As struct loan_ops has them. */
int told_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
	     uint64_t *moved);
uint64_t told_end_idle(const struct lend_region *r, uint64_t first);
void told_end_out(struct lend_region *r, uint64_t first, uint64_t count);
/*
 * A slot is RESIDENT by the table, and its block not behind it by the source. A memory error
 * can have taken it, of which an event tells, too. Else the two have fallen apart: the block
 * is free only if the source says that it is behind no other slot.
 */
void told_stray_out(struct lend_region *r, uint64_t slot, enum slot_state to);

/* For people. */
static inline const char *told_region_word(enum memlease_region region)
{
	return region == MEMLEASE_REGION_BOOT ? "boot memory" : "the window";
}

#endif /* ML_LEND_TOLD_OUT_H */
