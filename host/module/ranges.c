// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ranges of physical memory that the pool is made of; see ranges.h. A
 * range that was claimed stays until the module goes, so blocks can be looked up
 * without a lock: a range is filled in before the number of ranges is raised.
 */
#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/numa.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "compat.h"
#include "locks.h"
#include "ranges.h"

struct mlp_range {
	u64 base;		/* physical */
	u64 bytes;
	u32 first_block;
	u32 blocks;
	int node;
	void *memory;		/* mapped write-back as long as the range is ours */
	u64 *owner;		/* per block; changed under mlp_rings_lock() */
	unsigned long *mark[MLP_MARKS];		/* a bit per block each */
};

static struct mlp_range mlp_ranges[MEMLEASE_POOL_MAX_RANGES];
static u32 mlp_range_count;	/* written under mlp_lock */
static u32 mlp_zero = MLP_NO_BLOCK;

u32 mlp_range_number(void)
{
	/* Pairs with the claim: what it has filled in is seen. */
	return smp_load_acquire(&mlp_range_count);
}

static struct mlp_range *mlp_range_of(u32 block)
{
	u32 i, n = mlp_range_number();

	for (i = 0; i + 1 < n; i++) {
		if (block - mlp_ranges[i].first_block < mlp_ranges[i].blocks)
			break;
	}
	return &mlp_ranges[i];
}

u32 mlp_blocks(void)
{
	u32 n = mlp_range_number();

	return n ? mlp_ranges[n - 1].first_block + mlp_ranges[n - 1].blocks : 0;
}

unsigned long mlp_block_pfn(u32 block)
{
	const struct mlp_range *r = mlp_range_of(block);

	return PHYS_PFN(r->base) + (block - r->first_block) * MLP_BLOCK_PAGES;
}

void *mlp_block_memory(u32 block)
{
	const struct mlp_range *r = mlp_range_of(block);

	return r->memory + (block - r->first_block) * MLP_BLOCK_BYTES;
}

static u64 *mlp_owner_of(u32 block)
{
	const struct mlp_range *r = mlp_range_of(block);

	return &r->owner[block - r->first_block];
}

u64 mlp_block_owner(u32 block)
{
	return READ_ONCE(*mlp_owner_of(block));
}

bool mlp_block_own(u32 block, u64 owner)
{
	u64 *has = mlp_owner_of(block);

	lockdep_assert_held(&mlp_rings_spin);
	if (*has)
		return false;
	WRITE_ONCE(*has, owner);
	return true;
}

void mlp_block_disown(u32 block)
{
	u64 *has = mlp_owner_of(block);

	lockdep_assert_held(&mlp_rings_spin);
	if (*has != MLP_OWNER_RETIRED)
		WRITE_ONCE(*has, 0);
}

u64 mlp_block_retire(u32 block)
{
	u64 *has = mlp_owner_of(block), before = *has;

	lockdep_assert_held(&mlp_rings_spin);
	WRITE_ONCE(*has, MLP_OWNER_RETIRED);
	return before;
}

static unsigned long *mlp_marks_of(u32 block, enum mlp_mark mark, u32 *bit)
{
	const struct mlp_range *r = mlp_range_of(block);

	*bit = block - r->first_block;
	return r->mark[mark];
}

void mlp_block_mark(u32 block, enum mlp_mark mark)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, mark, &bit);

	set_bit(bit, marks);
}

void mlp_block_unmark(u32 block, enum mlp_mark mark)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, mark, &bit);

	clear_bit_unlock(bit, marks);
}

bool mlp_block_marked(u32 block, enum mlp_mark mark)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, mark, &bit);

	return test_bit_acquire(bit, marks);
}

u32 mlp_block_next_marked(u32 from, enum mlp_mark mark)
{
	u32 i, n = mlp_range_number();
	unsigned long bit;

	for (i = 0; i < n; i++) {
		const struct mlp_range *r = &mlp_ranges[i];

		if (from >= r->first_block + r->blocks)
			continue;
		bit = find_next_bit(r->mark[mark], r->blocks, from > r->first_block ? from - r->first_block : 0);
		if (bit < r->blocks)
			return r->first_block + bit;
	}
	return MLP_NO_BLOCK;
}

void mlp_block_lock(u32 block)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, MLP_MARK_LOCK, &bit);

	wait_on_bit_lock(&marks[BIT_WORD(bit)], bit % BITS_PER_LONG, TASK_UNINTERRUPTIBLE);
}

bool mlp_block_trylock(u32 block)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, MLP_MARK_LOCK, &bit);

	return !test_and_set_bit_lock(bit, marks);
}

void mlp_block_unlock(u32 block)
{
	u32 bit;
	unsigned long *marks = mlp_marks_of(block, MLP_MARK_LOCK, &bit);

	clear_and_wake_up_bit(bit % BITS_PER_LONG, &marks[BIT_WORD(bit)]);
}

u32 mlp_block_of_pfn(unsigned long pfn)
{
	u64 addr = PFN_PHYS(pfn);
	u32 i, n = mlp_range_number();

	for (i = 0; i < n; i++) {
		if (addr - mlp_ranges[i].base < mlp_ranges[i].bytes)
			return mlp_ranges[i].first_block +
			       ((addr - mlp_ranges[i].base) >> MEMLEASE_POOL_BLOCK_SHIFT);
	}
	return MLP_NO_BLOCK;
}

u32 mlp_zero_block(void)
{
	return READ_ONCE(mlp_zero);
}

