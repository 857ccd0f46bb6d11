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

#include "compat/compat.h"
#include "drain.h"

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

/* A page of just this zone, or NULL. */
static struct page *ml_drain_page(struct zone *zone)
{
	/* Of a movable page block: what is isolated for a moment becomes one for good. */
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
	page = alloc_pages_node(zone_to_nid(zone), gfp, 0);
	if (page && page_zone(page) != zone) {
		__free_page(page);
		return NULL;
	}
	return page;
}

void ml_drain_zone(struct zone *zone)
{
	struct page *page = ml_drain_page(zone);
	unsigned long pfn;

	if (!page)
		return;
	pfn = page_to_pfn(page);
	lock_page(page);
	ml_set_page_movable(page, &ml_drain_ops);
	unlock_page(page);
	if (WARN_ON_ONCE(!ml_alloc_contig_range(pfn, pfn + 1, GFP_KERNEL | __GFP_NOWARN)))
		return;		/* cannot be: the page is ours, and now gone astray */
	lock_page(page);
	ml_clear_page_movable(page);
	unlock_page(page);
	__free_page(page);
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

	while ((zone = ml_drain_next(&nid, &z))) {
		ml_drain_zone(zone);
		any = true;
	}
	return any;
}
