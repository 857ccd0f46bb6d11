// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads what the kernel counts of each cgroup; see kept.h. The kernel works the promises out
 * itself when it reclaims, which is late for us: the figures of a cgroup that has just got
 * one are of the last time. So they are worked out here, from the same counters.
 */
#include <linux/cgroup.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/page_counter.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "../think/need.h"
#include "kept.h"

#define ML_KEPT_MS	100
#define ML_KEPT_DEPTH	16	/* of cgroups in cgroups; deeper ones do not count */

#ifdef CONFIG_MEMCG

static DEFINE_SPINLOCK(ml_kept_lock);
static struct ml_kept ml_kept_last;
static unsigned long ml_kept_until = INITIAL_JIFFIES;

static struct cgroup_subsys_state *ml_kept_root(void)
{
	return rcu_dereference(memory_cgrp_subsys.root->cgrp.subsys[memory_cgrp_id]);
}

/* What a cgroup is promised, pages: from the outermost that it is in on. */
static u64 ml_kept_promise(const struct page_counter *counter)
{
	bool recursive = memory_cgrp_subsys.root->flags & CGRP_ROOT_MEMORY_RECURSIVE_PROT;
	const struct page_counter *chain[ML_KEPT_DEPTH], *c;
	struct ml_promise parent = { 0 };
	u32 depth = 0;

	/* The root's own is no promise. */
	for (c = counter; c->parent; c = c->parent) {
		if (depth == ML_KEPT_DEPTH)
			return 0;
		chain[depth++] = c;
	}
	while (depth--) {
		struct ml_promise own = {
			.usage = atomic_long_read(&chain[depth]->usage),
			.min = READ_ONCE(chain[depth]->min),
			.children = atomic_long_read(&chain[depth]->children_min_usage),
		};

		own.kept = chain[depth]->parent->parent ? ml_promise_kept(&own, &parent, recursive) :
							  min(own.min, own.usage);
		parent = own;
	}
	return parent.kept;
}

/* Page cache of a cgroup in a zone: it is counted by lists, or by generations (MGLRU). */
static u64 ml_kept_in_zone(const struct mem_cgroup_per_node *node, int z)
{
	long pages = READ_ONCE(node->lru_zone_size[z][LRU_INACTIVE_FILE]) +
		     READ_ONCE(node->lru_zone_size[z][LRU_ACTIVE_FILE]);
#ifdef CONFIG_LRU_GEN
	u32 gen;

	for (gen = 0; gen < MAX_NR_GENS; gen++)
		pages += READ_ONCE(node->lruvec.lrugen.nr_pages[gen][LRU_GEN_FILE][z]);
#endif
	return max(pages, 0L);
}

/* The page cache of a cgroup, without that of cgroups in it; pages. */
static struct ml_kept ml_kept_has(const struct mem_cgroup *memcg)
{
	struct ml_kept has = { 0 };
	int nid, z;

	for_each_online_node(nid) {
		const struct mem_cgroup_per_node *node = memcg->nodeinfo[nid];

		for (z = 0; node && z < MAX_NR_ZONES; z++) {
			u64 pages = ml_kept_in_zone(node, z);

			if (z == ZONE_MOVABLE)
				has.movable += pages;
			else
				has.kernel += pages;
		}
	}
	return has;
}

static void ml_kept_count(struct cgroup_subsys_state *root, struct ml_kept *sum)
{
	struct cgroup_subsys_state *css;

	css_for_each_descendant_pre(css, root) {
		struct mem_cgroup *memcg = mem_cgroup_from_css(css);
		u64 usage = atomic_long_read(&memcg->memory.usage), promise, has;
		struct ml_kept cache;

		promise = ml_kept_promise(&memcg->memory);
		if (!promise)
			continue;
		cache = ml_kept_has(memcg);
		has = cache.kernel + cache.movable;
		/* What it has beyond the promise may go, page cache first. */
		promise = has - min(has, usage - min(usage, promise));
		if (!promise)
			continue;
		sum->movable += mult_frac(cache.movable, promise, has);
		sum->kernel += mult_frac(cache.kernel, promise, has);
	}
}

struct ml_kept ml_kept_cache(void)
{
	struct cgroup_subsys_state *root;
	struct ml_kept kept = { 0 };

	if (mem_cgroup_disabled())
		return kept;
	rcu_read_lock();
	root = ml_kept_root();
	if (root && atomic_long_read(&mem_cgroup_from_css(root)->memory.children_min_usage)) {
		/* Who finds it taken, in an interrupt perhaps, takes what there is. */
		if (time_after_eq(jiffies, READ_ONCE(ml_kept_until)) && spin_trylock(&ml_kept_lock)) {
			ml_kept_count(root, &kept);
			ml_kept_last = kept;
			WRITE_ONCE(ml_kept_until, jiffies + msecs_to_jiffies(ML_KEPT_MS));
			spin_unlock(&ml_kept_lock);
		}
		kept.kernel = READ_ONCE(ml_kept_last.kernel);
		kept.movable = READ_ONCE(ml_kept_last.movable);
	}
	rcu_read_unlock();
	return kept;
}

#else

struct ml_kept ml_kept_cache(void)
{
	return (struct ml_kept){ 0 };
}

#endif
