/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compaction of the pool: lent blocks are moved together, so that whole GiBs become
 * free. Only where the source can move a block under a running VM: it unmaps, copies
 * and maps, and who touches the slot meanwhile waits.
 *
 * In the background, every ten seconds, one GiB is emptied if that is cheap, a few
 * moves a turn of the event loop and no more than a budget a second; on an operator's
 * word as many as he asks for, with a larger budget. Never while touches wait. Which
 * GiB, and into which others its blocks go, is for pool/choose.c to say.
 *
 * The GiBs that a plan empties are closed until it is through with them, so that nobody
 * takes what was freed; and what the supply holds of them is taken back first. If a touch
 * finds no block meanwhile the plan ends at once, and they are open (compact_plan.h).
 */
#ifndef ML_LEND_COMPACT_H
#define ML_LEND_COMPACT_H

#include "lender.h"

struct compact_figures {
	bool running;			/* a plan is under way, or will be */
	uint64_t moved, emptied;	/* blocks, GiBs; since the daemon began */
};

/* -ENOMEM. */
int compact_init(struct lender *l);
/* Ends the plan under way. Before the pool is closed. */
void compact_free(struct lender *l);
void compact_figures(const struct lender *l, struct compact_figures *out);

/* So many GiBs are to be emptied, on an operator's word. -EOPNOTSUPP: the source cannot move blocks. */
int compact_want(struct lender *l, uint32_t gib);
/* Once a second. */
void compact_tick(struct lender *l);
bool compact_has_work(const struct lender *l);
/* About a millisecond of it. */
void compact_slice(struct lender *l);

#endif /* ML_LEND_COMPACT_H */
