/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking blocks out of VMs where the daemon puts each there itself. The intent is written,
 * the run unmapped, then slot by slot: the slot leaves RESIDENT, its block becomes free;
 * then the intent is cleared. direct_settle.c finishes what a crash cut off.
 */
#ifndef ML_LEND_DIRECT_OUT_H
#define ML_LEND_DIRECT_OUT_H

#include "lender.h"

/* As struct loan_ops has them. */
int direct_out(struct lend_region *r, uint64_t first, uint64_t count, enum slot_state to,
	       uint64_t *moved);
uint64_t direct_end_idle(const struct lend_region *r, uint64_t first);
void direct_end_out(struct lend_region *r, uint64_t first, uint64_t count);
/* A RESIDENT slot that others emptied becomes COMMITTED. */
void direct_emptied(struct lend_region *r, uint64_t slot);

#endif /* ML_LEND_DIRECT_OUT_H */
