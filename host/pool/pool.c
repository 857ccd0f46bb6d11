// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pool: opening, users, and the paths of single blocks and runs; see pool.h.
 * The order of each change: the bit of a block is cleared before its word names an
 * owner, and its word says that it is free before its bit is set.
 */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rebuild.h"
#include "search.h"


/* --- users --- */

void pool_prefer(struct pool_user *u, const uint8_t *ranges, unsigned int count)
{
	pool_rest(u);
	if (count > u->pool->span_count)
		count = u->pool->span_count;
	memcpy(u->order, ranges, count);
	u->order_count = count;
}

/* A node's own memory before others', but a fast tier anywhere before a slow one. */
static void order_by_node(struct pool_user *u, int node)
{
	const struct pool *p = u->pool;

	u->order_count = 0;
	for (unsigned int tier = 0; tier <= UINT8_MAX; tier++) {
		for (int far = 0; far < 2; far++) {
			for (unsigned int i = 0; i < p->span_count; i++) {
				const struct pool_range *r = &p->spans[i].range;

				if (r->tier == tier && (r->node != node) == far)
					u->order[u->order_count++] = (uint8_t)i;
			}
		}
	}
}

/* Where it begins to look: 0, 1/2, 1/4, 3/4 and so on, so that few users are far apart. */
static unsigned int spread_out(unsigned int writer)
{
	unsigned int part = 0;

	for (unsigned int bit = POOL_USERS_MAX / 2; writer; writer >>= 1, bit >>= 1)
		part |= writer & 1 ? bit : 0;
	return part;
}

static void user_begin(struct pool *p, unsigned int writer, int node)
{
	struct pool_user *u = &p->users[writer];

	u->pool = p;
	u->writer = writer;
	u->home = spread_out(writer);
	u->last = p->spans;
	u->dirty_area = (uint32_t)((uint64_t)p->area_count * u->home / POOL_USERS_MAX);
	memset(u->from, 0, sizeof(u->from));
	order_by_node(u, node);
	table_admit(&p->table, writer);
}

struct pool_user *pool_self(struct pool *p)
{
	return &p->users[0];
}

struct pool_user *pool_join(struct pool *p, int node)
{
	for (unsigned int i = 1; i < POOL_USERS_MAX; i++) {
		bool free = false;

		if (!atomic_compare_exchange_strong(&p->users[i].taken, &free, true))
			continue;
		user_begin(p, i, node);
		return &p->users[i];
	}
	return NULL;
}

void pool_rest(struct pool_user *u)
{
	for (int k = 0; k < POOL_KINDS; k++)
		search_leave(u, (enum pool_kind)k);
}

void pool_leave(struct pool_user *u)
{
	pool_rest(u);
	atomic_store(&u->taken, false);
}

/* --- opening and closing --- */

/* Areas of a range begin where a GiB does, and no two ranges share one. */
static int make_spans(struct pool *p, const struct pool_setup *setup)
{
	const struct pool_range all = { .blocks = setup->blocks, .node = POOL_ANY_NODE };
	const struct pool_range *ranges = setup->ranges ? setup->ranges : &all;
	unsigned int n = setup->ranges ? setup->range_count : 1;
	uint32_t next = 0;

	if (!n || n > POOL_RANGES_MAX)
		return -EINVAL;
	p->spans = calloc(n, sizeof(*p->spans));
	if (!p->spans)
		return -ENOMEM;
	p->span_count = n;
	for (unsigned int i = 0; i < n; i++) {
		struct pool_span *s = &p->spans[i];
		uint32_t at = (uint32_t)(ranges[i].base >> POOL_BLOCK_SHIFT) & (POOL_AREA_BLOCKS - 1);

		s->range = ranges[i];
		if (s->range.first != next || !s->range.blocks ||
		    s->range.blocks > setup->blocks - next)
			return -EINVAL;
		next += s->range.blocks;
		s->first_area = p->area_count;
		s->areas = (at + s->range.blocks + POOL_AREA_BLOCKS - 1) >> POOL_AREA_ORDER;
		s->shift = (s->first_area << POOL_AREA_ORDER) + at - s->range.first;
		p->area_count += s->areas;
	}
	return next == setup->blocks ? 0 : -EINVAL;
}

static void *zeroed_lines(size_t count, size_t size)
{
	size_t bytes = (count * size + 63) & ~(size_t)63;
	void *lines = aligned_alloc(64, bytes);

	return lines ? memset(lines, 0, bytes) : NULL;
}

