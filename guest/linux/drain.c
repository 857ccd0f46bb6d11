// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Draining; see drain.h.
 *
 * The kernel's own drain_all_pages() is not for modules, but asking for a
 * contiguous range of a zone begins with it. So we ask for a range that cannot
 * be had: one page, which is ours. It counts as movable, or the kernel would not
 * begin; and it does not let itself be moved, so the kernel gives up after the
 * drain, and nothing is allocated, copied or zeroed.
 */
#include <linux/gfp.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>

#include "compat.h"
#include "drain.h"

#define ML_DRAIN_PAGES	512	/* taken, to come to other page blocks */
#define ML_DRAIN_BLOCKS	16	/* of which one is asked for, in vain */

static bool ml_drain_isolate(struct page *page, isolate_mode_t mode)
{
	return false;
}

static int ml_drain_migrate(struct page *to, struct page *from, enum migrate_mode mode)
{
	return -EBUSY;
}

static void ml_drain_putback(struct page *page)
{
}

static const struct movable_operations ml_drain_ops = {
	.isolate_page = ml_drain_isolate,
	.migrate_page = ml_drain_migrate,
	.putback_page = ml_drain_putback,
};

/* What stands on the per-CPU lists of a zone. */
static u64 ml_drain_bytes(struct zone *zone)
{
	u64 pages = 0;
	int cpu;

	for_each_online_cpu(cpu)
		pages += READ_ONCE(per_cpu_ptr(zone->per_cpu_pageset, cpu)->count);
	return pages << PAGE_SHIFT;
}

/* Free pages of just this zone, or NULL. */
static struct page *ml_drain_take(struct zone *zone, unsigned int order)
{
	/* Of a movable page block, because isolating a block leaves it a movable one. */
	gfp_t gfp = __GFP_MOVABLE | __GFP_THISNODE | __GFP_NORETRY | __GFP_NOWARN;
	struct page *page;

	switch (zone_idx(zone)) {
	case ZONE_MOVABLE:
		gfp |= GFP_HIGHUSER_MOVABLE;
		break;
#ifdef CONFIG_ZONE_DMA32
	case ZONE_DMA32:
		gfp |= GFP_KERNEL | __GFP_DMA32;
		break;
#endif
	default:
		gfp |= GFP_KERNEL;
	}
	if (order)
		gfp &= ~__GFP_DIRECT_RECLAIM;
	page = alloc_pages_node(zone_to_nid(zone), gfp, order);
	if (page && page_zone(page) != zone) {
		__free_pages(page, order);
		return NULL;
	}
	return page;
}

/*
 * Ask for a range with this page, which is ours. Whether it still is: anything else
 * cannot be.
 */
static bool ml_drain_range(struct page *page, unsigned long start, unsigned long end)
{
	lock_page(page);
	ml_set_page_movable(page, &ml_drain_ops);
	unlock_page(page);
	if (WARN_ON_ONCE(!ml_alloc_contig_range(start, end, GFP_KERNEL | __GFP_NOWARN)))
		return false;
	lock_page(page);
	ml_clear_page_movable(page);
	unlock_page(page);
	return true;
}

static bool ml_drain_ask(struct page *page)
{
	return ml_drain_range(page, page_to_pfn(page), page_to_pfn(page) + 1);
}

void ml_drain_around(struct page *page, unsigned long start, unsigned long end)
{
	if (ml_drain_range(page, start, end))
		__free_page(page);
}

/*
 * By pages as they come. The kernel does not begin where anything in the page's
 * block is unmovable, and the next page is often of the same block: hold on to
 * those that were of no use until one is of a block that will do.
 */
static bool ml_drain_by_pages(struct zone *zone, u64 enough)
{
	unsigned long block, last = ULONG_MAX;
	struct page *page, *next;
	u32 taken, asked = 0;
	bool done = false;
	LIST_HEAD(kept);

	for (taken = 0; taken < ML_DRAIN_PAGES && asked < ML_DRAIN_BLOCKS && !done; taken++) {
		page = ml_drain_take(zone, 0);
		if (!page)
			break;
		block = page_to_pfn(page) >> pageblock_order;
		if (block != last && !ml_drain_ask(page))
			break;
		list_add(&page->lru, &kept);
		asked += block != last;
		last = block;
		done = ml_drain_bytes(zone) <= enough;
	}
	list_for_each_entry_safe(page, next, &kept, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	return done;
}

/*
 * By a whole block: that will do, but it is zeroed, so the host must back it. For
 * less than ML_DRAIN_BYTES not worth it.
 */
static bool ml_drain_by_block(struct zone *zone, u64 enough)
{
	struct page *page = ml_drain_take(zone, pageblock_order);

	if (page && ml_drain_ask(page))
		__free_pages(page, pageblock_order);
	return ml_drain_bytes(zone) <= enough;
}

bool ml_drain_zone(struct zone *zone)
{
	u64 enough = ml_drain_bytes(zone) / 2;

	if (ml_drain_by_pages(zone, enough))
		return true;
	return ml_drain_bytes(zone) >= ML_DRAIN_BYTES && ml_drain_by_block(zone, enough);
}

/* The first zone from *nid, *z on that is to be drained; moves past it. */
static struct zone *ml_drain_next(int *nid, int *z)
{
	while (*nid < MAX_NUMNODES) {
		while (*z < MAX_NR_ZONES) {
			struct zone *zone = &NODE_DATA(*nid)->node_zones[(*z)++];

			if (populated_zone(zone) && !zone_is_zone_device(zone) &&
			    ml_drain_bytes(zone) >= ML_DRAIN_BYTES)
				return zone;
		}
		*nid = next_online_node(*nid);
		*z = 0;
	}
	return NULL;
}

bool ml_drain_due(void)
{
	int nid = first_online_node, z = 0;

	return ml_drain_next(&nid, &z);
}

bool ml_drain(void)
{
	int nid = first_online_node, z = 0;
	struct zone *zone;
	bool any = false;

	while ((zone = ml_drain_next(&nid, &z)))
		any |= ml_drain_zone(zone);
	return any;
}
