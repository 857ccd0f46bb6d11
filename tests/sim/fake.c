// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fake backend: memory that remembers which block is behind which slot and
 * what was written there, and that catches the lender at lending a block twice.
 * It holds SIM_POOL_BLOCKS blocks and no more, as a file system of that size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static struct fake_window *window_of(const struct sim_region *r)
{
	return world->served ? fake_named(&world->module, r->name) : NULL;
}

/* w: the region's window, on the reserved backend. */
static bool behind(const struct sim_region *r, const struct fake_window *w, uint64_t slot)
{
	if (!world->served)
		return r->behind[slot] != 0;
	return w && MEMLEASE_SLOT_STATE(w->word[slot]) == MEMLEASE_SLOT_RESIDENT;
}

bool sim_behind(const struct sim_region *r, uint64_t slot)
{
	return behind(r, window_of(r), slot);
}

uint64_t *sim_content(struct sim_region *r, uint64_t slot)
{
	if (!sim_behind(r, slot))
		return NULL;
	if (!world->served)
		return &r->content[slot];
	return &world->module.content[MEMLEASE_SLOT_BLOCK(window_of(r)->word[slot])];
}

static uint64_t count_region(const struct sim_region *r)
{
	const struct fake_window *w = r ? window_of(r) : NULL;
	uint64_t n = 0;

	for (uint64_t i = 0; r && i < r->blocks; i++)
		n += behind(r, w, i);
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

/* The words of the table's file; how many there are. */
static uint64_t read_table(uint64_t word[FAKE_BLOCKS_MAX])
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/blocks", world->state);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = pread(fd, word, FAKE_BLOCKS_MAX * sizeof(*word), 4096);
	close(fd);
	return n < 0 ? 0 : (uint64_t)n / sizeof(*word);
}

/* By the table: blocks that a touch put there of which no daemon has read yet. */
static uint64_t unread(const struct sim_region *r, const uint64_t *word, uint64_t words)
{
	const struct fake_window *w = window_of(r);
	uint64_t n = 0;

	for (uint64_t s = 0; s < r->blocks; s++) {
		uint64_t block = behind(r, w, s) ? MEMLEASE_SLOT_BLOCK(w->word[s]) : words;

		n += block < words && block_unpack(word[block]).state == BLOCK_OFFERED;
	}
	return n;
}

