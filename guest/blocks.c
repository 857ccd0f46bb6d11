// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The memory blocks of the window; see blocks.h.
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
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat/compat.h"
#include "empty.h"
#include "memlease.h"

#define ML_RESOURCE_NAME	"System RAM (virtio_memlease)"
#define ML_ONLINE_TRIES		200
#define ML_ONLINE_PAUSE_MS	5
#define ML_OFFLINE_TRIES	8	/* while programs take pages again that were just emptied */

#define ML_TO(state)		BIT(ML_##state)

/* The legal moves. */
static const u16 ml_moves[ML_STATE_COUNT] = {
	[ML_VACANT]	= ML_TO(BORROWING) | ML_TO(LOST),
	[ML_BORROWING]	= ML_TO(COMMITTED) | ML_TO(RETURNING) | ML_TO(VACANT),
	[ML_COMMITTED]	= ML_TO(ADDED) | ML_TO(RETURNING),
	[ML_ADDED]	= ML_TO(ONLINE) | ML_TO(REMOVING) | ML_TO(COMMITTED),
	[ML_ONLINE]	= ML_TO(ADDED) | ML_TO(REMOVING),
	[ML_REMOVING]	= ML_TO(COMMITTED) | ML_TO(ADDED) | ML_TO(ONLINE),
	[ML_RETURNING]	= ML_TO(VACANT),
	[ML_LOST]	= 0,
};

static const char * const ml_state_names[ML_STATE_COUNT] = {
	"vacant", "borrowing", "committed", "added", "online", "removing", "returning", "lost",
};

const char *ml_state_text(enum ml_state state)
{
	return state < ML_STATE_COUNT ? ml_state_names[state] : "unknown";
}

static u64 ml_block_addr(const struct ml_blocks *b, u32 i)
{
	return b->addr + i * b->mb_bytes;
}

/* Under the lock. */
static void ml_block_move(struct ml_blocks *b, struct ml_block *block, enum ml_state state)
{
	WARN_ON_ONCE(!(ml_moves[block->state] & BIT(state)));
	if (block->retired && state == ML_VACANT)
		state = ML_LOST;
	b->in_state[block->state]--;
	b->in_state[state]++;
	block->state = state;
}

void ml_blocks_set(struct ml_device *ml, u32 i, enum ml_state state)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	ml_block_move(b, &b->block[i], state);
	spin_unlock_irqrestore(&b->lock, flags);
}

void ml_blocks_hold(struct ml_device *ml, u32 i, u32 slots)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long flags;
	u64 before, now;

	spin_lock_irqsave(&b->lock, flags);
	before = b->held_slots;
	b->held_slots += slots;
	b->held_slots -= b->block[i].held;
	b->block[i].held = slots;
	now = b->held_slots;
	/* Memory of ours in Linux' hands must not outlive the code that can give it back. */
	if (!before && now)
		__module_get(THIS_MODULE);
	else if (before && !now)
		module_put(THIS_MODULE);
	spin_unlock_irqrestore(&b->lock, flags);
}

u64 ml_blocks_held(struct ml_device *ml)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long flags;
	u64 held;

	spin_lock_irqsave(&b->lock, flags);
	held = b->held_slots;
	spin_unlock_irqrestore(&b->lock, flags);
	return held;
}

u32 ml_blocks_in(struct ml_device *ml, enum ml_state state)
{
	return READ_ONCE(ml->blocks.in_state[state]);
}

struct ml_span ml_blocks_span(struct ml_device *ml, u32 i, u32 slots)
{
	struct ml_blocks *b = &ml->blocks;

	return (struct ml_span){
		.region = MEMLEASE_REGION_WINDOW,
		.first = b->first_slot + (u64)i * b->slots_per_mb,
		.count = slots,
	};
}

u32 ml_blocks_take(struct ml_device *ml, bool kernel, u32 *picked, u32 n)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long flags;
	u32 step, got = 0;

	spin_lock_irqsave(&b->lock, flags);
	for (step = 0; step < b->count && got < n; step++) {
		u32 i = kernel ? step : b->count - 1 - step;

		if (b->block[i].state != ML_VACANT)
			continue;
		b->block[i].kernel = kernel;
		ml_block_move(b, &b->block[i], ML_BORROWING);
		picked[got++] = i;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return got;
}

