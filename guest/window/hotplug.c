// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory blocks go to Linux and come back; see hotplug.h.
 *
 * Onlining is ours, because it decides whether a block can ever be given back:
 * only movable memory can. Some kernels online added memory by themselves, to
 * the kernel's zone; some do not; udev may. So the memory notifier refuses any
 * attempt on a block that is being added but our own, and we then write
 * "online_movable" to the block's `state`, through the device model rather than
 * through a mounted sysfs: nothing else leads to it from a module.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "../linux/compat.h"
#include "../linux/empty.h"
#include "../wire/wire.h"
#include "hotplug.h"

#define ML_RESOURCE_NAME	"System RAM (virtio_memlease)"
#define ML_ONLINE_TRIES		200
#define ML_ONLINE_PAUSE_MS	5
#define ML_OFFLINE_TRIES	8	/* while programs take pages again that were just emptied */

/*
 * Somebody takes a block offline by hand. The kernel tries until it works, holding a lock
 * that growing needs, and leaves off only when a signal comes: whoever does that does not
 * begin while a block is being added, and is interrupted, without a signal to anybody,
 * when one is to be.
 */
static int ml_stranger_begins(struct ml_hotplug *h)
{
	int rc = 0;

	spin_lock(&h->lock);
	if (READ_ONCE(h->adding) < h->blocks->count)
		rc = -EAGAIN;
	else
		h->stranger = current;
	spin_unlock(&h->lock);
	return rc;
}

static void ml_stranger_ends(struct ml_hotplug *h)
{
	spin_lock(&h->lock);
	h->stranger = NULL;
	spin_unlock(&h->lock);
}

/* From now on, until adding is over, no stranger keeps us from it for long. */
static void ml_adding_begins(struct ml_hotplug *h, u32 i)
{
	spin_lock(&h->lock);
	WRITE_ONCE(h->adding, i);
	if (h->stranger)
		set_tsk_thread_flag(h->stranger, TIF_NOTIFY_SIGNAL);
	spin_unlock(&h->lock);
}

/* Of any memory of the machine, by whoever it is. 0, or -errno: he shall not. */
static int ml_memory_goes_offline(struct ml_hotplug *h, unsigned long action)
{
	if (READ_ONCE(h->offlining) == current)
		return 0;
	if (action == MEM_GOING_OFFLINE)
		return ml_stranger_begins(h);
	if (action == MEM_OFFLINE || action == MEM_CANCEL_OFFLINE)
		ml_stranger_ends(h);
	return 0;
}

/* Called under the kernel's hotplug locks, by whoever onlines or offlines. */
static int ml_memory_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_hotplug *h = container_of(nb, struct ml_hotplug, notifier);
	struct ml_blocks *b = h->blocks;
	struct memory_notify *mhp = arg;
	u32 i = ml_blocks_of_pfn(b, mhp->start_pfn);
	int rc = ml_memory_goes_offline(h, action);
	enum ml_state state;

	if (rc || i >= b->count)
		return notifier_from_errno(rc);
	state = ml_blocks_state(b, i);
	switch (action) {
	case MEM_PREPARE_ONLINE:
	case MEM_GOING_ONLINE:
		if (READ_ONCE(h->adding) == i && READ_ONCE(h->onlining) != current)
			return notifier_from_errno(-EAGAIN);
		break;
	case MEM_GOING_OFFLINE:
		/* From here on programs get no page of it. Pages in use would have to be moved. */
		if (READ_ONCE(h->offlining) == current) {
			h->taken = ml_empty_in_use(mhp->start_pfn, mhp->start_pfn + mhp->nr_pages);
			if (h->taken)
				return notifier_from_errno(-EBUSY);
		}
		break;
	case MEM_ONLINE:
		/* Others may have chosen another kind of memory than we had. */
		ml_blocks_set_kernel(b, i, page_zonenum(pfn_to_page(mhp->start_pfn)) != ZONE_MOVABLE);
		if (state == ML_ADDED)
			ml_blocks_set(b, i, ML_ONLINE);
		if (READ_ONCE(h->onlining) != current)
			WRITE_ONCE(h->by_strangers, h->by_strangers + 1);
		break;
	case MEM_OFFLINE:
		if (READ_ONCE(h->offlining) != current)
			WRITE_ONCE(h->by_strangers, h->by_strangers + 1);
		if (state == ML_ONLINE)
			ml_blocks_set(b, i, ML_ADDED);
		break;
	}
	return NOTIFY_OK;
}

/* The device of a memory block, with a reference, or NULL. */
static struct device *ml_block_device(struct ml_hotplug *h, u32 i)
{
	struct ml_blocks *b = h->blocks;
	struct kset *devices = ml_wire_dev(b->wire)->kobj.kset;
	struct kobject *kobj;
	struct device *dev;
	char name[32];

	/* All devices of a system are in one kset; names on a bus are unique. */
	snprintf(name, sizeof(name), "memory%llu", div64_u64(ml_blocks_addr(b, i), b->mb_bytes));
	kobj = devices ? kset_find_obj(devices, name) : NULL;
	if (!kobj)
		return NULL;
	dev = kobj_to_dev(kobj);
	if (!dev->bus || strcmp(dev->bus->name, "memory")) {
		kobject_put(kobj);
		return NULL;
	}
	return dev;
}

