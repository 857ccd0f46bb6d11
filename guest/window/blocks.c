// SPDX-License-Identifier: GPL-2.0-or-later
/* The memory blocks of the window and their states; see blocks.h. */
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "../../proto/memlease_abi.h"
#include "../wire/wire.h"
#include "blocks.h"

#define ML_TO(state)		BIT(ML_##state)

/* The legal moves. */
static const u16 ml_moves[ML_STATE_COUNT] = {
	[ML_VACANT]	= ML_TO(BORROWING) | ML_TO(LOST),
	[ML_BORROWING]	= ML_TO(COMMITTED) | ML_TO(RETURNING) | ML_TO(VACANT),
	[ML_COMMITTED]	= ML_TO(ADDED) | ML_TO(RETURNING),
	[ML_ADDED]	= ML_TO(ONLINE) | ML_TO(REMOVING) | ML_TO(COMMITTED),
	[ML_ONLINE]	= ML_TO(ADDED) | ML_TO(REMOVING),
	[ML_REMOVING]	= ML_TO(COMMITTED) | ML_TO(ADDED) | ML_TO(ONLINE),
	[ML_RETURNING]	= ML_TO(VACANT),
	[ML_LOST]	= 0,
};

static const char * const ml_state_names[ML_STATE_COUNT] = {
	"vacant", "borrowing", "committed", "added", "online", "removing", "returning", "lost",
};

const char *ml_state_text(enum ml_state state)
{
	return state < ML_STATE_COUNT ? ml_state_names[state] : "unknown";
}

u64 ml_blocks_addr(const struct ml_blocks *b, u32 i)
{
	return b->addr + i * b->mb_bytes;
}

static void ml_block_move(struct ml_blocks *b, struct ml_block *block, enum ml_state state)
{
	lockdep_assert_held(&b->lock);
	WARN_ON_ONCE(!(ml_moves[block->state] & BIT(state)));
	if (block->retired && state == ML_VACANT)
		state = ML_LOST;
	b->in_state[block->state]--;
	b->in_state[state]++;
	block->state = state;
}

void ml_blocks_set(struct ml_blocks *b, u32 i, enum ml_state state)
{
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	ml_block_move(b, &b->block[i], state);
	spin_unlock_irqrestore(&b->lock, flags);
}

void ml_blocks_grant(struct ml_blocks *b, u32 i, u32 slots)
{
	unsigned long flags;
	u64 before, now;

	spin_lock_irqsave(&b->lock, flags);
	before = b->borrowed_slots;
	b->borrowed_slots += slots;
	b->borrowed_slots -= b->block[i].borrowed;
	b->block[i].borrowed = slots;
	now = b->borrowed_slots;
	/* Memory of ours in Linux' hands must not outlive the code that can give it back. */
	if (!before && now)
		__module_get(THIS_MODULE);
	else if (before && !now)
		module_put(THIS_MODULE);
	spin_unlock_irqrestore(&b->lock, flags);
}

u64 ml_blocks_borrowed(struct ml_blocks *b)
{
	unsigned long flags;
	u64 borrowed;

	spin_lock_irqsave(&b->lock, flags);
	borrowed = b->borrowed_slots;
	spin_unlock_irqrestore(&b->lock, flags);
	return borrowed;
}

enum ml_state ml_blocks_state(const struct ml_blocks *b, u32 i)
{
	return READ_ONCE(b->block[i].state);
}

bool ml_blocks_is_kernel(const struct ml_blocks *b, u32 i)
{
	return READ_ONCE(b->block[i].kernel);
}

void ml_blocks_set_kernel(struct ml_blocks *b, u32 i, bool kernel)
{
	WRITE_ONCE(b->block[i].kernel, kernel);
}

bool ml_blocks_is_retired(const struct ml_blocks *b, u32 i)
{
	return READ_ONCE(b->block[i].retired);
}

bool ml_blocks_is_stuck(const struct ml_blocks *b, u32 i)
{
	return READ_ONCE(b->block[i].stuck);
}

u32 ml_blocks_in(struct ml_blocks *b, enum ml_state state)
{
	return READ_ONCE(b->in_state[state]);
}

struct ml_span ml_blocks_span(const struct ml_blocks *b, u32 i, u32 slots)
{
	return (struct ml_span){
		.region = MEMLEASE_REGION_WINDOW,
		.first = b->first_slot + (u64)i * b->slots_per_mb,
		.count = slots,
	};
}

