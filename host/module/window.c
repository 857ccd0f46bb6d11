// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Windows: a character device each, which QEMU opens by its path in /dev/memlease
 * and maps; see pool_module.h. Made and removed by control.c.
 */
#include <linux/anon_inodes.h>
#include <linux/cdev.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/device/class.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/uidgid.h>
#include <linux/xarray.h>

#include "pool_module.h"

/*
 * Places in mlp_mapping, in pages: the pool comes first, then one stretch for each
 * window index. All of them fit what the kernel takes for an offset of a file.
 */
#define MLP_WINDOW_PAGES	((pgoff_t)MEMLEASE_POOL_MAX_SLOTS * MLP_BLOCK_PAGES)
#define MLP_POOL_STRETCHES	(MEMLEASE_POOL_MAX_BLOCKS / MEMLEASE_POOL_MAX_SLOTS + 1)

#define MLP_MINORS		(MINORMASK + 1)	/* all that there are */

struct address_space *mlp_mapping;

static struct file *mlp_mapping_file;	/* what holds it */
static struct class *mlp_class;
static dev_t mlp_first_dev;
static struct cdev mlp_cdev;		/* of all windows */
/* All of these under mlp_lock. */
static DEFINE_XARRAY(mlp_by_id);
static DEFINE_XARRAY_ALLOC(mlp_by_minor);
static DEFINE_IDA(mlp_places);
static u32 mlp_last_id;
static u32 mlp_next_minor;

static void mlp_window_release(struct device *dev)
{
	struct mlp_window *w = container_of(dev, struct mlp_window, dev);

	kvfree(w->slot);
	kfree(w);
}

static char *mlp_window_devnode(const struct device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	const struct mlp_window *w = container_of(dev, struct mlp_window, dev);

	if (mode)
		*mode = w->mode;
	if (uid)
		*uid = w->uid;
	if (gid)
		*gid = w->gid;
	return kasprintf(GFP_KERNEL, "memlease/%s", w->name);
}

static const struct device_type mlp_window_type = {
	.name = "memlease_window",
	.devnode = mlp_window_devnode,
	.release = mlp_window_release,
};

/* --- files of a window -------------------------------------------------------- */

static int mlp_window_open(struct inode *inode, struct file *file)
{
	struct mlp_window *w;
	int rc = -ENXIO;

	mutex_lock(&mlp_lock);
	w = xa_load(&mlp_by_minor, iminor(inode));
	if (w && !w->gone) {
		w->opened++;
		file->private_data = w;
		file->f_mapping = mlp_mapping;
		rc = 0;
	}
	mutex_unlock(&mlp_lock);
	return rc;
}

/*
 * Nobody has it open any more. The daemon wants to know if somebody had seen what is in
 * it, or if it waits for this to have the window go.
 */
static void mlp_window_closed(struct mlp_window *w)
{
	if (!READ_ONCE(w->seen) && !w->gone)
		return;
	WRITE_ONCE(w->seen, false);
	mlp_rings_lock();
	mlp_touch_once(MEMLEASE_TOUCH_CLOSED, w->id, 0, &w->closed_mark);
	mlp_rings_unlock();
}

static int mlp_window_close(struct inode *inode, struct file *file)
{
	struct mlp_window *w = file->private_data;

	mutex_lock(&mlp_lock);
	if (!--w->opened) {
		WRITE_ONCE(w->starved, false);
		mlp_window_closed(w);
	}
	mutex_unlock(&mlp_lock);
	return 0;
}

/* The size is what QEMU compares with that of its memory backend. */
static loff_t mlp_window_llseek(struct file *file, loff_t offset, int whence)
{
	struct mlp_window *w = file->private_data;

	return fixed_size_llseek(file, offset, whence, (loff_t)w->slots << MEMLEASE_POOL_BLOCK_SHIFT);
}

static int mlp_window_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mlp_window *w = file->private_data;
	pgoff_t pages = (pgoff_t)w->slots * MLP_BLOCK_PAGES;
	int rc;

	/* A private mapping would keep copies of its own; one only for reading, too, later. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	rc = mlp_mapper_add(w, vma->vm_mm);
	if (rc)
		return rc;
	WRITE_ONCE(w->mapped, true);
	WRITE_ONCE(w->seen, true);
	vma->vm_pgoff += w->pgoff;
	vma->vm_private_data = w;
	vma->vm_ops = &mlp_window_vm_ops;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP | VM_HUGEPAGE);
	return 0;
}

static const struct file_operations mlp_window_fops = {
	.owner = THIS_MODULE,
	.open = mlp_window_open,
	.release = mlp_window_close,
	.llseek = mlp_window_llseek,
	.mmap = mlp_window_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
};

/* --- making and removing -------------------------------------------------------- */