/* The attribute `state` of a memory block's device. */
static struct device_attribute *ml_state_attribute(struct device *dev)
{
	const struct attribute_group **group;
	struct attribute **attr;

	for (group = dev->groups; group && *group; group++)
		for (attr = (*group)->attrs; attr && *attr; attr++)
			if (!strcmp((*attr)->name, "state"))
				return container_of(*attr, struct device_attribute, attr);
	return NULL;
}

/* Write to the attribute `state` of a block, as a user would. */
static int ml_block_write_state(struct ml_hotplug *h, u32 i, const char *what)
{
	struct device *dev = ml_block_device(h, i);
	struct device_attribute *attr = dev ? ml_state_attribute(dev) : NULL;
	ssize_t rc = -ENODEV;
	u32 tries;

	if (!attr || !attr->store)
		goto out;
	for (tries = 0; tries < ML_ONLINE_TRIES; tries++) {
		rc = attr->store(dev, attr, what, strlen(what));
		if (rc != -ERESTARTNOINTR)
			break;
		/* Somebody has the hotplug lock; the store asks for a restart by a signal. */
		recalc_sigpending();
		msleep(ML_ONLINE_PAUSE_MS);
	}
out:
	if (dev)
		put_device(dev);
	return rc < 0 ? rc : 0;
}

static int ml_block_online(struct ml_hotplug *h, u32 i)
{
	struct ml_blocks *b = h->blocks;
	unsigned int flags = memalloc_noreclaim_save();
	int rc;

	WRITE_ONCE(h->onlining, current);
	rc = ml_block_write_state(h, i, ml_blocks_is_kernel(b, i) ? "online_kernel" : "online_movable");
	WRITE_ONCE(h->onlining, NULL);
	memalloc_noreclaim_restore(flags);
	return rc;
}

static int ml_block_add_memory(struct ml_hotplug *h, u32 i)
{
	struct ml_blocks *b = h->blocks;
	u64 addr = ml_blocks_addr(b, i);
	int rc;

	if (!ML_MEMMAP_KNOWN || h->memmap_inside) {
		rc = add_memory_driver_managed(h->nid, addr, b->mb_bytes, ML_RESOURCE_NAME,
					       MHP_MERGE_RESOURCE | MHP_MEMMAP_ON_MEMORY);
		if (rc != -EINVAL || ML_MEMMAP_KNOWN) {
			if (!rc)
				h->memmap_inside = true;
			return rc;
		}
	}
	return add_memory_driver_managed(h->nid, addr, b->mb_bytes, ML_RESOURCE_NAME,
					 MHP_MERGE_RESOURCE);
}

int ml_hotplug_add(struct ml_hotplug *h, u32 i)
{
	struct ml_blocks *b = h->blocks;
	int rc;

	lockdep_assert_held(&b->hotplug);
	if (!h->memmap_inside) {
		rc = ml_reserve_use(&h->reserve, b->mb_bytes);
		if (rc)
			return rc;
	}
	ml_blocks_set(b, i, ML_ADDED);
	ml_adding_begins(h, i);
	rc = ml_block_add_memory(h, i);
	if (!rc) {
		rc = ml_block_online(h, i);
		if (rc) {
			h->online_failures++;
			dev_warn_once(ml_wire_dev(b->wire),
				      "memory at %#llx was added but could not be onlined (error %d): it is removed again; see docs/guest.md\n",
				      ml_blocks_addr(b, i), rc);
		}
		if (rc && remove_memory(ml_blocks_addr(b, i), b->mb_bytes))
			rc = 0;	/* it stays, and somebody may online it by hand */
	}
	WRITE_ONCE(h->adding, b->count);
	if (rc)
		ml_blocks_set(b, i, ML_COMMITTED);
	return rc;
}

/* The pages of an online block, without those that hold its own page array. */
static void ml_block_pages(const struct ml_hotplug *h, u32 i, unsigned long *start,
			   unsigned long *end)
{
	*start = PHYS_PFN(ml_blocks_addr(h->blocks, i));
	*end = *start + PHYS_PFN(h->blocks->mb_bytes);
	if (h->memmap_inside)
		*start += pageblock_align(PFN_UP((*end - *start) * sizeof(struct page)));
}

static int ml_block_remove(struct ml_hotplug *h, u32 i)
{
	return offline_and_remove_memory(ml_blocks_addr(h->blocks, i), h->blocks->mb_bytes);
}

static int ml_block_offline(struct ml_hotplug *h, u32 i)
{
	return ml_block_write_state(h, i, "offline");
}

/*
 * Have the kernel take a block offline, by `how`, but only once it is empty, so that
 * it finds nothing to complain of. The memory notifier refuses where programs have
 * taken pages of it again in the meantime; then anew.
 */
