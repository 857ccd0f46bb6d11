/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The census: what each 2 MiB of a zone holds, read from the page array without
 * locks. So it is a hint, from which think/choose.c chooses and work/defrag.c tries.
 */
#ifndef MEMLEASE_CENSUS_H
#define MEMLEASE_CENSUS_H

#include <linux/mmzone.h>

#include "../think/choose.h"

/* The next zone worth defragmenting, from the first on if after is NULL; NULL after the last. */
struct zone *ml_census_zone(struct zone *after);

/*
 * What the n blocks of a zone from pfn on hold; pfn lies at a block's start. Blocks
 * from the physical address `end` on count as absent: the host does not lend them.
 * Sleeps now and then. Ends early, and returns false, when *give_up is not 0.
 *
 * Page arrays of memory that is offline are left alone, but one must not go away
 * at the same time: the caller has the page arrays to itself (turn/turn.h).
 */
bool ml_census_take(struct zone *zone, unsigned long pfn, u64 end, struct ml_census *census,
		    u32 n, const atomic_t *give_up);

/* One block, likewise. Does not sleep. */
struct ml_census ml_census_block(struct zone *zone, unsigned long pfn, u64 end);

/* A zone's free memory in pieces and as a whole, from the kernel's own counts. */
struct ml_strewn ml_census_strewn(struct zone *zone);

#endif /* MEMLEASE_CENSUS_H */
