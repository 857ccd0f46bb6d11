// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the kernel's own counters; see meminfo.h. Iterates over zones by node,
 * because the kernel's iterators are not for modules. Watermarks are read without
 * the boost that the kernel, or cache.c, gives them for a moment; but where a process would
 * be killed, for the kernel counts it too.
 */
#include <linux/blk_types.h>
#include <linux/cpuset.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "kept.h"
#include "meminfo.h"
#include "../../proto/memlease_abi.h"

#define ML_TIGHT_PAGES	256
#define ML_LARGE_ORDER	(MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT)

u64 ml_total_bytes(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

u64 ml_free_bytes(void)
{
	return (u64)global_zone_page_state(NR_FREE_PAGES) << PAGE_SHIFT;
}

/* How much less of `pages` counts as available with the marks raised by `boost`. */
static u64 ml_boost_cost(u64 pages, u64 low, u64 boost)
{
	return min(pages / 2, low + boost) - min(pages / 2, low);
}

/* Pages that do not count as available only because the marks of zones are raised. */
static u64 ml_boosted_pages(void)
{
	u64 low = 0, boost = 0;
	int nid, z;

	for_each_online_node(nid) {
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (!populated_zone(zone))
				continue;
			low += zone->_watermark[WMARK_LOW];
			boost += READ_ONCE(zone->watermark_boost);
		}
	}
	if (!boost)
		return 0;
	return ml_boost_cost(global_node_page_state(NR_ACTIVE_FILE) +
			     global_node_page_state(NR_INACTIVE_FILE), low, boost) +
	       ml_boost_cost(global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) +
			     global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE), low, boost);
}

u64 ml_available_bytes(void)
{
	struct ml_kept kept = ml_kept_cache();
	long available = si_mem_available() + ml_boosted_pages() - kept.kernel - kept.movable;

	return available > 0 ? (u64)available << PAGE_SHIFT : 0;
}

u64 ml_cache_bytes(void)
{
	return (u64)global_node_page_state(NR_FILE_PAGES) << PAGE_SHIFT;
}

u64 ml_slab_bytes(void)
{
	return (u64)global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) << PAGE_SHIFT;
}

u64 ml_file_bytes(void)
{
	u64 cache = global_node_page_state(NR_FILE_PAGES);
	u64 shared = global_node_page_state(NR_SHMEM);

	return cache > shared ? (cache - shared) << PAGE_SHIFT : 0;
}

/* What of a zone is free in large pages and not kept from programs. */
static u64 ml_zone_large_pages(struct zone *zone)
{
	unsigned long have = zone_page_state(zone, NR_FREE_PAGES);
	unsigned long keep = zone->_watermark[WMARK_LOW] + zone->lowmem_reserve[ZONE_MOVABLE];
	u64 pages = 0;
	unsigned int i;

	for (i = ML_LARGE_ORDER; i <= ML_MAX_PAGE_ORDER; i++)
		pages += (u64)READ_ONCE(zone->free_area[i].nr_free) << i;
	return have > keep ? min_t(u64, pages, have - keep) : 0;
}

u64 ml_large_free_bytes(void)
{
	u64 pages = 0;
	int nid, z;

	for_each_online_node(nid) {
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (populated_zone(zone) && !zone_is_zone_device(zone))
				pages += ml_zone_large_pages(zone);
		}
	}
	return pages << PAGE_SHIFT;
}

u64 ml_read_again_bytes(void)
{
	return (u64)global_node_page_state(WORKINGSET_REFAULT_FILE) << PAGE_SHIFT;
}

#ifdef CONFIG_VM_EVENT_COUNTERS
static u64 ml_events(enum vm_event_item item)
{
	u64 events = 0;
	int cpu;

	for_each_online_cpu(cpu)
		events += READ_ONCE(per_cpu(vm_event_states, cpu).event[item]);
	return events;
}
#endif

u64 ml_large_waits(void)
{
#if defined(CONFIG_COMPACTION) && defined(CONFIG_VM_EVENT_COUNTERS)
	return ml_events(COMPACTSTALL);
#else
	return 0;
#endif
}

u64 ml_stolen_bytes(void)
{
#if !defined(ML_HAVE_STEAL_EVENTS)
	/* In 7.x what allocations reclaim themselves counts with that of cgroups at their limits. */
	return (u64)global_node_page_state(PGSTEAL_KSWAPD) << PAGE_SHIFT;
#elif defined(CONFIG_VM_EVENT_COUNTERS)
	return (ml_events(PGSTEAL_KSWAPD) + ml_events(PGSTEAL_DIRECT)) << PAGE_SHIFT;
#else
	return ml_read_again_bytes();
#endif
}

u64 ml_block_io_bytes(void)
{
#ifdef CONFIG_VM_EVENT_COUNTERS
	return (ml_events(PGPGIN) + ml_events(PGPGOUT)) << SECTOR_SHIFT;
#else
	return 0;
#endif
}

/* The next zone of kernel memory in use; from the first on if after is NULL. */
static struct zone *ml_next_kernel_zone(struct zone *after)
{
	bool found = !after;
	int nid, z;

	for_each_online_node(nid) {
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (found && populated_zone(zone) && z != ZONE_MOVABLE &&
			    !zone_is_zone_device(zone))
				return zone;
			if (zone == after)
				found = true;
		}
	}
	return NULL;
}

