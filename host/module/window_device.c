// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A character device for each window, which QEMU opens by its path in /dev/memlease and
 * maps; see window_device.h.
 */
#include <linux/cdev.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/device/class.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/kdev_t.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/uidgid.h>
#include <linux/uio.h>
#include <linux/xarray.h>

#include "fault.h"
#include "locks.h"
#include "mappers.h"
#include "peek.h"
#include "ranges.h"
#include "rings.h"
#include "window_device.h"

#define MLP_MINORS		(MINORMASK + 1)	/* all that there are */

struct mlp_device {
	struct mlp_window window;
	u32 minor;		/* not used again soon */
	u32 place;		/* of the window, in mlp_mapping */
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
	u32 opened;		/* files; under mlp_lock */
	bool gone;		/* its node is removed; under mlp_lock */
	bool seen;		/* somebody has mapped it since it was last said to be closed */
	u32 closed_mark;	/* for mlp_touch_once(), under mlp_rings_lock() */
	struct device dev;
};

static struct class *mlp_class;
static dev_t mlp_first_dev;
static struct cdev mlp_cdev;		/* of all windows */
/* All of these under mlp_lock. */
static DEFINE_XARRAY(mlp_by_id);
static DEFINE_XARRAY_ALLOC(mlp_by_minor);
static DEFINE_IDA(mlp_places);
static u32 mlp_last_id;
static u32 mlp_next_minor;

static void mlp_device_release(struct device *dev)
{
	struct mlp_device *d = container_of(dev, struct mlp_device, dev);

	mlp_window_free(&d->window);
	kfree(d);
}

static char *mlp_device_devnode(const struct device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	const struct mlp_device *d = container_of(dev, struct mlp_device, dev);

	if (mode)
		*mode = d->mode;
	if (uid)
		*uid = d->uid;
	if (gid)
		*gid = d->gid;
	return kasprintf(GFP_KERNEL, "memlease/%s", d->window.name);
}

static const struct device_type mlp_device_type = {
	.name = "memlease_window",
	.devnode = mlp_device_devnode,
	.release = mlp_device_release,
};

/* --- files of a window -------------------------------------------------------- */

static int mlp_device_open(struct inode *inode, struct file *file)
{
	struct mlp_device *d;
	int rc = -ENXIO;

	mutex_lock(&mlp_lock);
	d = xa_load(&mlp_by_minor, iminor(inode));
	if (d && !d->gone) {
		d->opened++;
		file->private_data = d;
		file->f_mapping = mlp_mapping;
		rc = 0;
	}
	mutex_unlock(&mlp_lock);
	return rc;
}

/*
 * The last file of the window is closed. The daemon is told if the window was mapped since
 * it was last told, for a process has seen what is in it then, or if the window's node is
 * gone, for then the daemon waits to destroy it.
 */
static void mlp_device_closed(struct mlp_device *d)
{
	if (!READ_ONCE(d->seen) && !d->gone)
		return;
	WRITE_ONCE(d->seen, false);
	mlp_rings_lock();
	mlp_touch_once(MEMLEASE_TOUCH_CLOSED, d->window.id, 0, &d->closed_mark);
	mlp_rings_unlock();
}

static int mlp_device_close(struct inode *inode, struct file *file)
{
	struct mlp_device *d = file->private_data;

	mutex_lock(&mlp_lock);
	if (!--d->opened) {
		WRITE_ONCE(d->window.starved, false);
		mlp_device_closed(d);
	}
	mutex_unlock(&mlp_lock);
	return 0;
}

/* The size is what QEMU compares with that of its memory backend. */
static loff_t mlp_device_llseek(struct file *file, loff_t offset, int whence)
{
	struct mlp_device *d = file->private_data;

	return fixed_size_llseek(file, offset, whence, (loff_t)d->window.slots << MEMLEASE_POOL_BLOCK_SHIFT);
}

static ssize_t mlp_device_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct mlp_device *d = iocb->ki_filp->private_data;
	ssize_t got = mlp_peek(&d->window, iocb->ki_pos, to);

	if (got > 0)
		iocb->ki_pos += got;
	return got;
}