/* The block that holds a page, or count. */
static u32 ml_block_of_pfn(const struct ml_blocks *b, unsigned long pfn)
{
	u64 addr = PFN_PHYS(pfn);

	if (addr < b->addr || addr >= b->addr + b->count * b->mb_bytes)
		return b->count;
	return div64_u64(addr - b->addr, b->mb_bytes);
}

/* Called with the kernel's hotplug locks held, by whoever onlines or offlines. */
static int ml_memory_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_blocks *b = container_of(nb, struct ml_blocks, notifier);
	struct ml_device *ml = container_of(b, struct ml_device, blocks);
	struct memory_notify *mhp = arg;
	u32 i = ml_block_of_pfn(b, mhp->start_pfn);
	u8 state;

	if (i >= b->count)
		return NOTIFY_DONE;
	state = READ_ONCE(b->block[i].state);
	switch (action) {
	case MEM_PREPARE_ONLINE:
	case MEM_GOING_ONLINE:
		if (READ_ONCE(b->adding) == i && READ_ONCE(b->onlining) != current)
			return notifier_from_errno(-EAGAIN);
		break;
	case MEM_GOING_OFFLINE:
		/* From here on nothing of it can be taken; what is in use would have to be moved. */
		if (READ_ONCE(b->offlining) == current) {
			b->taken = ml_empty_in_use(mhp->start_pfn, mhp->start_pfn + mhp->nr_pages);
			if (b->taken)
				return notifier_from_errno(-EBUSY);
		}
		break;
	case MEM_ONLINE:
		if (state == ML_ADDED)
			ml_blocks_set(ml, i, ML_ONLINE);
		break;
	case MEM_OFFLINE:
		if (state == ML_ONLINE)
			ml_blocks_set(ml, i, ML_ADDED);
		break;
	}
	return NOTIFY_OK;
}