static int make_volatile(struct pool *p)
{
	uint32_t words = (p->area_count + 63) / 64;

	p->areas = zeroed_lines(p->area_count, sizeof(*p->areas));
	p->meta = zeroed_lines(p->area_count, sizeof(*p->meta));
	p->has_clean = zeroed_lines(words, sizeof(*p->has_clean));
	p->has_dirty = zeroed_lines(words, sizeof(*p->has_dirty));
	p->users = zeroed_lines(POOL_USERS_MAX, sizeof(*p->users));
	atomic_store(&p->wish, POOL_NO_AREA);
	return p->areas && p->meta && p->has_clean && p->has_dirty && p->users ? 0 : -ENOMEM;
}

int pool_open(struct pool *p, const struct pool_setup *setup, bool *old_boot, uint32_t *need)
{
	int ret;

	memset(p, 0, sizeof(*p));
	ret = make_spans(p, setup);
	if (ret == 0)
		ret = table_open(&p->table, setup->dirfd, POOL_TABLE_FILE, setup->blocks,
				 setup->zeroed_on_map, setup->boot_id, old_boot, need);
	if (ret == 0)
		ret = make_volatile(p);
	if (ret == 0)
		ret = rebuild_areas(p);
	if (ret < 0) {
		pool_close(p);
		return ret;
	}
	atomic_store(&p->users[0].taken, true);
	user_begin(p, 0, POOL_ANY_NODE);
	return 0;
}

void pool_close(struct pool *p)
{
	free(p->spans);
	free(p->areas);
	free((void *)p->meta);
	free((void *)p->has_clean);
	free((void *)p->has_dirty);
	free(p->users);
	p->spans = NULL;
	p->areas = NULL;
	p->meta = NULL;
	p->has_clean = NULL;
	p->has_dirty = NULL;
	p->users = NULL;
	table_close(&p->table);
}

/* --- single blocks --- */

/* The caller has claimed its bit. False: it was retired while it was free. */
static inline bool take_claimed(struct pool_user *u, uint32_t block, enum block_state from,
				enum block_state to, struct block_owner owner)
{
	struct pool *p = u->pool;
	uint64_t seen = table_raw(&p->table, block);

	if (block_state_of(seen) == from &&
	    table_move(&p->table, u->writer, block, seen, to, owner) == 0)
		return true;
	if (table_word(&p->table, block).state != BLOCK_RETIRED)
		area_broken(p, block, "it was marked as free");
	return false;
}

/* A clean block of a kind; it becomes `to`. */
static uint32_t get_of_kind(struct pool_user *u, enum pool_kind kind, enum block_state to,
			    struct block_owner owner)
{
	struct pool_reserve *r = &u->from[kind];
	struct pool *p = u->pool;

	for (;;) {
		uint32_t bit = r->area ? area_claim(r->area->clean, &r->word) : AREA_NO_BIT;
		uint32_t block;

		if (bit == AREA_NO_BIT) {
			if (!search_area(u, kind))
				return POOL_NO_BLOCK;
			continue;
		}
		if (r->shared && !area_admit(p, r->index, kind)) {
			area_give_clean(p, r->index, bit);
			r->area = NULL;
			continue;
		}
		block = r->area->first + bit;
		if (take_claimed(u, block, BLOCK_CLEAN, to, owner))
			return block;
	}
}

uint32_t pool_get(struct pool_user *u, struct block_owner owner)
{
	return get_of_kind(u, owner.fixed ? POOL_FIXED : POOL_MOVABLE, BLOCK_LENT, owner);
}

uint32_t pool_offer(struct pool_user *u, uint32_t *blocks, uint32_t most)
{
	const struct block_owner none = { 0 };
	uint32_t n = 0;

	while (n < most) {
		uint32_t block = get_of_kind(u, POOL_MOVABLE, BLOCK_OFFERED, none);

		if (block == POOL_NO_BLOCK)
			break;
		blocks[n++] = block;
	}
	return n;
}

/*
 * A block of the caller's becomes free, DIRTY or CLEAN. `from`: bits of the states that
 * it may be in.
 */
static inline void release(struct pool_user *u, uint32_t block, unsigned int from,
			   enum block_state to)
{
	const struct block_owner none = { 0 };
	struct pool *p = u->pool;
	uint64_t seen = table_raw(&p->table, block);
	uint32_t area, bit;