static bool mlp_name_is_good(const char *name)
{
	size_t i, n = strnlen(name, MEMLEASE_POOL_NAME_BYTES);

	if (!n || n == MEMLEASE_POOL_NAME_BYTES || name[0] == '.')
		return false;
	for (i = 0; i < n; i++) {
		if (!isascii(name[i]) || (!isalnum(name[i]) && !strchr("._-", name[i])))
			return false;
	}
	return true;
}

static int mlp_window_check(const struct memlease_pool_window *arg)
{
	struct mlp_window *w;
	unsigned long id;

	if (!mlp_name_is_good(arg->name) || !arg->slots || arg->slots > MEMLEASE_POOL_MAX_SLOTS ||
	    arg->mode & ~0777 || !uid_valid(make_kuid(current_user_ns(), arg->uid)) ||
	    !gid_valid(make_kgid(current_user_ns(), arg->gid)))
		return -EINVAL;
	xa_for_each(&mlp_by_id, id, w) {
		if (!w->gone && !strcmp(w->name, arg->name))
			return -EEXIST;
	}
	return 0;
}

static struct mlp_window *mlp_window_alloc(const struct memlease_pool_window *arg)
{
	struct mlp_window *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	w->slot = kvcalloc(arg->slots, sizeof(*w->slot), GFP_KERNEL);
	if (!w->slot) {
		kfree(w);
		return NULL;
	}
	w->slots = arg->slots;
	strscpy(w->name, arg->name, sizeof(w->name));
	w->uid = make_kuid(current_user_ns(), arg->uid);
	w->gid = make_kgid(current_user_ns(), arg->gid);
	w->mode = arg->mode;
	init_rwsem(&w->lock);
	spin_lock_init(&w->mappers_lock);
	INIT_LIST_HEAD(&w->mappers);
	device_initialize(&w->dev);
	w->dev.class = mlp_class;
	w->dev.type = &mlp_window_type;
	return w;
}

/*
 * A place in mlp_mapping, a minor number and an id. Whoever still holds the node of a
 * device that is gone could open with it what has the same minor number later: so they
 * go round before one comes again, and begin anywhere, as the module may be loaded anew.
 */
static int mlp_window_number(struct mlp_window *w)
{
	int rc;

	/* Ids are never used again; the last is no window's, see MLP_OWNER_RETIRED. */
	if (mlp_last_id >= U32_MAX - 1)
		return -ENOSPC;
	rc = ida_alloc_max(&mlp_places, MEMLEASE_POOL_MAX_WINDOWS - 1, GFP_KERNEL);
	if (rc < 0)
		return rc;
	w->place = rc;
	w->pgoff = (MLP_POOL_STRETCHES + w->place) * MLP_WINDOW_PAGES;
	rc = xa_alloc_cyclic(&mlp_by_minor, &w->minor, w, XA_LIMIT(0, MINORMASK), &mlp_next_minor, GFP_KERNEL);
	if (rc < 0)
		goto place;
	w->id = mlp_last_id + 1;
	rc = xa_insert(&mlp_by_id, w->id, w, GFP_KERNEL);
	if (!rc)
		return 0;
	xa_erase(&mlp_by_minor, w->minor);
place:
	ida_free(&mlp_places, w->place);
	return rc;
}

static void mlp_window_unnumber(struct mlp_window *w)
{
	xa_erase(&mlp_by_id, w->id);
	xa_erase(&mlp_by_minor, w->minor);
	ida_free(&mlp_places, w->place);
}

int mlp_window_create(struct memlease_pool_window *arg)
{
	struct mlp_window *w;
	int rc = mlp_window_check(arg);

	if (rc)
		return rc;
	w = mlp_window_alloc(arg);
	if (!w)
		return -ENOMEM;
	rc = mlp_window_number(w);
	if (rc)
		goto put;
	w->dev.devt = MKDEV(MAJOR(mlp_first_dev), w->minor);
	rc = dev_set_name(&w->dev, "%s", w->name);
	if (!rc)
		rc = device_add(&w->dev);
	if (rc)
		goto unnumber;
	mlp_last_id = w->id;
	__module_get(THIS_MODULE);
	arg->id = w->id;
	arg->committed = 0;
	arg->resident = 0;
	arg->opened = 0;
	return 0;
unnumber:
	mlp_window_unnumber(w);
put:
	put_device(&w->dev);
	return rc;
}

