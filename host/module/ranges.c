// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ranges of physical memory that the pool is made of; see pool_module.h.
 * A range that was claimed stays until the module goes, so block numbers can be
 * looked up without a lock: ranges are filled in before their number is raised.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "pool_module.h"

#define MLP_RESOURCE_NAME	"memlease pool"

static struct mlp_range mlp_ranges[MEMLEASE_POOL_MAX_RANGES];
static u32 mlp_range_count;	/* written under mlp_lock */
static u32 mlp_block_count;

static u32 mlp_ranges_now(void)
{
	return smp_load_acquire(&mlp_range_count);
}

static const struct mlp_range *mlp_range_of(u32 block)
{
	u32 i, n = mlp_ranges_now();

	for (i = 0; i < n; i++) {
		if (block - mlp_ranges[i].first_block < mlp_ranges[i].blocks)
			return &mlp_ranges[i];
	}
	return NULL;
}

u32 mlp_blocks(void)
{
	return READ_ONCE(mlp_block_count);
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

u64 *mlp_block_owner(u32 block)
{
	const struct mlp_range *r = mlp_range_of(block);

	return &r->owner[block - r->first_block];
}

u32 mlp_block_of_pfn(unsigned long pfn)
{
	u64 addr = PFN_PHYS(pfn);
	u32 i, n = mlp_ranges_now();

	for (i = 0; i < n; i++) {
		if (addr - mlp_ranges[i].base < mlp_ranges[i].bytes)
			return mlp_ranges[i].first_block +
			       ((addr - mlp_ranges[i].base) >> MEMLEASE_POOL_BLOCK_SHIFT);
	}
	return MLP_NO_BLOCK;
}

u32 mlp_zero_block(void)
{
	return mlp_ranges_now() ? 0 : MLP_NO_BLOCK;
}

u64 mlp_ranges_metadata(void)
{
	return (u64)mlp_blocks() * sizeof(u64);
}

/* Does Linux use any of it, or keep a page array for it? */
static bool mlp_is_linux_memory(u64 base, u64 bytes)
{
	unsigned long pfn, end = PHYS_PFN(base + bytes);

	if (region_intersects(base, bytes, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT)
		return true;
	for (pfn = PHYS_PFN(base); pfn < end; pfn += MLP_BLOCK_PAGES) {
		if (pfn_valid(pfn))
			return true;
	}
	return false;
}

static int mlp_range_check(const struct memlease_pool_range *arg)
{
	u64 mask = MLP_BLOCK_BYTES - 1;

	if (!arg->bytes || (arg->base & mask) || (arg->bytes & mask) || arg->reserved ||
	    arg->base + arg->bytes < arg->base ||
	    arg->base + arg->bytes - 1 > PFN_PHYS((1ULL << (MAX_PHYSMEM_BITS - PAGE_SHIFT)) - 1))
		return -EINVAL;
	if (arg->bytes >> MEMLEASE_POOL_BLOCK_SHIFT > MEMLEASE_POOL_MAX_BLOCKS - mlp_blocks())
		return -EINVAL;
	if (mlp_range_count >= MEMLEASE_POOL_MAX_RANGES)
		return -ENOSPC;
	return mlp_is_linux_memory(arg->base, arg->bytes) ? -EEXIST : 0;
}

int mlp_range_claim(struct memlease_pool_range *arg)
{
	struct mlp_range *r = &mlp_ranges[mlp_range_count];
	int rc = mlp_range_check(arg);

	if (rc)
		return rc;
	*r = (struct mlp_range){
		.base = arg->base, .bytes = arg->bytes, .first_block = mlp_blocks(),
		.blocks = arg->bytes >> MEMLEASE_POOL_BLOCK_SHIFT,
		.node = phys_to_target_node(arg->base),
	};
	r->owner = vzalloc(array_size(r->blocks, sizeof(u64)));
	if (!r->owner)
		return -ENOMEM;
	r->resource = request_mem_region(r->base, r->bytes, MLP_RESOURCE_NAME);
	if (!r->resource) {
		rc = -EBUSY;
		goto free_owner;
	}
	/* Also what makes every other mapping of it write-back, QEMU's and KVM's. */
	r->memory = memremap(r->base, r->bytes, MEMREMAP_WB);
	if (!r->memory) {
		rc = -ENOMEM;
		goto release;
	}
	if (!r->first_block) {
		memset(r->memory, 0, MLP_BLOCK_BYTES);
		r->owner[0] = MLP_OWNER_MODULE;
	}
	arg->first_block = r->first_block;
	arg->node = r->node;
	arg->index = mlp_range_count;
	WRITE_ONCE(mlp_block_count, r->first_block + r->blocks);
	/* Pairs with mlp_ranges_now(). */
	smp_store_release(&mlp_range_count, mlp_range_count + 1);
	return 0;
release:
	release_mem_region(r->base, r->bytes);
free_owner:
	vfree(r->owner);
	return rc;
}

int mlp_range_read(struct memlease_pool_range *arg)
{
	const struct mlp_range *r;

	if (arg->index >= mlp_range_count)
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
		vfree(r->owner);
	}
	mlp_block_count = 0;
}
