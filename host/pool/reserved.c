// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The backend `reserved`; see reserved.h. Everything here is calls of the module: what
 * stands behind which slot is kept there and nowhere here, so there is nothing to
 * repair. Windows are reserved_window.c's, the rings reserved_ring.c's.
 */
#include "reserved.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"
#include "../base/size.h"
#include "reserved_inner.h"
#include "reserved_window.h"

#define SLOTS_AT_ONCE 4096

/* --- slots --- */

static int reserved_map(struct backend_region *region, uint64_t slot, uint32_t block)
{
	struct memlease_pool_map m = { .window = reserved_id(region), .slot = (uint32_t)slot,
				       .block = block };

	return reserved_call(reserved_of(region->backend), MEMLEASE_POOL_MAP, &m);
}

static int slots_op(struct backend_region *region, unsigned long request, uint64_t first,
		    uint64_t count, bool on, uint32_t *blocks, uint32_t *taken)
{
	struct memlease_pool_extent extent = { (uint32_t)first, (uint32_t)count };
	struct memlease_pool_slots_op op = {
		.window = reserved_id(region), .extents = 1, .extent_ptr = (uintptr_t)&extent,
		.blocks_ptr = (uintptr_t)blocks, .on = on,
	};
	int ret = reserved_call(reserved_of(region->backend), request, &op);

	*taken = ret < 0 ? 0 : op.taken;
	return ret;
}

static int reserved_unmap(struct backend_region *region, uint64_t first, uint64_t count,
			  uint32_t *blocks, uint32_t *taken)
{
	if (count > BACKEND_RUN_MAX)
		return -EINVAL;
	return slots_op(region, MEMLEASE_POOL_UNMAP, first, count, false, blocks, taken);
}

static int reserved_commit(struct backend_region *region, uint64_t first, uint64_t count, bool on,
			   uint32_t *blocks, uint32_t *taken)
{
	if (!on && count > BACKEND_RUN_MAX)
		return -EINVAL;
	return slots_op(region, MEMLEASE_POOL_COMMIT, first, count, on, blocks, taken);
}

static int read_window(struct backend_region *region, struct memlease_pool_window *w)
{
	int ret;

	*w = (struct memlease_pool_window){ .id = reserved_id(region) - 1 };
	ret = reserved_call(reserved_of(region->backend), MEMLEASE_POOL_WINDOW, w);
	return ret < 0 ? ret : w->id == reserved_id(region) ? 0 : -ENOENT;
}

static int reserved_resident_bytes(struct backend_region *region, uint64_t *bytes)
{
	struct memlease_pool_window w;
	int ret = read_window(region, &w);

	*bytes = ret < 0 ? 0 : w.resident * BLOCK;
	return ret;
}

static int reserved_is_open(struct backend_region *region, bool *open)
{
	struct memlease_pool_window w;
	int ret = read_window(region, &w);

	*open = ret == 0 && w.opened;
	return ret;
}

static int reserved_slots(struct backend_region *region, uint64_t first, uint64_t count,
			  struct backend_slot_word *words)
{
	uint32_t raw[SLOTS_AT_ONCE];

	while (count) {
		uint32_t n = count < SLOTS_AT_ONCE ? (uint32_t)count : SLOTS_AT_ONCE;
		struct memlease_pool_slots s = {
			.window = reserved_id(region), .first = (uint32_t)first, .count = n,
			.words_ptr = (uintptr_t)raw,
		};
		int ret = reserved_call(reserved_of(region->backend), MEMLEASE_POOL_SLOTS, &s);

		if (ret < 0)
			return ret;
		for (uint32_t i = 0; i < n; i++)
			words[i] = (struct backend_slot_word){
				(enum backend_slot)MEMLEASE_SLOT_STATE(raw[i]),
				MEMLEASE_SLOT_BLOCK(raw[i]),
			};
		first += n;
		count -= n;
		words += n;
	}
	return 0;
}