int mlp_window_destroy(u32 id)
{
	struct mlp_window *w = xa_load(&mlp_by_id, id);

	if (!w)
		return -ENOENT;
	if (!w->gone) {
		w->gone = true;
		device_del(&w->dev);
	}
	if (w->opened)
		return -EBUSY;
	down_write(&w->lock);
	w->dead = !atomic_read(&w->resident);
	up_write(&w->lock);
	if (!w->dead)
		return -ENOTEMPTY;
	mlp_window_unnumber(w);
	put_device(&w->dev);
	module_put(THIS_MODULE);
	return 0;
}

int mlp_window_read(struct memlease_pool_window *arg)
{
	unsigned long id = arg->id;
	struct mlp_window *w = xa_find_after(&mlp_by_id, &id, U32_MAX, XA_PRESENT);

	if (!w)
		return -ENOENT;
	*arg = (struct memlease_pool_window){
		.id = w->id, .slots = w->slots, .mode = w->mode, .opened = w->opened,
		.uid = from_kuid_munged(current_user_ns(), w->uid),
		.gid = from_kgid_munged(current_user_ns(), w->gid),
		.committed = READ_ONCE(w->committed), .resident = atomic_read(&w->resident),
	};
	strscpy(arg->name, w->name, sizeof(arg->name));
	return 0;
}

void mlp_windows_count(struct memlease_pool_info *info)
{
	struct mlp_window *w;
	unsigned long id;

	xa_for_each(&mlp_by_id, id, w) {
		info->windows++;
		info->resident += atomic_read(&w->resident);
		info->metadata_bytes += sizeof(*w) + (u64)w->slots * sizeof(*w->slot);
	}
}

struct mlp_window *mlp_window_get(u32 id)
{
	struct mlp_window *w;

	mutex_lock(&mlp_lock);
	w = xa_load(&mlp_by_id, id);
	if (w)
		get_device(&w->dev);
	mutex_unlock(&mlp_lock);
	return w;
}

void mlp_window_put(struct mlp_window *w)
{
	put_device(&w->dev);
}

void mlp_windows_unshow_zeros(void)
{
	struct mlp_window *w;
	unsigned long id;

	mutex_lock(&mlp_lock);
	xa_for_each(&mlp_by_id, id, w) {
		mlp_lock_slots(w);
		mlp_slots_unshow(w, 0, w->slots);
		mlp_unlock_slots(w);
	}
	mutex_unlock(&mlp_lock);
}

/* --- the class, and what holds the mapping --------------------------------------- */

static const struct file_operations mlp_mapping_fops = {
	.llseek = noop_llseek,
};

int mlp_windows_init(void)
{
	int rc;

	BUILD_BUG_ON(PMD_SHIFT != MEMLEASE_POOL_BLOCK_SHIFT);
	mlp_mapping_file = anon_inode_create_getfile("[memlease]", &mlp_mapping_fops, NULL, O_RDWR, NULL);
	if (IS_ERR(mlp_mapping_file))
		return PTR_ERR(mlp_mapping_file);
	mlp_mapping = file_inode(mlp_mapping_file)->i_mapping;
	rc = alloc_chrdev_region(&mlp_first_dev, 0, MLP_MINORS, "memlease");
	if (rc)
		goto put_mapping;
	mlp_class = class_create("memlease");
	if (IS_ERR(mlp_class)) {
		rc = PTR_ERR(mlp_class);
		goto put_region;
	}
	cdev_init(&mlp_cdev, &mlp_window_fops);
	mlp_cdev.owner = THIS_MODULE;
	mlp_next_minor = get_random_u32_below(MLP_MINORS);
	rc = cdev_add(&mlp_cdev, mlp_first_dev, MLP_MINORS);
	if (rc)
		goto put_class;
	return 0;
put_class:
	class_destroy(mlp_class);
put_region:
	unregister_chrdev_region(mlp_first_dev, MLP_MINORS);
put_mapping:
	__fput_sync(mlp_mapping_file);
	return rc;
}

void mlp_windows_exit(void)
{
	cdev_del(&mlp_cdev);
	class_destroy(mlp_class);
	unregister_chrdev_region(mlp_first_dev, MLP_MINORS);
	xa_destroy(&mlp_by_id);
	xa_destroy(&mlp_by_minor);
	ida_destroy(&mlp_places);
	/* Not later: its operations are the module's, which is about to go. */
	__fput_sync(mlp_mapping_file);
}
