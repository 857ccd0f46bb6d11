// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The census; see census.h. Reads a cache line for each page in use and one for
 * each free piece, about 64 KiB of page array for a full block; a block with a
 * page that cannot be moved is left at that page.
 */
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/page-flags.h>
#include <linux/sched.h>

#include "census.h"
#include "compat.h"
#include "../../proto/memlease_abi.h"

#define ML_BLOCK_ORDER	(MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT)
#define ML_ZONE_LEAST_PAGES	(64UL << (20 - PAGE_SHIFT))	/* smaller ones are for emergencies */

static bool ml_census_zone_fits(struct zone *zone)
{
	return populated_zone(zone) && !zone_is_zone_device(zone) &&
	       zone->present_pages >= ML_ZONE_LEAST_PAGES;
}

struct zone *ml_census_zone(struct zone *after)
{
	bool found = !after;
	int nid, z;

	for_each_online_node(nid) {
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (found && ml_census_zone_fits(zone))
				return zone;
			if (zone == after)
				found = true;
		}
	}
	return NULL;
}

/*
 * Does somebody hold on to it, a device for instance, beside those that map it and
 * the page cache? Then it stays where it is. Large folios are not looked into.
 */
static bool ml_census_pinned(struct page *page)
{
	struct folio *folio = (struct folio *)page;
	int refs;

	if (PageCompound(page))
		return false;
	refs = atomic_read(&folio->_mapcount) + 1;
	if (folio_test_anon(folio))
		refs += folio_test_swapcache(folio);
	else if (READ_ONCE(folio->mapping))
		refs++;
	refs += folio_test_private(folio);
	return folio_ref_count(folio) > refs;
}

/* Clean page cache: the kernel drops it where it is told to move it. */
static bool ml_census_dropped(struct page *page)
{
	struct folio *folio = page_folio(page);

	return !folio_test_swapbacked(folio) && !folio_test_dirty(folio) &&
	       !folio_test_unevictable(folio);
}

struct ml_census ml_census_block(struct zone *zone, unsigned long pfn, u64 end)
{
	struct page *page = pfn_to_online_page(pfn);
	struct ml_census c = { .kind = ML_KIND_ABSENT };
	unsigned long order, i;

	/* Memory goes on and off line in larger pieces than a block. */
	if (!page || page_zone(page) != zone || page_zone(page + ML_CENSUS_PAGES - 1) != zone ||
	    PFN_PHYS(pfn) >= end)
		return c;
	c.kind = ML_KIND_FREE;
	for (i = 0; i < ML_CENSUS_PAGES; i++, page++) {
		if (PageBuddy(page)) {
			order = READ_ONCE(page->private);
			if (order <= ML_MAX_PAGE_ORDER)
				i += (1UL << order) - 1, page += (1UL << order) - 1;
			continue;
		}
		/* Free, but on the list of a processor. A slab page has no count on newer kernels either. */
		if (!page_count(page) && !PageReserved(page) && !page_has_type(page))
			continue;
		if ((!PageLRU(page) && !ml_page_has_movable_ops(page)) || PageReserved(page) ||
		    (PageLRU(page) && ml_census_pinned(page))) {
			c.kind = ML_KIND_FIXED;
			return c;
		}
		c.kind = ML_KIND_MOVABLE;
		c.used++;
		c.dropped += PageLRU(page) && ml_census_dropped(page);
	}
	return c;
}

bool ml_census_take(struct zone *zone, unsigned long pfn, u64 end, struct ml_census *census,
		    u32 n, const atomic_t *give_up)
{
	u32 i;

	for (i = 0; i < n; i++, pfn += ML_CENSUS_PAGES) {
		if (atomic_read(give_up))
			return false;
		census[i] = ml_census_block(zone, pfn, end);
		cond_resched();
	}
	return true;
}

struct ml_strewn ml_census_strewn(struct zone *zone)
{
	struct ml_strewn s = {
		.total = (u64)zone_managed_pages(zone) << PAGE_SHIFT,
	};
	u64 pages = 0;
	u32 order;

	for (order = ML_MAX_PAGE_ORDER; order >= ML_BLOCK_ORDER; order--)
		pages += (u64)READ_ONCE(zone->free_area[order].nr_free) << order;
	s.whole = pages << PAGE_SHIFT;
	for (order = 0; order < ML_BLOCK_ORDER; order++)
		pages += (u64)READ_ONCE(zone->free_area[order].nr_free) << order;
	s.free = pages << PAGE_SHIFT;
	return s;
}