_Static_assert(BACKEND_VACANT == MEMLEASE_SLOT_VACANT &&
	       BACKEND_COMMITTED == MEMLEASE_SLOT_COMMITTED &&
	       BACKEND_LOST == MEMLEASE_SLOT_LOST && BACKEND_RESIDENT == MEMLEASE_SLOT_RESIDENT,
	       "the module's states are the backend's");

static int reserved_scan(struct backend_region *region, uint64_t first, uint64_t count,
			 uint8_t *present)
{
	struct backend_slot_word words[BACKEND_RUN_MAX];

	while (count) {
		uint64_t n = count < BACKEND_RUN_MAX ? count : BACKEND_RUN_MAX;
		int ret = reserved_slots(region, first, n, words);

		if (ret < 0)
			return ret;
		for (uint64_t i = 0; i < n; i++)
			present[i] = words[i].state == BACKEND_RESIDENT;
		first += n;
		count -= n;
		present += n;
	}
	return 0;
}

static int reserved_move(struct backend_region *region, uint64_t slot, uint32_t *block)
{
	struct memlease_pool_map m = { .window = reserved_id(region), .slot = (uint32_t)slot,
				       .block = *block };
	int ret = reserved_call(reserved_of(region->backend), MEMLEASE_POOL_MOVE, &m);

	if (ret == 0)
		*block = m.block;
	return ret;
}

/* --- blocks --- */

static int reserved_retire(struct backend *b, uint32_t block)
{
	return reserved_call(reserved_of(b), MEMLEASE_POOL_RETIRE, &block);
}

static int reserved_blocks(struct backend *b, uint32_t first, uint32_t count, uint8_t *states)
{
	struct memlease_pool_blocks q = { first, count, (uintptr_t)states };

	return reserved_call(reserved_of(b), MEMLEASE_POOL_BLOCKS, &q);
}

_Static_assert(BACKEND_UNUSED == MEMLEASE_BLOCK_UNUSED &&
	       BACKEND_BEHIND == MEMLEASE_BLOCK_BEHIND &&
	       BACKEND_RETIRED == MEMLEASE_BLOCK_RETIRED && BACKEND_OWN == MEMLEASE_BLOCK_MODULE,
	       "and so are those of blocks");

static uint32_t reserved_supply_level(struct backend *b)
{
	return reserved_ring_level(&reserved_of(b)->ring);
}

static int reserved_supply(struct backend *b, const uint32_t *blocks, uint32_t n)
{
	return reserved_ring_put(&reserved_of(b)->ring, blocks, n);
}

static uint32_t reserved_unsupply(struct backend *b, uint32_t *blocks, uint32_t n)
{
	return reserved_ring_take_back(&reserved_of(b)->ring, blocks, n);
}

static uint32_t reserved_read_supply(struct backend *b, uint32_t *blocks, uint32_t n)
{
	return reserved_ring_read(&reserved_of(b)->ring, blocks, n);
}

/* The module's clock stands still while the machine sleeps; the lender's does not. */
static uint64_t to_boot_ns(const struct reserved *r, uint64_t mono_ns)
{
	uint64_t now = ml_boot_ns(r->setup.clock), mono;
	struct timespec ts;

	if (r->setup.clock != &ml_clock_real)
		return mono_ns;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	mono = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	return mono_ns < mono ? now - (mono - mono_ns) : now;
}

