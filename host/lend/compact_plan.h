/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compaction plan under way: which areas (GiBs) of the pool are being emptied, into
 * which others their blocks go, and how far that is. The areas that are still to be
 * emptied are closed, so that nobody takes what was freed there. Making plans and moving
 * blocks is compact.c's; loan.c ends a plan when a touch finds no block.
 */
#ifndef ML_LEND_COMPACT_PLAN_H
#define ML_LEND_COMPACT_PLAN_H

#include "../pool/choose.h"
#include "lender.h"

/* Does nothing where the source cannot move blocks. -ENOMEM. */
int compact_plan_init(struct lender *l);
void compact_plan_free(struct lender *l);

bool compact_plan_under_way(const struct lender *l);
/*
 * Begin with these shifts, which are taken over: close all areas that they empty; those of
 * which somebody lends just now are left out. False: none is left, and there is no plan.
 */
bool compact_plan_begin(struct lender *l, struct pool_shift *shifts, uint32_t count);
/* The shift under way. */
const struct pool_shift *compact_plan_shift(const struct lender *l);
/*
 * That shift is through: on to the next. *area is the one that no shift empties any more,
 * which is open again, or COMPACT_PLAN_NO_AREA. False: it was the last, the plan is at its end.
 */
#define COMPACT_PLAN_NO_AREA UINT32_MAX
bool compact_plan_next(struct lender *l, uint32_t *area);
/* End it: all areas are open. False: there was none. */
bool compact_plan_end(struct lender *l);

#endif /* ML_LEND_COMPACT_PLAN_H */