static int ml_block_clear(struct ml_hotplug *h, u32 i, int (*how)(struct ml_hotplug *h, u32 i))
{
	unsigned long start, end;
	unsigned int flags;
	int rc = -EBUSY;
	u32 tries;

	ml_block_pages(h, i, &start, &end);
	for (tries = 0; tries < ML_OFFLINE_TRIES; tries++) {
		if (pfn_to_online_page(end - 1)) {
			rc = ml_empty_range(start, end);
			if (rc)
				return rc;
		}
		/* Nothing is left to be moved; what the kernel takes for itself comes out of reserves. */
		flags = memalloc_noreclaim_save();
		h->taken = 0;
		WRITE_ONCE(h->offlining, current);
		rc = how(h, i);
		WRITE_ONCE(h->offlining, NULL);
		memalloc_noreclaim_restore(flags);
		if (!h->taken)
			break;
	}
	return rc;
}

int ml_hotplug_remove(struct ml_hotplug *h, u32 i)
{
	struct ml_blocks *b = h->blocks;
	u64 addr = ml_blocks_addr(b, i);
	int rc;

	lockdep_assert_held(&b->hotplug);
	ml_blocks_set(b, i, ML_REMOVING);
	rc = ml_block_clear(h, i, ml_block_remove);
	if (!rc) {
		ml_blocks_set(b, i, ML_COMMITTED);
		return 0;
	}
	h->offline_failures++;
	/* The last page: the first ones may hold the block's own page array. */
	if (pfn_to_online_page(PHYS_PFN(addr + b->mb_bytes) - 1))
		ml_blocks_set(b, i, ML_ONLINE);
	else
		ml_blocks_set(b, i, ML_ADDED);
	return rc;
}

int ml_hotplug_convert(struct ml_hotplug *h, u32 i, bool kernel)
{
	struct ml_blocks *b = h->blocks;
	int rc, again;

	lockdep_assert_held(&b->hotplug);
	WRITE_ONCE(h->adding, i);
	/* The notifier makes it ADDED, and ONLINE again. */
	rc = ml_block_clear(h, i, ml_block_offline);
	if (rc) {
		h->offline_failures++;
		goto out;
	}
	ml_blocks_set_kernel(b, i, kernel);
	rc = ml_block_online(h, i);
	if (!rc)
		goto out;
	h->online_failures++;
	ml_blocks_set_kernel(b, i, !kernel);
	again = ml_block_online(h, i);
	if (again)
		dev_warn(ml_wire_dev(b->wire),
			 "memory at %#llx was taken offline and could not be onlined again (error %d)\n",
			 ml_blocks_addr(b, i), again);
out:
	WRITE_ONCE(h->adding, b->count);
	return rc;
}

u64 ml_hotplug_used_bytes(struct ml_hotplug *h, u32 i, bool *pinned)
{
	struct ml_blocks *b = h->blocks;
	unsigned long pfn = PHYS_PFN(ml_blocks_addr(b, i));
	unsigned long end = pfn + PHYS_PFN(b->mb_bytes);
	u64 used = 0;

	*pinned = false;
	if (h->memmap_inside)
		pfn += PFN_UP((end - pfn) * sizeof(struct page));
	/* Without the zone's lock: free pages come and go, this only ranks blocks. */
	while (pfn < end) {
		struct page *page = pfn_to_online_page(pfn);
		unsigned long order;

		if (!page)
			return used;
		if (PageBuddy(page)) {
			order = READ_ONCE(page->private);
			pfn += order <= ML_MAX_PAGE_ORDER ? 1UL << order : 1;
			continue;
		}
		if (page_count(page) && !PageLRU(page) && !ml_page_has_movable_ops(page))
			*pinned = true;
		used += PAGE_SIZE;
		pfn++;
	}
	return used;
}

u32 ml_hotplug_by_strangers(const struct ml_hotplug *h)
{
	return READ_ONCE(h->by_strangers);
}

void ml_hotplug_keep_reserve(struct ml_hotplug *h)
{
	if (h->memmap_inside)
		ml_reserve_exit(&h->reserve);
	else
		ml_reserve_keep(&h->reserve);
}

void ml_hotplug_drop_reserve(struct ml_hotplug *h)
{
	ml_reserve_exit(&h->reserve);
}

int ml_hotplug_init(struct ml_hotplug *h, struct ml_blocks *blocks)
{
	h->blocks = blocks;
	h->adding = blocks->count;
	spin_lock_init(&h->lock);
	h->memmap_inside = ml_memmap_on_memory();
	/* Of memory that is still to come the firmware may say another node than the first. */
	h->nid = phys_to_target_node(blocks->addr);
	if (h->nid == NUMA_NO_NODE)
		h->nid = memory_add_physaddr_to_nid(blocks->addr);
	if (h->nid == NUMA_NO_NODE)
		h->nid = first_online_node;
	ml_reserve_init(&h->reserve);
	h->notifier.notifier_call = ml_memory_notify;
	return register_memory_notifier(&h->notifier);
}

void ml_hotplug_exit(struct ml_hotplug *h)
{
	unregister_memory_notifier(&h->notifier);
}