static int reserved_next_event(struct backend *b, struct backend_event *out)
{
	static const enum backend_event_type types[] = {
		[MEMLEASE_TOUCH_TAKEN] = BACKEND_TAKEN,
		[MEMLEASE_TOUCH_VIOLATION] = BACKEND_VIOLATION,
		[MEMLEASE_TOUCH_TIMEOUT] = BACKEND_TIMEOUT,
		[MEMLEASE_TOUCH_CLOSED] = BACKEND_CLOSED,
		[MEMLEASE_TOUCH_ERROR] = BACKEND_ERROR,
		[MEMLEASE_TOUCH_WAITING] = BACKEND_WAITING,
	};
	struct reserved *r = reserved_of(b);
	struct memlease_touch touch;
	struct reserved_window *w;
	int ret;

	do {
		ret = reserved_ring_next(&r->ring, &touch);
		if (ret <= 0)
			return ret;
	} while (touch.type >= sizeof(types) / sizeof(types[0]) || !types[touch.type]);
	w = touch.window ? reserved_window_by_id(r, touch.window) : NULL;
	*out = (struct backend_event){
		.type = types[touch.type], .region = w ? w->region : NULL, .slot = touch.slot,
		.block = touch.block, .boot_ns = to_boot_ns(r, touch.time_ns),
		.pid = (pid_t)touch.pid,
	};
	/* Nobody is served at a slot that is none. */
	if (out->region && out->slot >= out->region->blocks)
		out->region = NULL;
	return 1;
}

static void reserved_figures(struct backend *b, struct backend_figures *out)
{
	const struct memlease_rings *rings = reserved_of(b)->ring.rings;
	struct memlease_pool_info info = { 0 };

	reserved_call(reserved_of(b), MEMLEASE_POOL_INFO, &info);
	*out = (struct backend_figures){
		.supply = reserved_ring_level(&reserved_of(b)->ring), .supply_most = b->supply_most,
		.waiting = __atomic_load_n(&rings->waiting, __ATOMIC_RELAXED),
		.resident = info.resident, .retired = info.retired,
		.waits = __atomic_load_n(&rings->waits, __ATOMIC_RELAXED),
		.wait_ns = __atomic_load_n(&rings->wait_ns, __ATOMIC_RELAXED),
		.overflows = __atomic_load_n(&rings->overflow, __ATOMIC_RELAXED),
		.refused = __atomic_load_n(&rings->bad_supply, __ATOMIC_RELAXED),
		.metadata_bytes = info.metadata_bytes,
	};
}

static void reserved_free(struct backend *b)
{
	struct reserved *r = reserved_of(b);

	r->device->close(r->device);
	free(r->windows);
	free(r);
}

static const struct backend_ops reserved_ops = {
	.create = reserved_create,
	.open = reserved_open,
	.close = reserved_close,
	.remove = reserved_remove,
	.each = reserved_each,
	.left = reserved_left,
	.discard = reserved_discard,
	.open_memory = reserved_open_memory,
	.map = reserved_map,
	.unmap = reserved_unmap,
	.commit = reserved_commit,
	.resident_bytes = reserved_resident_bytes,
	.scan = reserved_scan,
	.next_event = reserved_next_event,
	.slots = reserved_slots,
	.is_open = reserved_is_open,
	.supply_level = reserved_supply_level,
	.supply = reserved_supply,
	.unsupply = reserved_unsupply,
	.read_supply = reserved_read_supply,
	.move = reserved_move,
	.retire = reserved_retire,
	.blocks = reserved_blocks,
	.tick = reserved_tick,
	.figures = reserved_figures,
	.free = reserved_free,
};

/* --- ranges --- */

static void note_range(struct reserved *r, const struct memlease_pool_range *have)
{
	const struct reserved_want *want = NULL;
	char size[ML_SIZE_TEXT];

	for (unsigned int i = 0; i < r->setup.wants; i++) {
		if (r->setup.want[i].base == have->base && r->setup.want[i].bytes == have->bytes)
			want = &r->setup.want[i];
	}
	r->base.ranges[r->base.range_count++] = (struct backend_range){
		.base = have->base, .bytes = have->bytes, .first_block = have->first_block,
		.blocks = (uint32_t)(have->bytes / BLOCK),
		.node = want && want->node >= 0 ? want->node : have->node,
		.tier = want ? want->tier : 0,
	};
	if (!want)
		ml_warn("range 0x%llx,%s is the pool's since an earlier start, though it is not named now; it stays until the module is unloaded",
			(unsigned long long)have->base, ml_size_exact(have->bytes, size));
}