void mlp_zero_broke(void)
{
	WRITE_ONCE(mlp_zero, MLP_NO_BLOCK);
}

u64 mlp_ranges_metadata(void)
{
	u64 bytes = sizeof(mlp_ranges);
	u32 i, n = mlp_range_number();

	for (i = 0; i < n; i++)
		bytes += (u64)mlp_ranges[i].blocks * sizeof(u64) +
			 MLP_MARKS * BITS_TO_LONGS(mlp_ranges[i].blocks) * sizeof(long);
	return bytes;
}

/* Does Linux use any of it, or keep a page array for it? */
static bool mlp_is_linux_memory(u64 base, u64 bytes)
{
	unsigned long pfn, end = PHYS_PFN(base + bytes);

	if (region_intersects(base, bytes, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT)
		return true;
	for (pfn = PHYS_PFN(base); pfn < end; pfn += MLP_BLOCK_PAGES) {
		if (pfn_valid(pfn) || pfn_valid(pfn + MLP_BLOCK_PAGES - 1))
			return true;
		cond_resched();
	}
	return false;
}

static int mlp_range_check(const struct memlease_pool_range *arg)
{
	u64 mask = MLP_BLOCK_BYTES - 1;

	if (!arg->bytes || (arg->base & mask) || (arg->bytes & mask) || arg->reserved)
		return -EINVAL;
	if (arg->base >= mlp_physical_end() || arg->bytes > mlp_physical_end() - arg->base)
		return -EINVAL;
	if (arg->bytes >> MEMLEASE_POOL_BLOCK_SHIFT > MEMLEASE_POOL_MAX_BLOCKS - mlp_blocks())
		return -EINVAL;
	if (mlp_range_count >= MEMLEASE_POOL_MAX_RANGES)
		return -ENOSPC;
	return mlp_is_linux_memory(arg->base, arg->bytes) ? -EEXIST : 0;
}

/* Does it lie where devices have their registers? */
static bool mlp_is_device_memory(const struct resource *res)
{
	for (; res; res = res->parent) {
		if (res->flags & IORESOURCE_WINDOW)
			return true;
	}
	return false;
}

/* What we note of its blocks. */
static void mlp_range_forget(struct mlp_range *r)
{
	u32 i;

	for (i = 0; i < MLP_MARKS; i++)
		kvfree(r->mark[i]);
	kvfree(r->owner);
}

static int mlp_range_note(struct mlp_range *r)
{
	bool got;
	u32 i;

	r->owner = kvcalloc(r->blocks, sizeof(*r->owner), GFP_KERNEL);
	got = r->owner;
	for (i = 0; i < MLP_MARKS; i++) {
		r->mark[i] = kvcalloc(BITS_TO_LONGS(r->blocks), sizeof(long), GFP_KERNEL);
		got &= !!r->mark[i];
	}
	return got ? 0 : -ENOMEM;
}

/* Make the range ours, mapped, with what we note of its blocks. */
static int mlp_range_take(struct mlp_range *r)
{
	struct resource *res;
	int rc = mlp_range_note(r);

	if (rc)
		goto forget;
	rc = -EBUSY;
	/* Exclusive: what VMs have there is nothing for /dev/mem. */
	res = request_mem_region_exclusive(r->base, r->bytes, "memlease pool");
	if (!res)
		goto forget;
	rc = -EEXIST;
	if (mlp_is_device_memory(res))
		goto release;
	/* Also what makes every other mapping of it write-back, QEMU's and KVM's. */
	rc = -ENOMEM;
	r->memory = memremap(r->base, r->bytes, MEMREMAP_WB);
	if (r->memory)
		return 0;
release:
	release_mem_region(r->base, r->bytes);
forget:
	mlp_range_forget(r);
	return rc;
}

int mlp_range_claim(struct memlease_pool_range *arg)
{
	struct mlp_range *r;
	int rc;

	lockdep_assert_held(&mlp_lock);
	rc = mlp_range_check(arg);
	if (rc)
		return rc;
	r = &mlp_ranges[mlp_range_count];
	*r = (struct mlp_range){
		.base = arg->base, .bytes = arg->bytes, .first_block = mlp_blocks(),
		.blocks = arg->bytes >> MEMLEASE_POOL_BLOCK_SHIFT,
		.node = phys_to_target_node(arg->base),
	};
	rc = mlp_range_take(r);
	if (rc)
		return rc;
	arg->first_block = r->first_block;
	arg->node = r->node;
	arg->index = mlp_range_count;
	if (!r->first_block) {
		memset(r->memory, 0, MLP_BLOCK_BYTES);
		r->owner[0] = MLP_OWNER_MODULE;
	}
	/* Pairs with mlp_range_number(). */
	smp_store_release(&mlp_range_count, mlp_range_count + 1);
	if (!r->first_block)
		WRITE_ONCE(mlp_zero, 0);
	return 0;
}

int mlp_range_read(struct memlease_pool_range *arg)
{
	const struct mlp_range *r;

	if (arg->index >= mlp_range_number())
		return -ENOENT;
	r = &mlp_ranges[arg->index];
	*arg = (struct memlease_pool_range){
		.base = r->base, .bytes = r->bytes, .first_block = r->first_block,
		.node = r->node, .index = arg->index,
	};
	return 0;
}

void mlp_ranges_release(void)
{
	while (mlp_range_count) {
		struct mlp_range *r = &mlp_ranges[--mlp_range_count];

		memunmap(r->memory);
		release_mem_region(r->base, r->bytes);
		mlp_range_forget(r);
	}
}