/* The device of a memory block, with a reference, or NULL. */
static struct device *ml_block_device(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	struct kset *devices = ml->vdev->dev.kobj.kset;
	struct kobject *kobj;
	struct device *dev;
	char name[32];

	/* All devices of a system are in one kset; names on a bus are unique. */
	snprintf(name, sizeof(name), "memory%llu", div64_u64(ml_block_addr(b, i), b->mb_bytes));
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
static int ml_block_write_state(struct ml_device *ml, u32 i, const char *what)
{
	struct device *dev = ml_block_device(ml, i);
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

static int ml_block_online(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	int rc;

	WRITE_ONCE(b->onlining, current);
	rc = ml_block_write_state(ml, i, b->block[i].kernel ? "online_kernel" : "online_movable");
	WRITE_ONCE(b->onlining, NULL);
	return rc;
}

static int ml_block_add_memory(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	u64 addr = ml_block_addr(b, i);
	int rc;

	if (!ML_MEMMAP_KNOWN || b->memmap_inside) {
		rc = add_memory_driver_managed(b->nid, addr, b->mb_bytes, ML_RESOURCE_NAME,
					       MHP_MERGE_RESOURCE | MHP_MEMMAP_ON_MEMORY);
		if (rc != -EINVAL || ML_MEMMAP_KNOWN) {
			if (!rc)
				b->memmap_inside = true;
			return rc;
		}
	}
	return add_memory_driver_managed(b->nid, addr, b->mb_bytes, ML_RESOURCE_NAME,
					 MHP_MERGE_RESOURCE);
}

int ml_blocks_add(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	int rc;

	lockdep_assert_held(&b->hotplug);
	ml_blocks_set(ml, i, ML_ADDED);
	WRITE_ONCE(b->adding, i);
	rc = ml_block_add_memory(ml, i);
	if (!rc) {
		rc = ml_block_online(ml, i);
		if (rc) {
			b->online_failures++;
			dev_warn_once(&ml->vdev->dev,
				      "memory at %#llx was added but could not be onlined (error %d): it is removed again; see docs/guest.md\n",
				      ml_block_addr(b, i), rc);
		}
		if (rc && remove_memory(ml_block_addr(b, i), b->mb_bytes))
			rc = 0;	/* it stays, and somebody may online it by hand */
	}
	WRITE_ONCE(b->adding, b->count);
	if (rc)
		ml_blocks_set(ml, i, ML_COMMITTED);
	return rc;
}

/* The pages of an online block, without those that hold its own page array. */
static void ml_block_pages(const struct ml_blocks *b, u32 i, unsigned long *start,
			   unsigned long *end)
{
	*start = PHYS_PFN(ml_block_addr(b, i));
	*end = *start + PHYS_PFN(b->mb_bytes);
	if (b->memmap_inside)
		*start += pageblock_align(PFN_UP((*end - *start) * sizeof(struct page)));
}

static int ml_block_remove(struct ml_device *ml, u32 i)
{
	return offline_and_remove_memory(ml_block_addr(&ml->blocks, i), ml->blocks.mb_bytes);
}

static int ml_block_offline(struct ml_device *ml, u32 i)
{
	return ml_block_write_state(ml, i, "offline");
}

/*
 * Have the kernel take a block offline, by `how`, but only once it is empty, so that
 * it finds nothing to complain of. The memory notifier refuses where programs have
 * taken pages of it again in the meantime; then anew.
 */
static int ml_block_clear(struct ml_device *ml, u32 i, int (*how)(struct ml_device *ml, u32 i))
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long start, end;
	int rc = -EBUSY;
	u32 tries;

	ml_block_pages(b, i, &start, &end);
	for (tries = 0; tries < ML_OFFLINE_TRIES; tries++) {
		if (pfn_to_online_page(end - 1)) {
			rc = ml_empty_range(start, end);
			if (rc)
				return rc;
		}
		b->taken = 0;
		WRITE_ONCE(b->offlining, current);
		rc = how(ml, i);
		WRITE_ONCE(b->offlining, NULL);
		if (!b->taken)
			break;
	}
	return rc;
}

int ml_blocks_remove(struct ml_device *ml, u32 i)
{
	struct ml_blocks *b = &ml->blocks;
	u64 addr = ml_block_addr(b, i);
	int rc;

	lockdep_assert_held(&b->hotplug);
	ml_blocks_set(ml, i, ML_REMOVING);
	rc = ml_block_clear(ml, i, ml_block_remove);
	if (!rc) {
		ml_blocks_set(ml, i, ML_COMMITTED);
		return 0;
	}
	b->offline_failures++;
	/* The last page: the first ones may hold the block's own page array. */
	if (pfn_to_online_page(PHYS_PFN(addr + b->mb_bytes) - 1))
		ml_blocks_set(ml, i, ML_ONLINE);
	else
		ml_blocks_set(ml, i, ML_ADDED);
	return rc;
}

int ml_blocks_convert(struct ml_device *ml, u32 i, bool kernel)
{
	struct ml_blocks *b = &ml->blocks;
	int rc, again;

	lockdep_assert_held(&b->hotplug);
	WRITE_ONCE(b->adding, i);
	/* The notifier makes it ADDED, and ONLINE again. */
	rc = ml_block_clear(ml, i, ml_block_offline);
	if (rc) {
		b->offline_failures++;
		goto out;
	}
	WRITE_ONCE(b->block[i].kernel, kernel);
	rc = ml_block_online(ml, i);
	if (!rc)
		goto out;
	b->online_failures++;
	WRITE_ONCE(b->block[i].kernel, !kernel);
	again = ml_block_online(ml, i);
	if (again)
		dev_warn(&ml->vdev->dev,
			 "memory at %#llx was taken offline and could not be onlined again (error %d)\n",
			 ml_block_addr(b, i), again);
out:
	WRITE_ONCE(b->adding, b->count);
	return rc;
}

u32 ml_blocks_kernel(struct ml_device *ml)
{
	struct ml_blocks *b = &ml->blocks;
	u32 i, n = 0;

	for (i = 0; i < b->count; i++)
		n += READ_ONCE(b->block[i].kernel) && READ_ONCE(b->block[i].state) == ML_ONLINE;
	return n;
}

int ml_blocks_return(struct ml_device *ml, u32 i, struct ml_request *req)
{
	struct ml_span span = ml_blocks_span(ml, i, ml->blocks.block[i].held);
	int rc = 0;

	if (READ_ONCE(ml->blocks.block[i].state) != ML_RETURNING)
		ml_blocks_set(ml, i, ML_RETURNING);
	if (span.count) {
		ml_request_spans(req, MEMLEASE_REQ_RETURN, &span, 1);
		rc = ml_queue_call(&ml->queue, req);
		if (!rc && ml_request_done(req, 0) != span.count)
			rc = -EAGAIN;
	}
	WRITE_ONCE(ml->blocks.block[i].stuck, rc != 0);
	if (rc) {
		ml_failed(ml, "RETURN", rc);
		return rc;
	}
	ml_blocks_hold(ml, i, 0);
	ml_blocks_set(ml, i, ML_VACANT);
	return 0;
}

u64 ml_blocks_used_bytes(struct ml_device *ml, u32 i, bool *pinned)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long pfn = PHYS_PFN(ml_block_addr(b, i));
	unsigned long end = pfn + PHYS_PFN(b->mb_bytes);
	u64 used = 0;

	*pinned = false;
	if (b->memmap_inside)
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

void ml_blocks_retire(struct ml_device *ml, u64 first, u64 count)
{
	struct ml_blocks *b = &ml->blocks;
	unsigned long flags;
	u32 i;

	for (i = 0; i < b->count; i++) {
		struct ml_span span = ml_blocks_span(ml, i, b->slots_per_mb);

		if (first >= span.first + span.count || count <= span.first - min(first, span.first))
			continue;
		spin_lock_irqsave(&b->lock, flags);
		b->block[i].retired = true;
		if (b->block[i].state == ML_VACANT)
			ml_block_move(b, &b->block[i], ML_LOST);
		spin_unlock_irqrestore(&b->lock, flags);
	}
}

int ml_blocks_init(struct ml_device *ml)
{
	struct range usable = mhp_get_pluggable_range(true);
	const struct ml_layout *layout = &ml->fixed.layout;
	struct ml_blocks *b = &ml->blocks;
	int rc;

	mutex_init(&b->hotplug);
	spin_lock_init(&b->lock);
	b->mb_bytes = memory_block_size_bytes();
	b->slots_per_mb = b->mb_bytes >> MEMLEASE_BLOCK_SHIFT;
	b->count = ml_trim_window(layout, usable.start, usable.end, b->mb_bytes, &b->addr);
	if (!b->count && layout->window_bytes) {
		dev_err(&ml->vdev->dev,
			"the window [%#llx, +%#llx) holds no memory block of %llu MiB in [%#llx, %#llx], which is all this kernel can add\n",
			layout->window_addr, layout->window_bytes, b->mb_bytes >> 20,
			usable.start, usable.end);
		return -ERANGE;
	}
	if (!b->count)
		b->addr = layout->window_addr;
	b->first_slot = (b->addr - layout->window_addr) >> MEMLEASE_BLOCK_SHIFT;
	b->adding = b->count;
	b->memmap_inside = ml_memmap_on_memory();
	b->nid = memory_add_physaddr_to_nid(b->addr);
	if (b->nid == NUMA_NO_NODE)
		b->nid = first_online_node;

	/* A VM without a window still reports its boot memory. */
	b->block = kvcalloc(max(b->count, 1U), sizeof(*b->block), GFP_KERNEL);
	if (!b->block)
		return -ENOMEM;
	b->in_state[ML_VACANT] = b->count;
	b->notifier.notifier_call = ml_memory_notify;
	rc = register_memory_notifier(&b->notifier);
	if (rc)
		kvfree(b->block);
	return rc;
}

void ml_blocks_exit(struct ml_device *ml)
{
	unregister_memory_notifier(&ml->blocks.notifier);
	kvfree(ml->blocks.block);
}
