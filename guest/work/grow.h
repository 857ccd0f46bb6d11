/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growing: looks at available memory, borrows memory blocks and gives them to
 * Linux, before memory runs out. Wakes by itself: by a timer that runs faster the
 * faster memory goes, and by reclaim when it starts; others wake it as ML_GROW.
 */
#ifndef MEMLEASE_GROW_H
#define MEMLEASE_GROW_H

#include <linux/atomic.h>

#include "../think/need.h"

#define ML_GROW_STEP	16	/* most memory blocks of one BORROW */

struct ml_grow;
struct ml_turn;

/* Since the driver was loaded. */
struct ml_grow_counts {
	atomic64_t added_for[ML_FOR_COUNT];	/* memory blocks */
	atomic64_t borrows;			/* requests answered */
	atomic64_t refusals;
	u32 last_reason;			/* enum memlease_reason, of the last refusal */
};

/*
 * Allocates, and registers with reclaim; nothing is done before ml_grow_start(). 0 or
 * -errno. Exit comes after ml_grow_stop().
 */
int ml_grow_init(struct ml_turn *t, struct ml_grow **out);
void ml_grow_exit(struct ml_grow *g);

/*
 * From start to stop the worker runs, but for when growing is held (turn/turn.h). One
 * that waits for the host ends with ml_queue_stop(), which comes between holding and
 * stopping. May be called again.
 */
void ml_grow_start(struct ml_grow *g);
void ml_grow_stop(struct ml_grow *g);

const struct ml_grow_counts *ml_grow_counts(const struct ml_grow *g);

#endif /* MEMLEASE_GROW_H */