static bool have_range(const struct reserved *r, const struct reserved_want *want)
{
	for (unsigned int i = 0; i < r->base.range_count; i++) {
		if (r->base.ranges[i].base == want->base && r->base.ranges[i].bytes == want->bytes)
			return true;
	}
	return false;
}

static int claim(struct reserved *r, const struct reserved_want *want)
{
	struct memlease_pool_range range = { .base = want->base, .bytes = want->bytes };
	int ret = reserved_call(r, MEMLEASE_POOL_CLAIM, &range);
	char size[ML_SIZE_TEXT];

	if (ret == 0) {
		note_range(r, &range);
		return 0;
	}
	ml_err("range 0x%llx,%s cannot be claimed: %s", (unsigned long long)want->base,
	       ml_size_exact(want->bytes, size),
	       ret == -EEXIST ? "Linux uses part of it, or has a page array for it; carve it out by memmap= or mem= on the kernel's command line" :
	       ret == -EBUSY ? "somebody has it, perhaps this pool under another base and size; name it as at the first start, or unload the module" :
	       strerror(-ret));
	return ret;
}

static int take_ranges(struct reserved *r)
{
	struct memlease_pool_info info = { 0 };
	int ret = reserved_call(r, MEMLEASE_POOL_INFO, &info);

	if (ret < 0)
		return ret;
	if (info.version != MEMLEASE_POOL_VERSION) {
		ml_err("memlease_pool.ko speaks version %u, this daemon %u; install both from one release",
		       info.version, MEMLEASE_POOL_VERSION);
		return -EPROTO;
	}
	for (uint32_t i = 0; i < info.ranges && i < BACKEND_RANGES_MAX; i++) {
		struct memlease_pool_range range = { .index = i };

		ret = reserved_call(r, MEMLEASE_POOL_RANGE, &range);
		if (ret < 0)
			return ret;
		note_range(r, &range);
	}
	for (unsigned int i = 0; ret == 0 && i < r->setup.wants; i++) {
		if (!have_range(r, &r->setup.want[i]))
			ret = claim(r, &r->setup.want[i]);
	}
	for (unsigned int i = 0; i < r->base.range_count; i++)
		r->base.blocks += r->base.ranges[i].blocks;
	return ret;
}

static int open_parts(struct reserved *r)
{
	int ret = take_ranges(r);

	if (ret < 0)
		return ret;
	if (!r->base.blocks) {
		ml_err("the pool has no range of memory; name one: --pool reserved:BASE,SIZE");
		return -EINVAL;
	}
	r->base.memory = r->device->map_pool(r->device, r->base.blocks * BLOCK);
	if (!r->base.memory) {
		ml_err("the pool of %llu blocks cannot be mapped: %m",
		       (unsigned long long)r->base.blocks);
		return -ENOMEM;
	}
	snprintf(r->title, sizeof(r->title), "reserved: %u range%s", r->base.range_count,
		 r->base.range_count == 1 ? "" : "s");
	reserved_ring_init(&r->ring, r->device);
	return reserved_read_windows(r);
}

int backend_reserved_open(struct backend **out, const struct reserved_setup *setup,
			  struct reserved_device *device)
{
	struct reserved *r = calloc(1, sizeof(*r));
	int ret;

	if (!r) {
		device->close(device);
		return -ENOMEM;
	}
	r->setup = *setup;
	r->device = device;
	r->base = (struct backend){
		.ops = &reserved_ops, .name = r->title, .scan_sees_all = true,
		.serves_touches = true, .event_fd = device->fd,
		.supply_most = MEMLEASE_POOL_SUPPLY, .mark = &device->rings->mark,
	};
	ret = open_parts(r);
	if (ret < 0) {
		reserved_free(&r->base);
		return ret;
	}
	*out = &r->base;
	return 0;
}
