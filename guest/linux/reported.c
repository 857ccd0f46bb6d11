// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Marks of reported pages; see reported.h. A free page of 2 MiB or more begins at a multiple
 * of 2 MiB, and its first page has the mark. The mark is the zone's lock's, as in
 * mm/page_reporting.c.
 */
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/sched.h>

#include "../../proto/memlease_abi.h"
#include "census.h"
#include "reported.h"

#define ML_REPORTED_STEP	(1UL << (MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT))	/* pages */
#define ML_REPORTED_PIECE	(64 * ML_REPORTED_STEP)	/* in one holding of the lock */

static void ml_reported_forget_piece(struct zone *zone, unsigned long pfn, unsigned long end)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	for (; pfn < end; pfn += ML_REPORTED_STEP) {
		struct page *page = pfn_to_online_page(pfn);

		if (page && page_zone(page) == zone && PageBuddy(page) && PageReported(page))
			__ClearPageReported(page);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
}

void ml_reported_forget(void)
{
	struct zone *zone = NULL;
	unsigned long pfn, end;

	while ((zone = ml_census_zone(zone))) {
		end = zone_end_pfn(zone);
		for (pfn = ALIGN(zone->zone_start_pfn, ML_REPORTED_STEP); pfn < end; pfn += ML_REPORTED_PIECE) {
			ml_reported_forget_piece(zone, pfn, min(end, pfn + ML_REPORTED_PIECE));
			cond_resched();
		}
	}
}