	if (!(from >> block_state_of(seen) & 1) ||
	    table_move(&p->table, u->writer, block, seen, to, none) < 0) {
		/* It may have been retired, or be just now; then nobody gets it. */
		if (table_word(&p->table, block).state != BLOCK_RETIRED)
			area_broken(p, block, "its owner gave it back");
		return;
	}
	area = area_place(p, &u->last, block, &bit);
	if (to == BLOCK_CLEAN)
		area_give_clean(p, area, bit);
	else
		area_give_dirty(p, area, bit);
}

void pool_put(struct pool_user *u, uint32_t block)
{
	struct table *t = &u->pool->table;

	if (!t->zeroed_on_map) {
		release(u, block, 1U << BLOCK_LENT | 1U << BLOCK_OFFERED | 1U << BLOCK_MOVING,
			BLOCK_DIRTY);
		return;
	}
	release(u, block, 1U << BLOCK_LENT | 1U << BLOCK_OFFERED | 1U << BLOCK_MOVING,
		BLOCK_CLEAN);
}

void pool_unoffer(struct pool_user *u, uint32_t block)
{
	release(u, block, 1U << BLOCK_OFFERED, BLOCK_CLEAN);
}

int pool_taken(struct pool_user *u, uint32_t block, struct block_owner owner)
{
	struct table *t = &u->pool->table;
	uint64_t seen = table_raw(t, block);

	if (block_state_of(seen) != BLOCK_OFFERED)
		return -EAGAIN;
	return table_move(t, u->writer, block, seen, BLOCK_LENT, owner);
}

/* --- runs --- */

uint32_t pool_get_run(struct pool_user *u, struct block_owner owner, unsigned int order)
{
	uint32_t n = 1U << order, bit, i;
	struct pool_area *a;

	if (order == 0)
		return pool_get(u, owner);
	if (order > POOL_AREA_ORDER)
		return POOL_NO_BLOCK;
	for (;;) {
		uint32_t first;

		a = search_run(u, owner.fixed ? POOL_FIXED : POOL_MOVABLE, order, &bit);
		if (!a)
			return POOL_NO_BLOCK;
		first = a->first + bit;
		for (i = 0; i < n; i++) {
			struct block_owner each = owner;

			each.slot += i;
			if (!take_claimed(u, first + i, BLOCK_CLEAN, BLOCK_LENT, each))
				break;
		}
		if (i == n)
			return first;
		/* Block i was retired: the blocks before it are LENT, those behind it never left CLEAN. */
		for (uint32_t k = 0; k < i; k++)
			pool_put(u, first + k);
		for (uint32_t k = i + 1; k < n; k++)
			area_give_clean(u->pool, (uint32_t)(a - u->pool->areas), bit + k);
	}
}

/* --- zeroing --- */

uint32_t pool_take_dirty(struct pool_user *u, uint32_t *blocks, uint32_t most)
{
	const struct block_owner none = { 0 };
	struct pool *p = u->pool;

	while (most) {
		uint32_t area = search_dirty(u), bit = 0, count, n = 0;

		if (area == POOL_NO_AREA)
			return 0;
		u->dirty_area = area;
		count = area_claim_batch(p->areas[area].dirty, most, &bit);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t block = p->areas[area].first + bit + i;

			if (take_claimed(u, block, BLOCK_DIRTY, BLOCK_ZEROING, none))
				blocks[n++] = block;
		}
		if (n)
			return n;
	}
	return 0;
}

void pool_clean(struct pool_user *u, uint32_t block)
{
	release(u, block, 1U << BLOCK_ZEROING, BLOCK_CLEAN);
}

void pool_undo_dirty(struct pool_user *u, uint32_t block)
{
	release(u, block, 1U << BLOCK_ZEROING, BLOCK_DIRTY);
}

/* --- memory errors --- */

struct block_word pool_retire(struct pool_user *u, uint32_t block)
{
	const struct block_owner none = { 0 };
	struct pool *p = u->pool;
	uint32_t bit, area = area_place(p, &u->last, block, &bit);
	struct block_word w;
	uint64_t seen;

	do {
		seen = table_raw(&p->table, block);
		w = block_unpack(seen);
		if (w.state == BLOCK_RETIRED)
			return w;
	} while (table_move(&p->table, u->writer, block, seen, BLOCK_RETIRED, none) < 0);
	/* A user that has claimed the block finds the word; if it is free its bit is taken away here. */
	claim_one(p->areas[area].clean, bit);
	claim_one(p->areas[area].dirty, bit);
	atomic_fetch_sub(&p->areas[area].blocks, 1);
	return w;
}