static int mlp_device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mlp_device *d = file->private_data;
	pgoff_t pages = (pgoff_t)d->window.slots * MLP_BLOCK_PAGES;
	int rc;

	/* A private mapping would keep copies of its own; one only for reading, too, later. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	rc = mlp_window_need_zeros(&d->window);
	if (!rc)
		rc = mlp_mapper_add(&d->window, vma->vm_mm);
	if (rc)
		return rc;
	WRITE_ONCE(d->window.mapped, true);
	WRITE_ONCE(d->seen, true);
	vma->vm_pgoff += d->window.pgoff;
	vma->vm_private_data = &d->window;
	vma->vm_ops = &mlp_window_vm_ops;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP | VM_HUGEPAGE);
	return 0;
}

static const struct file_operations mlp_device_fops = {
	.owner = THIS_MODULE,
	.open = mlp_device_open,
	.release = mlp_device_close,
	.llseek = mlp_device_llseek,
	.read_iter = mlp_device_read_iter,
	.mmap = mlp_device_mmap,
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

static int mlp_device_check(const struct memlease_pool_window *arg)
{
	struct mlp_device *d;
	unsigned long id;

	if (!mlp_name_is_good(arg->name) || !arg->slots || arg->slots > MEMLEASE_POOL_MAX_SLOTS ||
	    arg->mode & ~0777 || !uid_valid(make_kuid(current_user_ns(), arg->uid)) ||
	    !gid_valid(make_kgid(current_user_ns(), arg->gid)))
		return -EINVAL;
	xa_for_each(&mlp_by_id, id, d) {
		if (!d->gone && !strcmp(d->window.name, arg->name))
			return -EEXIST;
	}
	return 0;
}

static struct mlp_device *mlp_device_alloc(const struct memlease_pool_window *arg)
{
	struct mlp_device *d = kzalloc(sizeof(*d), GFP_KERNEL);

	if (!d)
		return NULL;
	if (mlp_window_init(&d->window, arg->name, arg->slots)) {
		kfree(d);
		return NULL;
	}
	d->uid = make_kuid(current_user_ns(), arg->uid);
	d->gid = make_kgid(current_user_ns(), arg->gid);
	d->mode = arg->mode;
	device_initialize(&d->dev);
	d->dev.class = mlp_class;
	d->dev.type = &mlp_device_type;
	return d;
}

/*
 * A place in mlp_mapping, a minor number and an id. A process that still
 * has the node of a device that is gone could open with it a later device of the same minor
 * number. So all minor numbers are used before one is used again, and the first is random,
 * for the module may be loaded anew.
 */
static int mlp_device_number(struct mlp_device *d)
{
	int rc;

	/* Ids are never used again; the last is no window's, see MLP_OWNER_RETIRED. */
	if (mlp_last_id >= U32_MAX - 1)
		return -ENOSPC;
	rc = ida_alloc_max(&mlp_places, MEMLEASE_POOL_MAX_WINDOWS - 1, GFP_KERNEL);
	if (rc < 0)
		return rc;
	d->place = rc;
	mlp_window_place(&d->window, d->place);
	rc = xa_alloc_cyclic(&mlp_by_minor, &d->minor, d, XA_LIMIT(0, MINORMASK), &mlp_next_minor, GFP_KERNEL);
	if (rc < 0)
		goto place;
	d->window.id = mlp_last_id + 1;
	rc = xa_insert(&mlp_by_id, d->window.id, d, GFP_KERNEL);
	if (!rc)
		return 0;
	xa_erase(&mlp_by_minor, d->minor);
place:
	ida_free(&mlp_places, d->place);
	return rc;
}

static void mlp_device_unnumber(struct mlp_device *d)
{
	xa_erase(&mlp_by_id, d->window.id);
	xa_erase(&mlp_by_minor, d->minor);
	ida_free(&mlp_places, d->place);
}

