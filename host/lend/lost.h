/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of one VM whose block had a memory error: which they are, and of which the
 * guest is still to be told. A set and a list, no more. Opened by lost.c only.
 */
#ifndef ML_LEND_LOST_H
#define ML_LEND_LOST_H

#include <stdbool.h>
#include <stdint.h>

#include "../../proto/memlease_abi.h"

struct lost_slot {
	struct lost_slot *next;		/* for lost_next() */
	enum memlease_region region;
	uint64_t slot;
};

struct lost {
	uint8_t *slots[MEMLEASE_REGION_COUNT];	/* lost in the source; the guest was or will be told */
	struct lost_slot *untold;
};

bool lost_has(const struct lost *l, enum memlease_region region, uint64_t slot);
/* The slot is lost, of a region of so many. True: that is news, to be told. */
bool lost_add(struct lost *l, enum memlease_region region, uint64_t slots, uint64_t slot);
/* What was lost in the range can be had anew. What is untold stays so. */
void lost_mend(struct lost *l, enum memlease_region region, uint64_t first, uint64_t count);

/* Those untold: the first, and the next; or NULL. */
const struct lost_slot *lost_first(const struct lost *l);
const struct lost_slot *lost_next(const struct lost_slot *s);
/* The first untold one is being told. False: there is none. */
bool lost_tell(struct lost *l, struct lost_slot *out);
void lost_free(struct lost *l);

#endif /* ML_LEND_LOST_H */
