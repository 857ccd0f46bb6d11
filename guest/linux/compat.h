/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the kernels that the driver is built for (6.1, 6.12, 7.x); included
 * by the files that need one of these, which are written for the newest kernel. Goes by
 * what the headers have (ML_HAVE_ macros, see Kbuild), not by versions: distributions take
 * things into older ones.
 */
#ifndef MEMLEASE_COMPAT_H
#define MEMLEASE_COMPAT_H

#include <linux/log2.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/migrate.h>
#include <linux/page-flags.h>
#include <linux/pci.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

/* 6.11: names, callbacks and contexts of virtqueues came together in one array. */
#ifndef ML_HAVE_VIRTQUEUE_INFO
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};

#define ML_FIND_VQS_MAX	8

static inline int ml_find_vqs(struct virtio_device *vdev, unsigned int count,
			      struct virtqueue *vqs[], struct virtqueue_info info[])
{
	vq_callback_t *callbacks[ML_FIND_VQS_MAX];
	const char *names[ML_FIND_VQS_MAX];
	unsigned int i;

	if (count > ML_FIND_VQS_MAX)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		callbacks[i] = info[i].callback;
		names[i] = info[i].name;
	}
	return virtio_find_vqs(vdev, count, vqs, callbacks, names, NULL);
}
#else
static inline int ml_find_vqs(struct virtio_device *vdev, unsigned int count,
			      struct virtqueue *vqs[], struct virtqueue_info info[])
{
	return virtio_find_vqs(vdev, count, vqs, info, NULL);
}
#endif

/* 6.7: shrinkers are allocated by the core, so that they can be freed by RCU. */
#ifndef ML_HAVE_SHRINKER_ALLOC
struct ml_own_shrinker {
	struct shrinker shrinker;
	void *private_data;
	bool registered;
};

static inline struct shrinker *ml_shrinker_alloc(void *private_data)
{
	struct ml_own_shrinker *own = kzalloc(sizeof(*own), GFP_KERNEL);

	if (!own)
		return NULL;
	own->private_data = private_data;
	return &own->shrinker;
}

static inline void *ml_shrinker_private(struct shrinker *shrinker)
{
	return container_of(shrinker, struct ml_own_shrinker, shrinker)->private_data;
}

static inline int ml_shrinker_register(struct shrinker *shrinker)
{
	int rc = register_shrinker(shrinker, "memlease");

	container_of(shrinker, struct ml_own_shrinker, shrinker)->registered = !rc;
	return rc;
}

/* Also takes NULL, and one that was never registered. */
static inline void ml_shrinker_free(struct shrinker *shrinker)
{
	struct ml_own_shrinker *own;

	if (!shrinker)
		return;
	own = container_of(shrinker, struct ml_own_shrinker, shrinker);
	if (own->registered)
		unregister_shrinker(shrinker);
	kfree(own);
}
#else
static inline struct shrinker *ml_shrinker_alloc(void *private_data)
{
	struct shrinker *shrinker = shrinker_alloc(0, "memlease");

	if (shrinker)
		shrinker->private_data = private_data;
	return shrinker;
}

static inline void *ml_shrinker_private(struct shrinker *shrinker)
{
	return shrinker->private_data;
}

static inline int ml_shrinker_register(struct shrinker *shrinker)
{
	shrinker_register(shrinker);
	return 0;
}

static inline void ml_shrinker_free(struct shrinker *shrinker)
{
	shrinker_free(shrinker);
}
#endif

/*
 * 6.8 to 6.18 ask before the page array of a memory block is set up, all ask
 * when it is: refusing at the first spares the work. A value that no kernel
 * sends stands for the question where it is not asked.
 */
#ifndef MEM_PREPARE_ONLINE
#define MEM_PREPARE_ONLINE	(~0UL)
#endif

/* 6.8: kernels say whether page arrays go into added memory; before, adding tells. */
#ifndef ML_HAVE_MEMMAP_QUESTION
#define ML_MEMMAP_KNOWN		false
static inline bool ml_memmap_on_memory(void)
{
	return false;
}
#else
#define ML_MEMMAP_KNOWN		true
static inline bool ml_memmap_on_memory(void)
{
	return mhp_supports_memmap_on_memory();
}
#endif

/* 6.4 made the largest order of the page allocator inclusive, 6.8 renamed it. */
#define ML_MAX_PAGE_ORDER	ilog2(MAX_ORDER_NR_PAGES)

/*
 * A page that counts as movable, and does not let itself be moved: the caller has
 * it, locked, and frees it after ml_clear_page_movable().
 *
 * Up to 6.16 the page leads to the operations. 6.17 keeps movability to the
 * kernel's own kinds of page. One of them is the balloon's, and its operations
 * leave a page alone that has nothing in `private` (linux/balloon.h says so): it
 * is on its way into or out of the balloon. Such a page keeps its kind until it is
 * freed. Without the balloon's operations only ZONE_MOVABLE's pages pass for
 * movable; of other zones the kernel then refuses.
 */
#ifdef ML_HAVE_PAGE_OPERATIONS
#define ml_page_has_movable_ops(page)	__PageMovable(page)
#define ml_set_page_movable(page, ops)	__SetPageMovable(page, ops)
#define ml_clear_page_movable(page)	__ClearPageMovable(page)
#else
#define ml_page_has_movable_ops(page)	page_has_movable_ops(page)

static inline void ml_set_page_movable(struct page *page, const struct movable_operations *ops)
{
#if IS_ENABLED(CONFIG_BALLOON_COMPACTION) || IS_ENABLED(CONFIG_BALLOON_MIGRATION)
	set_page_private(page, 0);
	__SetPageOffline(page);
	SetPageMovableOps(page);
#endif
}

static inline void ml_clear_page_movable(struct page *page)
{
}
#endif

/* 7.0 has drivers' overrides in all devices; older ones had them in each bus's own. */
#ifdef ML_HAVE_DRIVER_OVERRIDE
#define ml_pci_only_driver(pdev, name)	device_set_driver_override(&(pdev)->dev, name)
#else
/* Where the device's lock is held, as in a driver's remove(). */
static inline int ml_pci_only_driver(struct pci_dev *pdev, const char *name)
{
	const char *old = pdev->driver_override, *new = kstrdup(name, GFP_KERNEL);

	if (!new)
		return -ENOMEM;
	pdev->driver_override = new;
	kfree(old);
	return 0;
}
#endif

/* 6.17 says with flags what the kind of page block said. */
#ifndef ACR_FLAGS_NONE
#define ml_alloc_contig_range(start, end, gfp) \
	alloc_contig_range(start, end, MIGRATE_MOVABLE, gfp)
#else
#define ml_alloc_contig_range(start, end, gfp) \
	alloc_contig_range(start, end, ACR_FLAGS_NONE, gfp)
#endif

#endif /* MEMLEASE_COMPAT_H */
