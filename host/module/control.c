// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control device, which the daemon opens: ioctls, rings, view of the pool; see
 * proto/memlease_ioctl.h. Arguments are copied in once, checked where they are
 * used, and copied out when the call succeeds.
 */
#include <linux/capability.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "control.h"
#include "daemon_view.h"
#include "locks.h"
#include "poison.h"
#include "ranges.h"
#include "rings.h"
#include "slots.h"
#include "wait.h"
#include "window_device.h"

#define MLP_READ_BATCH	1024	/* slots or blocks read between two copies */

static bool mlp_control_opened;	/* under mlp_lock */

union mlp_arg {
	struct memlease_pool_info info;
	struct memlease_pool_range range;
	struct memlease_pool_window window;
	struct memlease_pool_slots_op op;
	struct memlease_pool_map map;
	struct memlease_pool_slots slots;
	struct memlease_pool_blocks blocks;
	u32 number;
};

static int mlp_do_info(union mlp_arg *arg)
{
	struct memlease_pool_info *info = &arg->info;

	*info = (struct memlease_pool_info){
		.version = MEMLEASE_POOL_VERSION, .ranges = mlp_range_number(), .blocks = mlp_blocks(),
		.retired = mlp_poison_retired(),
		.metadata_bytes = mlp_ranges_metadata() + mlp_poison_metadata() + mlp_rings_bytes(),
		.rings_bytes = mlp_rings_bytes(),
	};
	mlp_devices_count(info);
	return 0;
}

static int mlp_do_claim(union mlp_arg *arg)
{
	int rc = mlp_range_claim(&arg->range);

	if (!rc)
		mlp_poison_watch(&arg->range);
	return rc;
}

static int mlp_do_range(union mlp_arg *arg)
{
	return mlp_range_read(&arg->range);
}

static int mlp_do_create(union mlp_arg *arg)
{
	return mlp_device_create(&arg->window);
}

static int mlp_do_window(union mlp_arg *arg)
{
	return mlp_device_read(&arg->window);
}

static int mlp_do_destroy(union mlp_arg *arg)
{
	return mlp_device_destroy(arg->number);
}

static int mlp_do_commit(struct mlp_window *w, union mlp_arg *arg)
{
	return mlp_slots_commit(w, &arg->op);
}

static int mlp_do_unmap(struct mlp_window *w, union mlp_arg *arg)
{
	return mlp_slots_unmap(w, &arg->op);
}

static int mlp_do_map(struct mlp_window *w, union mlp_arg *arg)
{
	return arg->map.reserved ? -EINVAL : mlp_slots_map(w, arg->map.slot, arg->map.block);
}

static int mlp_do_move(struct mlp_window *w, union mlp_arg *arg)
{
	return arg->map.reserved ? -EINVAL : mlp_slots_move(w, arg->map.slot, &arg->map.block);
}

static int mlp_do_slots(struct mlp_window *w, union mlp_arg *arg)
{
	u32 __user *out = u64_to_user_ptr(arg->slots.words_ptr);
	u32 i, n, first = arg->slots.first, left = arg->slots.count;
	u32 *words;
	int rc = 0;

	if (arg->slots.reserved || first > w->slots || left > w->slots - first)
		return -EINVAL;
	words = kmalloc_array(MLP_READ_BATCH, sizeof(*words), GFP_KERNEL);
	if (!words)
		return -ENOMEM;
	for (; left && !rc; left -= n, first += n, out += n) {
		n = min_t(u32, left, MLP_READ_BATCH);
		for (i = 0; i < n; i++)
			words[i] = mlp_window_word(w, first + i);
		if (copy_to_user(out, words, n * sizeof(*words)))
			rc = -EFAULT;
		cond_resched();
	}
	kfree(words);
	return rc;
}

static u8 mlp_block_state(u32 block)
{
	u64 owner = mlp_block_owner(block);

	if (owner == MLP_OWNER_RETIRED)
		return MEMLEASE_BLOCK_RETIRED;
	if (owner == MLP_OWNER_MODULE)
		return MEMLEASE_BLOCK_MODULE;
	return owner ? MEMLEASE_BLOCK_BEHIND : MEMLEASE_BLOCK_UNUSED;
}

static int mlp_do_blocks(union mlp_arg *arg)
{
	u8 __user *out = u64_to_user_ptr(arg->blocks.states_ptr);
	u32 i, n, first = arg->blocks.first, left = arg->blocks.count;
	u8 *states;
	int rc = 0;

	if (first > mlp_blocks() || left > mlp_blocks() - first)
		return -EINVAL;
	states = kmalloc(MLP_READ_BATCH, GFP_KERNEL);
	if (!states)
		return -ENOMEM;
	for (; left && !rc; left -= n, first += n, out += n) {
		n = min_t(u32, left, MLP_READ_BATCH);
		for (i = 0; i < n; i++)
			states[i] = mlp_block_state(first + i);
		if (copy_to_user(out, states, n))
			rc = -EFAULT;
		cond_resched();
	}
	kfree(states);
	return rc;
}