static u64 ml_less(u64 pages, u64 less)
{
	return pages - min(pages, less);
}

/*
 * Free pages of a zone, and of its page cache what can go: half of it, and so half of what
 * cgroups keep of it is to be taken off the sum over zones.
 */
static u64 ml_zone_available_pages(struct zone *zone)
{
	return zone_page_state(zone, NR_FREE_PAGES) +
	       zone_page_state(zone, NR_ZONE_INACTIVE_FILE) / 2 +
	       zone_page_state(zone, NR_ZONE_ACTIVE_FILE) / 2;
}

u64 ml_kernel_available_bytes(void)
{
	u64 pages = 0, kept = ml_kept_cache().kernel / 2;
	struct zone *zone = NULL;

	while ((zone = ml_next_kernel_zone(zone))) {
		u64 keep = zone->_watermark[WMARK_LOW], have = ml_zone_available_pages(zone);

		pages += have > keep ? have - keep : 0;
	}
	return ml_less(pages, kept) << PAGE_SHIFT;
}

u64 ml_kernel_lack_bytes(void)
{
	struct zone *zone = NULL;
	u64 keep = 0, have = 0;

	while ((zone = ml_next_kernel_zone(zone))) {
		keep += zone->_watermark[WMARK_LOW];
		have += ml_zone_available_pages(zone);
	}
	have = ml_less(have, ml_kept_cache().kernel / 2);
	return keep > have ? (keep - have) << PAGE_SHIFT : 0;
}

u64 ml_kernel_free_bytes(void)
{
	struct zone *zone = NULL;
	u64 pages = 0;

	while ((zone = ml_next_kernel_zone(zone)))
		pages += zone_page_state(zone, NR_FREE_PAGES);
	return pages << PAGE_SHIFT;
}

static bool ml_zone_has_page(struct zone *zone, unsigned int order)
{
	unsigned int i;

	for (i = order; i <= ML_MAX_PAGE_ORDER; i++)
		if (READ_ONCE(zone->free_area[i].nr_free))
			return true;
	return false;
}

bool ml_kernel_has_page(unsigned int order)
{
	struct zone *zone = NULL;

	while ((zone = ml_next_kernel_zone(zone)))
		if (ml_zone_has_page(zone, order))
			return true;
	return false;
}

bool ml_kernel_tight(const nodemask_t *nodes)
{
	struct zone *zone = NULL;

	while ((zone = ml_next_kernel_zone(zone))) {
		/* What is kept from its guests, and a little that may have been freed since. */
		u64 keep = min_wmark_pages(zone) + zone->lowmem_reserve[ZONE_NORMAL] + ML_TIGHT_PAGES;

		if (node_isset(zone_to_nid(zone), *nodes) &&
		    zone_page_state(zone, NR_FREE_PAGES) > keep &&
		    ml_zone_has_page(zone, PAGE_ALLOC_COSTLY_ORDER))
			return false;
	}
	return true;
}

/*
 * Pages of the movable zones that programs can have, and of their page cache. The low and the
 * high mark of such a zone are no measure: where vm.min_free_kbytes is raised they go up in
 * proportion, though nothing is kept from it.
 */
static u64 ml_movable_pages(const nodemask_t *nodes, bool cache)
{
	u64 pages = 0;
	int nid;

	for_each_online_node(nid) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];
		unsigned long have, keep;

		if (!populated_zone(zone) || !node_isset(nid, *nodes))
			continue;
		have = zone_page_state(zone, NR_FREE_PAGES);
		if (cache)
			have += (zone_page_state(zone, NR_ZONE_INACTIVE_FILE) +
				 zone_page_state(zone, NR_ZONE_ACTIVE_FILE)) / 2;
		keep = zone->_watermark[WMARK_MIN];
		pages += have > keep ? have - keep : 0;
	}
	return pages;
}

u64 ml_room_bytes(void)
{
	struct ml_kept kept = ml_kept_cache();
	u64 pages = 0;
	int nid, z;

	for_each_online_node(nid) {
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];
			u64 have, keep;

			if (!populated_zone(zone) || zone_is_zone_device(zone))
				continue;
			have = ml_zone_available_pages(zone);
			keep = zone->_watermark[WMARK_MIN] + zone->lowmem_reserve[ZONE_MOVABLE];
			pages += have > keep ? have - keep : 0;
		}
	}
	return ml_less(pages, (kept.kernel + kept.movable) / 2) << PAGE_SHIFT;
}

u64 ml_movable_free_bytes(void)
{
	return ml_movable_free_on(&node_states[N_ONLINE]);
}

u64 ml_movable_free_on(const nodemask_t *nodes)
{
	return ml_movable_pages(nodes, false) << PAGE_SHIFT;
}

u64 ml_movable_available_bytes(void)
{
	return ml_less(ml_movable_pages(&node_states[N_ONLINE], true), ml_kept_cache().movable / 2) << PAGE_SHIFT;
}

nodemask_t ml_nodes_of_current(void)
{
	nodemask_t nodes = cpuset_current_mems_allowed;
#ifdef CONFIG_NUMA
	const struct mempolicy *policy = current->mempolicy;

	if (policy && policy->mode == MPOL_BIND)
		nodes_and(nodes, nodes, policy->nodes);
#endif
	return nodes;
}
