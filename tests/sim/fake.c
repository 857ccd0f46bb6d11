// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fake backend: memory that remembers which block is behind which slot and
 * what was written there, and that catches the lender at lending a block twice.
 * It holds SIM_POOL_BLOCKS blocks and no more, as a file system of that size.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

struct sim_region *sim_region_find(const char *name)
{
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		if (strcmp(world->regions[i].name, name) == 0)
			return &world->regions[i];
	}
	return NULL;
}

struct sim_region *sim_region_of(struct lend_vm *vm, enum memlease_region region)
{
	return sim_region_find(lend_region_path(vm, region));
}

static uint64_t count_region(const struct sim_region *r)
{
	uint64_t n = 0;

	for (uint64_t i = 0; r && i < r->blocks; i++)
		n += r->behind[i] != 0;
	return n;
}

uint64_t sim_resident(const char *uuid)
{
	char name[64];
	uint64_t n;

	snprintf(name, sizeof(name), "%.36s.boot", uuid);
	n = count_region(sim_region_find(name));
	snprintf(name, sizeof(name), "%.36s.window", uuid);
	return n + count_region(sim_region_find(name));
}

uint64_t sim_unseen(const char *uuid)
{
	uint64_t n = 0;

	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; strncmp(r->name, uuid, 36) == 0 && s < r->blocks; s++)
			n += r->unseen[s] && r->behind[s];
	}
	return n;
}

void sim_all_seen(void)
{
	for (int i = 0; i < SIM_REGIONS_MAX; i++)
		memset(world->regions[i].unseen, 0, sizeof(world->regions[i].unseen));
}

uint64_t sim_present(void)
{
	uint64_t n = 0;

	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		if (world->regions[i].name[0])
			n += count_region(&world->regions[i]);
	}
	return n;
}

bool sim_any_foreign(void)
{
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; r->name[0] && s < r->blocks; s++) {
			if (r->behind[s] == SIM_FOREIGN)
				return true;
		}
	}
	return false;
}

static int fake_create(struct backend *b, const char *name, uint64_t blocks)
{
	struct sim_region *r = sim_region_find("");

	(void)b;
	if (sim_region_find(name))
		return -EEXIST;
	SIM_MUST(r && blocks <= SIM_SLOTS_MAX, "no room for region %s", name);
	memset(r, 0, sizeof(*r));
	r->blocks = blocks;
	snprintf(r->name, sizeof(r->name), "%s", name);
	return 0;
}

static int fake_open(struct backend *b, const char *name, uint64_t blocks,
		     struct backend_region *region)
{
	struct sim_region *r = sim_region_find(name);

	if (!r)
		return -ENOENT;
	SIM_MUST(r->blocks == blocks, "region %s opened with another size", name);
	*region = (struct backend_region){ .backend = b, .path = strdup(name), .fd = -1,
					   .blocks = blocks, .priv = r };
	return 0;
}

static void fake_close(struct backend_region *region)
{
	free(region->path);
	region->path = NULL;
}

static int fake_remove(struct backend *b, const char *name)
{
	struct sim_region *r = sim_region_find(name);

	(void)b;
	if (!r)
		return -ENOENT;
	SIM_MUST(count_region(r) == 0, "region %s removed with blocks in it", name);
	r->name[0] = '\0';
	return 0;
}

/* The block must be behind no other slot of any region. */
static void check_owner(const struct sim_region *own, uint64_t slot, uint32_t block)
{
	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		for (uint64_t s = 0; r->name[0] && s < r->blocks; s++) {
			if (r->behind[s] == block + 1 && !(r == own && s == slot))
				sim_fail("block %u has two owners: %s slot %llu and %s slot %llu",
					 block, r->name, (unsigned long long)s, own->name,
					 (unsigned long long)slot);
		}
	}
}

static int fake_map(struct backend_region *region, uint64_t slot, uint32_t block)
{
	struct sim_region *r = region->priv;

	if (world->sabotage == SIM_SHARE && world->moves > 50)
		block = 0;
	check_owner(r, slot, block);
	if (!r->behind[slot]) {
		if (sim_present() >= SIM_POOL_BLOCKS)
			return -ENOSPC;
		r->content[slot] = 0;
	}
	r->behind[slot] = block + 1;
	world->moves++;
	return 0;
}

static int fake_unmap(struct backend_region *region, uint64_t first, uint64_t count,
		      uint32_t *blocks, uint32_t *taken)
{
	struct sim_region *r = region->priv;

	(void)blocks;
	*taken = 0;
	SIM_MUST(first + count <= r->blocks, "unmap outside of region %s", r->name);
	if (world->sabotage == SIM_KEEP && world->moves > 50)
		count--;
	memset(&r->behind[first], 0, count * sizeof(r->behind[0]));
	memset(&r->content[first], 0, count * sizeof(r->content[0]));
	world->moves++;
	return 0;
}

static int fake_resident_bytes(struct backend_region *region, uint64_t *bytes)
{
	*bytes = count_region(region->priv) * MEMLEASE_BLOCK_BYTES;
	return 0;
}

static int fake_scan(struct backend_region *region, uint64_t first, uint64_t count,
		     uint8_t *present)
{
	const struct sim_region *r = region->priv;

	for (uint64_t i = 0; i < count; i++)
		present[i] = r->behind[first + i] != 0;
	return 0;
}

static void fake_free(struct backend *b)
{
	free(b);
}

static const struct backend_ops fake_ops = {
	.create = fake_create,
	.open = fake_open,
	.close = fake_close,
	.remove = fake_remove,
	.map = fake_map,
	.unmap = fake_unmap,
	.resident_bytes = fake_resident_bytes,
	.scan = fake_scan,
	.free = fake_free,
};

struct backend *sim_backend(void)
{
	struct backend *b = calloc(1, sizeof(*b));

	SIM_MUST(b, "out of memory");
	*b = (struct backend){ .ops = &fake_ops, .name = "fake", .zeroes_itself = true,
			       .scan_sees_all = true, .event_fd = -1 };
	return b;
}
