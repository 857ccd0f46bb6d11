// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page cache; see cache.h.
 *
 * No function of the kernel's for this is for modules, but kswapd can be had to do
 * it, by raising the watermarks of zones for a while (watermark_boost), as the
 * kernel does when allocations of different kinds mix in a zone. kswapd lowers them
 * again when it is through. There are two ways:
 *
 * Gently: a raise that leaves the zone over its mark. kswapd then frees that much
 * clean page cache from the old end of its lists, neither writes nor swaps, looks at
 * a small part of the lists only, and stops when it finds nothing. But not where
 * the kernel keeps its lists by generations (lru_gen, the default of newer ones),
 * which leaves such a call alone.
 *
 * Firmly, where that has no effect: a raise to a little over what is free, so that
 * kswapd reclaims in earnest what is oldest; as long as page cache is not read
 * again, that is page cache. No zone is raised so far that allocations would have to
 * wait, and no more is asked for than there is page cache that nobody uses.
 *
 * kswapd shrinks the caches of names and files (dentries that stand for nothing, above all)
 * only as it runs out of page cache, which is the firm way. With swap space it would write
 * programs out instead, so there they are left alone.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "../think/cold.h"
#include "cache.h"
#include "meminfo.h"

#define ML_CACHE_STEP_MS	10	/* between looks whether kswapd is through */
#define ML_CACHE_STEPS		20	/* of them for one call */
#define ML_SLAB_KEEP_BYTES	(48ULL << 20)	/* of names and files, for the programs at work */
#define ML_CACHE_ROUND_PAGES	32768	/* of one call: 128 MiB */

static DEFINE_MUTEX(ml_cache_one);	/* one at a time raises the marks of zones */

/* What of the kernel's own caches need not be. */
static u64 ml_slab_unused_bytes(void)
{
	u64 slab = ml_slab_bytes();

	return slab > ML_SLAB_KEEP_BYTES && get_nr_swap_pages() <= 0 ? slab - ML_SLAB_KEEP_BYTES : 0;
}

u64 ml_cache_unused_bytes(void)
{
	u64 pages = global_node_page_state(NR_INACTIVE_FILE);
	u64 busy = global_node_page_state(NR_FILE_DIRTY) + global_node_page_state(NR_WRITEBACK);

	return (pages > busy ? (pages - busy) << PAGE_SHIFT : 0) + ml_slab_unused_bytes();
}

u64 ml_cache_held_bytes(void)
{
	return ml_file_bytes() + ml_slab_bytes();
}

/* By how many pages to raise the marks of a zone. */
static u64 ml_cache_raise(struct zone *zone, u64 want, bool firmly)
{
	u64 free = zone_page_state(zone, NR_FREE_PAGES), high = zone->_watermark[WMARK_HIGH];

	if (firmly)
		return ml_cold_boost_firm(want, free, zone->_watermark[WMARK_MIN], high);
	return ml_cold_boost(want, free, high);
}

/* Raise marks of a node for up to `want` pages, and wake who reclaims for them. */
static u64 ml_cache_boost(pg_data_t *pgdat, u64 want, bool firmly)
{
	int z, highest = -1;
	u64 boosted = 0;

	for (z = MAX_NR_ZONES - 1; z >= 0; z--) {
		struct zone *zone = &pgdat->node_zones[z];
		unsigned long flags;
		u64 raise;

		if (!managed_zone(zone) || zone_is_zone_device(zone))
			continue;
		highest = max(highest, z);
		/* kswapd stops when one zone of the node is balanced: so raise the marks of all. */
		raise = ml_cache_raise(zone, firmly ? want : want - min(want, boosted), firmly);
		spin_lock_irqsave(&zone->lock, flags);
		zone->watermark_boost += raise;
		spin_unlock_irqrestore(&zone->lock, flags);
		boosted += raise;
	}
	if (!boosted)
		return 0;
	if (READ_ONCE(pgdat->kswapd_highest_zoneidx) == MAX_NR_ZONES ||
	    READ_ONCE(pgdat->kswapd_highest_zoneidx) < highest)
		WRITE_ONCE(pgdat->kswapd_highest_zoneidx, highest);
	wake_up_interruptible(&pgdat->kswapd_wait);
	return boosted;
}

/* It took too long: lower all marks. kswapd takes none lower than they are. */
static void ml_cache_unboost(pg_data_t *pgdat)
{
	unsigned long flags;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++) {
		struct zone *zone = &pgdat->node_zones[z];

		if (!managed_zone(zone))
			continue;
		spin_lock_irqsave(&zone->lock, flags);
		zone->watermark_boost = 0;
		spin_unlock_irqrestore(&zone->lock, flags);
	}
}

/* Has kswapd lowered all marks of a node again? */
static bool ml_cache_settled(pg_data_t *pgdat)
{
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		if (managed_zone(&pgdat->node_zones[z]) &&
		    READ_ONCE(pgdat->node_zones[z].watermark_boost))
			return false;
	return true;
}

/* When to leave off. */
struct ml_cache_end {
	const bool *stop;
	u64 deadline_ns;
};

static bool ml_cache_ends(const struct ml_cache_end *end)
{
	return READ_ONCE(*end->stop) || signal_pending(current) ||
	       ktime_get_ns() >= end->deadline_ns;
}

/* One call of kswapd. Returns how many bytes went. */
static u64 ml_cache_call(pg_data_t *pgdat, u64 bytes, bool firmly,
			 const struct ml_cache_end *end)
{
	u64 before = ml_cache_held_bytes(), now;
	u32 step;

	if (!ml_cache_boost(pgdat, min_t(u64, bytes >> PAGE_SHIFT, ML_CACHE_ROUND_PAGES), firmly))
		return 0;
	for (step = 0; step < ML_CACHE_STEPS && !ml_cache_settled(pgdat) &&
	     !ml_cache_ends(end); step++)
		schedule_timeout_idle(msecs_to_jiffies(ML_CACHE_STEP_MS));
	if (!ml_cache_settled(pgdat))
		ml_cache_unboost(pgdat);
	now = ml_cache_held_bytes();
	return before - min(before, now);
}

/* One node, until `bytes` are gone or there is no more. Returns how many are. */
static u64 ml_cache_node(pg_data_t *pgdat, u64 bytes, const struct ml_cache_end *end)
{
	bool firmly = false;
	u64 gone = 0, went;

	while (gone < bytes && !ml_cache_ends(end)) {
		u64 want = min(bytes - gone, ml_cache_unused_bytes());

		went = want ? ml_cache_call(pgdat, want, firmly, end) : 0;
		gone += went;
		if (!went && (firmly || !want))
			break;
		firmly = !went || firmly;
	}
	return gone;
}

u64 ml_cache_give_up(u64 bytes, u32 max_ms, const bool *stop)
{
	struct ml_cache_end end = {
		.stop = stop,
		.deadline_ns = ktime_get_ns() + (u64)max_ms * NSEC_PER_MSEC,
	};
	u64 gone = 0;
	int nid;

	mutex_lock(&ml_cache_one);
	for_each_online_node(nid) {
		if (gone < bytes)
			gone += ml_cache_node(NODE_DATA(nid), bytes - gone, &end);
	}
	mutex_unlock(&ml_cache_one);
	return gone;
}