int mlp_device_create(struct memlease_pool_window *arg)
{
	struct mlp_device *d;
	int rc;

	lockdep_assert_held(&mlp_lock);
	rc = mlp_device_check(arg);
	if (rc)
		return rc;
	d = mlp_device_alloc(arg);
	if (!d)
		return -ENOMEM;
	rc = mlp_device_number(d);
	if (rc)
		goto put;
	d->dev.devt = MKDEV(MAJOR(mlp_first_dev), d->minor);
	rc = dev_set_name(&d->dev, "%s", d->window.name);
	if (!rc)
		rc = device_add(&d->dev);
	if (rc)
		goto unnumber;
	mlp_last_id = d->window.id;
	__module_get(THIS_MODULE);
	arg->id = d->window.id;
	arg->committed = 0;
	arg->resident = 0;
	arg->opened = 0;
	return 0;
unnumber:
	mlp_device_unnumber(d);
put:
	put_device(&d->dev);
	return rc;
}

int mlp_device_destroy(u32 id)
{
	struct mlp_device *d = xa_load(&mlp_by_id, id);

	if (!d)
		return -ENOENT;
	if (!d->gone) {
		d->gone = true;
		device_del(&d->dev);
	}
	if (d->opened)
		return -EBUSY;
	if (!mlp_window_end(&d->window))
		return -ENOTEMPTY;
	mlp_device_unnumber(d);
	put_device(&d->dev);
	module_put(THIS_MODULE);
	return 0;
}

int mlp_device_read(struct memlease_pool_window *arg)
{
	unsigned long id = arg->id;
	struct mlp_device *d = xa_find_after(&mlp_by_id, &id, U32_MAX, XA_PRESENT);

	if (!d)
		return -ENOENT;
	*arg = (struct memlease_pool_window){
		.id = d->window.id, .slots = d->window.slots, .mode = d->mode, .opened = d->opened,
		.uid = from_kuid_munged(current_user_ns(), d->uid),
		.gid = from_kgid_munged(current_user_ns(), d->gid),
		.committed = READ_ONCE(d->window.committed), .resident = atomic_read(&d->window.resident),
	};
	strscpy(arg->name, d->window.name, sizeof(arg->name));
	return 0;
}

void mlp_devices_count(struct memlease_pool_info *info)
{
	struct mlp_device *d;
	unsigned long id;

	xa_for_each(&mlp_by_id, id, d) {
		info->windows++;
		info->resident += atomic_read(&d->window.resident);
		info->metadata_bytes += sizeof(*d) + (u64)d->window.slots * sizeof(*d->window.slot);
	}
}

struct mlp_window *mlp_device_get(u32 id)
{
	struct mlp_device *d;

	mutex_lock(&mlp_lock);
	d = xa_load(&mlp_by_id, id);
	if (d)
		get_device(&d->dev);
	mutex_unlock(&mlp_lock);
	return d ? &d->window : NULL;
}

void mlp_device_put(struct mlp_window *w)
{
	put_device(&container_of(w, struct mlp_device, window)->dev);
}

void mlp_devices_unshow_zeros(void)
{
	struct mlp_device *d;
	unsigned long id;

	mutex_lock(&mlp_lock);
	xa_for_each(&mlp_by_id, id, d) {
		mlp_lock_slots(&d->window);
		mlp_window_unshow(&d->window, 0, d->window.slots);
		mlp_unlock_slots(&d->window);
	}
	mutex_unlock(&mlp_lock);
}

/* --- the class ------------------------------------------------------------------- */

int mlp_devices_init(void)
{
	int rc = alloc_chrdev_region(&mlp_first_dev, 0, MLP_MINORS, "memlease");

	if (rc)
		return rc;
	mlp_class = class_create("memlease");
	if (IS_ERR(mlp_class)) {
		rc = PTR_ERR(mlp_class);
		goto put_region;
	}
	cdev_init(&mlp_cdev, &mlp_device_fops);
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
	return rc;
}

void mlp_devices_exit(void)
{
	cdev_del(&mlp_cdev);
	class_destroy(mlp_class);
	unregister_chrdev_region(mlp_first_dev, MLP_MINORS);
	xa_destroy(&mlp_by_id);
	xa_destroy(&mlp_by_minor);
	ida_destroy(&mlp_places);
}
