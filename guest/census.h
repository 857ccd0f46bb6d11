/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The census: what each 2 MiB of a zone holds, read from the page array without
 * locks. So it is a hint, from which choose.c chooses and defrag.c tries.
 */
#ifndef MEMLEASE_CENSUS_H
#define MEMLEASE_CENSUS_H

#include <linux/mmzone.h>

#include "choose.h"

struct ml_device;

/* The next zone worth defragmenting, from the first on if after is NULL; NULL after the last. */
struct zone *ml_census_zone(struct zone *after);

/*
 * What the n blocks of a zone from pfn on hold; pfn lies at a block's start.
 * Sleeps now and then. Ends early, and returns false, when *give_up is not 0.
 *
 * Page arrays of memory that is offline are left alone, but one must not go away
 * at the same time: whoever removes memory keeps defragmenting off (defrag.h).
 */
bool ml_census_take(struct ml_device *ml, struct zone *zone, unsigned long pfn,
		    struct ml_census *census, u32 n, const atomic_t *give_up);

/* One block. */
struct ml_census ml_census_block(struct ml_device *ml, struct zone *zone, unsigned long pfn);

/* A zone's free memory in pieces and as a whole, from the kernel's own counts. */
struct ml_strewn ml_census_strewn(struct zone *zone);

#endif /* MEMLEASE_CENSUS_H */