static int mlp_do_supplied(union mlp_arg *arg)
{
	mlp_wait_supplied();
	return 0;
}

static int mlp_do_retire(union mlp_arg *arg)
{
	return mlp_poison_retire(arg->number);
}

/* Each call has one of the three: under mlp_lock; for the window in its first word; or alone. */
static const struct mlp_call {
	unsigned int cmd;
	int (*locked)(union mlp_arg *arg);
	int (*window)(struct mlp_window *w, union mlp_arg *arg);
	int (*free)(union mlp_arg *arg);
} mlp_calls[] = {
	{ .cmd = MEMLEASE_POOL_INFO, .locked = mlp_do_info },
	{ .cmd = MEMLEASE_POOL_CLAIM, .locked = mlp_do_claim },
	{ .cmd = MEMLEASE_POOL_RANGE, .locked = mlp_do_range },
	{ .cmd = MEMLEASE_POOL_CREATE, .locked = mlp_do_create },
	{ .cmd = MEMLEASE_POOL_WINDOW, .locked = mlp_do_window },
	{ .cmd = MEMLEASE_POOL_DESTROY, .locked = mlp_do_destroy },
	{ .cmd = MEMLEASE_POOL_COMMIT, .window = mlp_do_commit },
	{ .cmd = MEMLEASE_POOL_UNMAP, .window = mlp_do_unmap },
	{ .cmd = MEMLEASE_POOL_MAP, .window = mlp_do_map },
	{ .cmd = MEMLEASE_POOL_MOVE, .window = mlp_do_move },
	{ .cmd = MEMLEASE_POOL_SLOTS, .window = mlp_do_slots },
	{ .cmd = MEMLEASE_POOL_BLOCKS, .free = mlp_do_blocks },
	{ .cmd = MEMLEASE_POOL_SUPPLIED, .free = mlp_do_supplied },
	{ .cmd = MEMLEASE_POOL_RETIRE, .free = mlp_do_retire },
};

static int mlp_call(const struct mlp_call *call, union mlp_arg *arg)
{
	struct mlp_window *w;
	int rc;

	if (call->free)
		return call->free(arg);
	if (call->locked) {
		mutex_lock(&mlp_lock);
		rc = call->locked(arg);
		mutex_unlock(&mlp_lock);
		return rc;
	}
	w = mlp_device_get(arg->number);
	if (!w)
		return -ENOENT;
	rc = call->window(w, arg);
	mlp_device_put(w);
	return rc;
}

static long mlp_control_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	union mlp_arg arg = {};
	size_t i, size = _IOC_SIZE(cmd);
	int rc;

	for (i = 0; i < ARRAY_SIZE(mlp_calls) && mlp_calls[i].cmd != cmd; i++)
		;
	if (i == ARRAY_SIZE(mlp_calls))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(&arg, (void __user *)user, size))
		return -EFAULT;
	rc = mlp_call(&mlp_calls[i], &arg);
	if (!rc && (_IOC_DIR(cmd) & _IOC_READ) && copy_to_user((void __user *)user, &arg, size))
		rc = -EFAULT;
	return rc;
}

static int mlp_control_open(struct inode *inode, struct file *file)
{
	int rc = 0;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&mlp_lock);
	if (mlp_control_opened)
		rc = -EBUSY;
	if (!rc)
		mlp_rings_opened();
	mlp_control_opened = true;
	mutex_unlock(&mlp_lock);
	if (!rc)
		file->f_mapping = mlp_mapping;
	return rc;
}

static int mlp_control_release(struct inode *inode, struct file *file)
{
	mutex_lock(&mlp_lock);
	mlp_control_opened = false;
	mutex_unlock(&mlp_lock);
	return 0;
}

static int mlp_control_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff == MEMLEASE_POOL_OFF_RINGS >> PAGE_SHIFT)
		return mlp_rings_mmap(vma);
	return mlp_view_mmap(vma);
}

static const struct file_operations mlp_control_fops = {
	.owner = THIS_MODULE,
	.open = mlp_control_open,
	.release = mlp_control_release,
	.unlocked_ioctl = mlp_control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = mlp_rings_poll,
	.mmap = mlp_control_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek = noop_llseek,
};

static struct miscdevice mlp_control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "memlease_pool",
	.fops = &mlp_control_fops,
	.mode = 0600,
};

int mlp_control_init(void)
{
	return misc_register(&mlp_control);
}

void mlp_control_exit(void)
{
	misc_deregister(&mlp_control);
}