u32 ml_blocks_pick(struct ml_blocks *b, bool kernel, u32 *picked, u32 n)
{
	unsigned long flags;
	u32 step, got = 0;

	spin_lock_irqsave(&b->lock, flags);
	for (step = 0; step < b->count && got < n; step++) {
		u32 i = kernel ? step : b->count - 1 - step;

		if (b->block[i].state != ML_VACANT)
			continue;
		b->block[i].kernel = kernel;
		ml_block_move(b, &b->block[i], ML_BORROWING);
		picked[got++] = i;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return got;
}

u32 ml_blocks_of_pfn(const struct ml_blocks *b, unsigned long pfn)
{
	u64 addr = PFN_PHYS(pfn);

	if (addr < b->addr || addr >= b->addr + b->count * b->mb_bytes)
		return b->count;
	return div64_u64(addr - b->addr, b->mb_bytes);
}

u32 ml_blocks_kernel_count(struct ml_blocks *b)
{
	u32 i, n = 0;

	for (i = 0; i < b->count; i++)
		n += READ_ONCE(b->block[i].kernel) && READ_ONCE(b->block[i].state) == ML_ONLINE;
	return n;
}

int ml_blocks_return(struct ml_blocks *b, u32 i, struct ml_request *req)
{
	struct ml_span span = ml_blocks_span(b, i, b->block[i].borrowed);
	int rc = 0;

	lockdep_assert_not_held(&b->hotplug);
	if (READ_ONCE(b->block[i].state) != ML_RETURNING)
		ml_blocks_set(b, i, ML_RETURNING);
	if (span.count) {
		ml_request_spans(req, MEMLEASE_REQ_RETURN, &span, 1);
		rc = ml_queue_call(&b->wire->queue, req);
		if (!rc && ml_request_done(req, 0) != span.count)
			rc = -EAGAIN;
	}
	WRITE_ONCE(b->block[i].stuck, rc != 0);
	if (rc) {
		ml_wire_failed(b->wire, "RETURN", rc);
		return rc;
	}
	ml_blocks_grant(b, i, 0);
	ml_blocks_set(b, i, ML_VACANT);
	return 0;
}

void ml_blocks_forget(struct ml_blocks *b)
{
	u32 i;

	for (i = 0; i < b->count; i++) {
		enum ml_state state = ml_blocks_state(b, i);

		if (state != ML_BORROWING && state != ML_COMMITTED && state != ML_RETURNING)
			continue;
		if (state == ML_COMMITTED)
			ml_blocks_set(b, i, ML_RETURNING);
		WRITE_ONCE(b->block[i].stuck, false);
		ml_blocks_grant(b, i, 0);
		ml_blocks_set(b, i, ML_VACANT);
	}
}

void ml_blocks_retire(struct ml_blocks *b, u64 first, u64 count)
{
	unsigned long flags;
	u32 i;

	for (i = 0; i < b->count; i++) {
		struct ml_span span = ml_blocks_span(b, i, b->slots_per_mb);

		if (first >= span.first + span.count || count <= span.first - min(first, span.first))
			continue;
		spin_lock_irqsave(&b->lock, flags);
		b->block[i].retired = true;
		if (b->block[i].state == ML_VACANT)
			ml_block_move(b, &b->block[i], ML_LOST);
		spin_unlock_irqrestore(&b->lock, flags);
	}
}

/* The window's memory blocks, as far as this kernel can add them. */
static int ml_blocks_find(struct ml_blocks *b)
{
	const struct ml_layout *layout = &b->wire->fixed.layout;
	struct range usable = mhp_get_pluggable_range(true);

	b->mb_bytes = memory_block_size_bytes();
	b->slots_per_mb = b->mb_bytes >> MEMLEASE_BLOCK_SHIFT;
	b->count = ml_trim_window(layout, usable.start, usable.end, b->mb_bytes, &b->addr);
	if (!b->count && layout->window_bytes) {
		dev_err(ml_wire_dev(b->wire),
			"the window [%#llx, +%#llx) holds no memory block of %llu MiB in [%#llx, %#llx], which is all this kernel can add\n",
			layout->window_addr, layout->window_bytes, b->mb_bytes >> 20,
			usable.start, usable.end);
		return -ERANGE;
	}
	if (!b->count)
		b->addr = layout->window_addr;
	b->first_slot = (b->addr - layout->window_addr) >> MEMLEASE_BLOCK_SHIFT;
	return 0;
}

int ml_blocks_init(struct ml_blocks *b, struct ml_wire *wire)
{
	int rc;

	b->wire = wire;
	mutex_init(&b->hotplug);
	spin_lock_init(&b->lock);
	rc = ml_blocks_find(b);
	if (rc)
		return rc;
	/* A VM without a window still reports its boot memory. */
	b->block = kvcalloc(max(b->count, 1U), sizeof(*b->block), GFP_KERNEL);
	if (!b->block)
		return -ENOMEM;
	b->in_state[ML_VACANT] = b->count;
	return 0;
}

void ml_blocks_exit(struct ml_blocks *b)
{
	kvfree(b->block);
}