uint64_t sim_unseen(const char *uuid)
{
	uint64_t word[FAKE_BLOCKS_MAX], n = 0;
	uint64_t words = world->served ? read_table(word) : 0;

	for (int i = 0; i < SIM_REGIONS_MAX; i++) {
		const struct sim_region *r = &world->regions[i];

		if (strncmp(r->name, uuid, 36) != 0)
			continue;
		if (world->served)
			n += unread(r, word, words);
		for (uint64_t s = 0; !world->served && s < r->blocks; s++)
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

static int fake_each(struct backend *b, int (*one)(void *ctx, const char *name), void *ctx)
{
	int ret = 0;

	(void)b;
	for (int i = 0; ret == 0 && i < SIM_REGIONS_MAX; i++) {
		if (world->regions[i].name[0])
			ret = one(ctx, world->regions[i].name);
	}
	return ret;
}

/* No record is ever lost here, wherever a daemon is killed: so no region is ever left. */
static int fake_left(struct backend *b, const char *name, struct backend_left *left)
{
	(void)b;
	*left = (struct backend_left){ .open = true };
	SIM_MUST(!sim_region_find(name), "region %s is of no VM", name);
	return -ENOENT;
}

static int fake_discard(struct backend *b, const char *name,
			void (*gone)(void *ctx, uint32_t block), void *ctx)
{
	(void)gone, (void)ctx;
	return fake_remove(b, name);
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
	.each = fake_each,
	.left = fake_left,
	.discard = fake_discard,
	.map = fake_map,
	.unmap = fake_unmap,
	.resident_bytes = fake_resident_bytes,
	.scan = fake_scan,
	.free = fake_free,
};

/* --- the stand-in for the module --- */

static struct sim_region *region_of_window(const struct fake_window *w)
{
	struct sim_region *r = sim_region_find(w->name);

	if (r)
		return r;
	r = sim_region_find("");
	SIM_MUST(r && w->slots <= SIM_SLOTS_MAX, "no room for window %s", w->name);
	memset(r, 0, sizeof(*r));
	r->blocks = w->slots;
	r->live = true;
	snprintf(r->name, sizeof(r->name), "%.63s", w->name);
	return r;
}

void sim_follow_windows(void)
{
	for (int i = 0; world->served && i < SIM_REGIONS_MAX; i++) {
		if (world->regions[i].name[0] && !window_of(&world->regions[i]))
			world->regions[i].name[0] = '\0';
	}
	for (int i = 0; world->served && i < FAKE_WINDOWS_MAX; i++) {
		if (world->module.window[i].id)
			region_of_window(&world->module.window[i]);
	}
}

void sim_open(struct sim_region *r)
{
	struct fake_window *w = window_of(r);

	if (w)
		w->opened = 1;
}

void sim_close(struct sim_region *r)
{
	struct fake_window *w = window_of(r);

	if (!w || !w->opened)
		return;
	world->module.now_ns = world->boot_ns;
	fake_closed(&world->module, w);
	r->closed = true;
	for (uint64_t i = 0; i < r->blocks; i++)
		r->unsure[i] = true;
}

void sim_guest_writes(struct sim_region *r, uint64_t slot)
{
	uint64_t *content = sim_content(r, slot);

	SIM_MUST(content, "%s slot %llu was served and nothing is there", r->name,
		 (unsigned long long)slot);
	SIM_MUST(*content == r->want[slot] || (r->unsure[slot] && !*content),
		 "%s slot %llu holds %llu, the guest expects %llu", r->name,
		 (unsigned long long)slot, (unsigned long long)*content,
		 (unsigned long long)r->want[slot]);
	*content = ++world->stamp;
	r->want[slot] = world->stamp;
	r->unsure[slot] = false;
	r->given[slot] = false;
}

static struct fake_window *some_window(void)
{
	uint64_t n = 0;

	for (int i = 0; i < FAKE_WINDOWS_MAX; i++)
		n += world->module.window[i].id != 0;
	n = n ? sim_random(n) + 1 : 0;
	for (int i = 0; n && i < FAKE_WINDOWS_MAX; i++) {
		if (world->module.window[i].id && !--n)
			return &world->module.window[i];
	}
	return NULL;
}

static void task_touches(bool opens)
{
	struct fake_window *w = some_window();
	struct sim_region *r = w ? sim_region_find(w->name) : NULL;
	uint32_t slot, block;

	if (!r || !r->live || !(w->opened || opens))
		return;
	slot = (uint32_t)sim_random(w->slots);
	/* What it was reporting when the daemon died, the guest does not touch, nor what it has not. */
	if (r->given[slot] || (r->unsure[slot] && !r->closed) || r->emptying ||
	    MEMLEASE_SLOT_STATE(w->word[slot]) == MEMLEASE_SLOT_VACANT)
		return;
	world->module.now_ns = world->boot_ns;
	w->opened = 1;
	switch (fake_touch(&world->module, w, slot, true, 1, &block)) {
	case FAKE_RESIDENT:
		sim_guest_writes(r, slot);
		break;
	case FAKE_WAITS:
		world->waited++;
		break;
	case FAKE_ZEROS:
	case FAKE_FAILS:
		break;
	}
}

void sim_task_touches(void)
{
	task_touches(true);
}

/* Other CPUs go on while the daemon calls the module. Who opens a window waits for the daemon first. */
static int ioctl_among_others(struct reserved_device *d, unsigned long request, void *arg)
{
	while (!world->final && sim_chance(10))
		task_touches(false);
	world->module.now_ns = world->boot_ns;
	world->moves += request == MEMLEASE_POOL_MAP || request == MEMLEASE_POOL_UNMAP ||
			request == MEMLEASE_POOL_MOVE;
	return fake_ioctl(d, request, arg);
}

static struct backend *served_backend(void)
{
	struct reserved_setup setup = { .wants = SIM_RANGES, .clock = &sim_clock };
	struct reserved_device *d = fake_device(&world->module);
	struct backend *b;

	for (int i = 0; i < SIM_RANGES; i++)
		setup.want[i] = (struct reserved_want){
			.base = (uint64_t)(i + 1) << 32, .node = i % 2,
			.bytes = (SIM_POOL_BLOCKS / SIM_RANGES + !i) * MEMLEASE_BLOCK_BYTES,
		};
	d->ioctl = ioctl_among_others;
	world->module.keep_one = world->sabotage == SIM_KEEP;
	SIM_MUST(backend_reserved_open(&b, &setup, d) == 0, "the backend does not open");
	return b;
}

struct backend *sim_backend(void)
{
	struct backend *b;

	if (world->served)
		return served_backend();
	b = calloc(1, sizeof(*b));

	SIM_MUST(b, "out of memory");
	*b = (struct backend){ .ops = &fake_ops, .name = "fake", .zeroes_itself = true,
			       .scan_sees_all = true, .event_fd = -1 };
	return b;
}
