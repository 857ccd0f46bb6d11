// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Takes pages of 2 MiB, one after the other, writes a word to each, and records how
 * long either took, for tests/bench/hugepages.py. A module of a test VM, used through debugfs; it does
 * nothing else, and frees what it holds when it is unloaded.
 *
 *   /sys/kernel/debug/hugehog/take		write N: take N pages; returns when it has
 *						them, or could not get one 64 times
 *						in a row
 *   /sys/kernel/debug/hugehog/nanoseconds	a line for each attempt, in order:
 *						what the allocation took, and what
 *						the first touch took, or "failed"
 *   /sys/kernel/debug/hugehog/free		write anything: free and forget all
 *
 * The flags are those with which Linux fills its pool of huge pages
 * (/proc/sys/vm/nr_hugepages): what movable memory may serve, with reclaim and
 * compaction, tried again for as long as there is progress. GFP_KERNEL would not
 * do: it never gets memory of ZONE_MOVABLE, which is what a guest borrows. A
 * kernel with init_on_alloc=1, as Debian's, fills each page with zeros, which is
 * part of the time.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define HUGE_ORDER (21 - PAGE_SHIFT)
#define ATTEMPTS_MAX (1U << 20)
/* As often as Linux puts compaction off, after it failed, before it tries again. */
#define PATIENCE 64
#define FAILURES_MAX 4096
#define HUGE_GFP (GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

struct attempt {
	u64 ns;
	u64 touch_ns;
	struct page *page;	/* NULL: it failed */
};

static DEFINE_MUTEX(lock);	/* over all below */
static struct attempt *attempts;
static unsigned int attempt_count, attempt_room;
static struct dentry *dir;

static void forget(void)
{
	unsigned int i;

	for (i = 0; i < attempt_count; i++)
		if (attempts[i].page)
			__free_pages(attempts[i].page, HUGE_ORDER);
	vfree(attempts);
	attempts = NULL;
	attempt_count = 0;
	attempt_room = 0;
}

/* Room for so many more, beforehand: it shall not be allocated between two attempts. */
static int make_room(unsigned int more)
{
	struct attempt *grown;

	if (more > ATTEMPTS_MAX - attempt_count)
		return -E2BIG;
	if (attempt_count + more <= attempt_room)
		return 0;
	grown = vzalloc(array_size(attempt_count + more, sizeof(*grown)));
	if (!grown)
		return -ENOMEM;
	if (attempts)
		memcpy(grown, attempts, attempt_count * sizeof(*grown));
	vfree(attempts);
	attempts = grown;
	attempt_room = attempt_count + more;
	return 0;
}

static bool take_one(struct attempt *a)
{
	ktime_t began = ktime_get(), got;

	a->page = alloc_pages(HUGE_GFP, HUGE_ORDER);
	got = ktime_get();
	a->ns = ktime_to_ns(ktime_sub(got, began));
	if (!a->page)
		return false;
	WRITE_ONCE(*(u64 *)page_address(a->page), 1);
	a->touch_ns = ktime_to_ns(ktime_sub(ktime_get(), got));
	return true;
}

static int take(unsigned int wanted)
{
	unsigned int failures = 0, failures_in_a_row = 0;
	int err;

	if (wanted > ATTEMPTS_MAX)
		return -E2BIG;
	err = make_room(wanted + FAILURES_MAX);
	if (err)
		return err;
	while (wanted && failures < FAILURES_MAX && failures_in_a_row < PATIENCE) {
		if (take_one(&attempts[attempt_count++])) {
			failures_in_a_row = 0;
			wanted--;
		} else {
			failures_in_a_row++;
			failures++;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static ssize_t take_write(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	unsigned int wanted;
	int err;

	err = kstrtouint_from_user(text, len, 0, &wanted);
	if (err)
		return err;
	err = mutex_lock_interruptible(&lock);
	if (err)
		return err;
	err = take(wanted);
	mutex_unlock(&lock);
	return err ? err : len;
}

static ssize_t free_write(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	mutex_lock(&lock);
	forget();
	mutex_unlock(&lock);
	return len;
}

static int nanoseconds_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	mutex_lock(&lock);
	for (i = 0; i < attempt_count; i++)
		if (attempts[i].page)
			seq_printf(m, "%llu %llu\n", attempts[i].ns, attempts[i].touch_ns);
		else
			seq_printf(m, "%llu failed\n", attempts[i].ns);
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(nanoseconds);

static const struct file_operations take_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = take_write,
};

static const struct file_operations free_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = free_write,
};

static int __init hugehog_init(void)
{
	dir = debugfs_create_dir("hugehog", NULL);
	if (IS_ERR(dir))
		return PTR_ERR(dir);
	debugfs_create_file("take", 0200, dir, NULL, &take_fops);
	debugfs_create_file("free", 0200, dir, NULL, &free_fops);
	debugfs_create_file("nanoseconds", 0400, dir, NULL, &nanoseconds_fops);
	return 0;
}

static void __exit hugehog_exit(void)
{
	debugfs_remove_recursive(dir);
	forget();
}

module_init(hugehog_init);
module_exit(hugehog_exit);
MODULE_DESCRIPTION("memlease: times allocations of 2 MiB, for a benchmark");
MODULE_LICENSE("GPL");
