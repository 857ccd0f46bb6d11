/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stand-in for memlease_pool.ko in user space, for unit tests and the simulation:
 * proto/memlease_ioctl.h as far as one thread can have it. All of it lies in one
 * structure without pointers, so that it can be put into memory that outlives a
 * daemon. A block's contents are one number; zero is zeros.
 *
 * The includer defines FAKE_MUST(condition, format, ...), which does not return
 * where the condition does not hold: the module's own rules, and that no block
 * reaches a slot unless it holds zeros.
 */
#ifndef ML_TESTS_FAKE_POOL_H
#define ML_TESTS_FAKE_POOL_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../host/pool/reserved.h"

#ifndef FAKE_BLOCKS_MAX	/* else by the includer, for large ones */
#define FAKE_BLOCKS_MAX 2048
#define FAKE_SLOTS_MAX 1024
#define FAKE_WINDOWS_MAX 64
#endif
#define FAKE_RETIRED 0xffffffffffffffffULL
#define FAKE_MODULE 0xfffffffffffffffeULL

struct fake_window {
	uint32_t id;			/* 0: none */
	uint32_t slots, opened;
	char name[MEMLEASE_POOL_NAME_BYTES];
	uint32_t word[FAKE_SLOTS_MAX];
	uint32_t told[FAKE_SLOTS_MAX];	/* a task waits at the slot, and has told this daemon; + 1, 0: none waits */
};

struct fake_pool {
	struct memlease_rings rings;
	uint32_t supply_tail, touches_head;	/* the module's own */
	struct memlease_pool_range range[8];
	uint32_t ranges, blocks, next_id;
	uint64_t owner[FAKE_BLOCKS_MAX];	/* 0: nobody; window << 32 | slot; or one of the above */
	uint64_t content[FAKE_BLOCKS_MAX];
	struct fake_window window[FAKE_WINDOWS_MAX];
	uint64_t now_ns;
	uint32_t daemons;			/* that have opened the control device */
	uint32_t touches_max;			/* records that the ring holds; 0: all of it */
	uint64_t taken, moved, zapped;
	int fail_next;				/* errno of the next MAP or COMMIT, or 0 */
	int fail_moves;				/* errno of each MOVE, or 0 */
	uint32_t failed_moves;
	bool keep_one;				/* sabotage: UNMAP forgets the last block */
};

struct fake_device {
	struct reserved_device base;
	struct fake_pool *pool;
};

static inline struct fake_window *fake_find(struct fake_pool *p, uint32_t id)
{
	for (int i = 0; id && i < FAKE_WINDOWS_MAX; i++) {
		if (p->window[i].id == id)
			return &p->window[i];
	}
	return NULL;
}

static inline struct fake_window *fake_named(struct fake_pool *p, const char *name)
{
	for (int i = 0; i < FAKE_WINDOWS_MAX; i++) {
		if (p->window[i].id && !strcmp(p->window[i].name, name))
			return &p->window[i];
	}
	return NULL;
}

static inline uint64_t fake_owner(const struct fake_window *w, uint32_t slot)
{
	return (uint64_t)w->id << 32 | slot;
}

/* False: there was no room. */
static inline bool fake_record(struct fake_pool *p, uint32_t type, uint32_t window, uint32_t slot,
			       uint32_t block, uint32_t pid)
{
	uint32_t most = p->touches_max ? p->touches_max : MEMLEASE_POOL_TOUCHES;

	if (p->touches_head - p->rings.touches_tail >= most) {
		p->rings.overflow++;
		return false;
	}
	p->rings.touches[p->touches_head % MEMLEASE_POOL_TOUCHES] = (struct memlease_touch){
		.type = type, .window = window, .slot = slot, .block = block,
		.time_ns = p->now_ns, .pid = pid,
	};
	p->rings.touches_head = ++p->touches_head;
	return true;
}

static inline bool fake_supply_empty(const struct fake_pool *p)
{
	uint32_t fill = p->rings.supply_head - p->supply_tail;

	return !fill || fill > MEMLEASE_POOL_SUPPLY;
}

/* A good block of the supply for this owner, or UINT32_MAX. */
static inline uint32_t fake_take(struct fake_pool *p, uint64_t owner)
{
	while (!fake_supply_empty(p)) {
		uint32_t b = p->rings.supply[p->supply_tail++ % MEMLEASE_POOL_SUPPLY];

		p->rings.supply_tail = p->supply_tail;
		if (b < p->blocks && !p->owner[b]) {
			FAKE_MUST(!p->content[b], "block %u of the supply is dirty", b);
			p->owner[b] = owner;
			return b;
		}
		p->rings.bad_supply++;
	}
	return UINT32_MAX;
}

enum fake_touched { FAKE_RESIDENT, FAKE_ZEROS, FAKE_WAITS, FAKE_FAILS };

/* One task waits at a slot: it tells of it once, and each new daemon. */
static inline void fake_wait(struct fake_pool *p, struct fake_window *w, uint32_t slot, uint32_t pid)
{
	if (w->told[slot] == p->daemons + 1)
		return;
	p->rings.waits += !w->told[slot];
	w->told[slot] = fake_record(p, MEMLEASE_TOUCH_WAITING, w->id, slot, UINT32_MAX, pid) ?
			p->daemons + 1 : 1;
}

/* A task of a VM touches a slot. *block: what it sees, if RESIDENT. */
static inline enum fake_touched fake_touch(struct fake_pool *p, struct fake_window *w, uint32_t slot,
					   bool write, uint32_t pid, uint32_t *block)
{
	uint32_t b;

	switch (MEMLEASE_SLOT_STATE(w->word[slot])) {
	case MEMLEASE_SLOT_RESIDENT:
		*block = MEMLEASE_SLOT_BLOCK(w->word[slot]);
		return FAKE_RESIDENT;
	case MEMLEASE_SLOT_LOST:
		return FAKE_FAILS;
	case MEMLEASE_SLOT_VACANT:
		if (!write)
			return FAKE_ZEROS;
		fake_record(p, MEMLEASE_TOUCH_VIOLATION, w->id, slot, UINT32_MAX, pid);
		return FAKE_FAILS;
	}
	b = fake_take(p, fake_owner(w, slot));
	if (b == UINT32_MAX) {
		fake_wait(p, w, slot, pid);
		return FAKE_WAITS;
	}
	w->told[slot] = 0;
	w->word[slot] = MEMLEASE_SLOT_RESIDENT | b << 2;
	p->taken++;
	fake_record(p, MEMLEASE_TOUCH_TAKEN, w->id, slot, b, pid);
	*block = b;
	return FAKE_RESIDENT;
}

/* A quarter of a second has passed: who waits looks for himself. */
static inline void fake_waiters_look(struct fake_pool *p)
{
	uint32_t block;

	for (int i = 0; i < FAKE_WINDOWS_MAX; i++) {
		struct fake_window *w = &p->window[i];

		for (uint32_t s = 0; w->id && s < w->slots; s++) {
			if (!w->told[s])
				continue;
			if (MEMLEASE_SLOT_STATE(w->word[s]) == MEMLEASE_SLOT_COMMITTED)
				fake_touch(p, w, s, true, 0, &block);
			else
				w->told[s] = 0;
		}
	}
}

/* Nobody has the window open any more, nor waits. */
static inline void fake_closed(struct fake_pool *p, struct fake_window *w)
{
	w->opened = 0;
	memset(w->told, 0, sizeof(w->told));
	fake_record(p, MEMLEASE_TOUCH_CLOSED, w->id, 0, UINT32_MAX, 0);
}

static inline uint32_t fake_resident(const struct fake_window *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->slots; i++)
		n += MEMLEASE_SLOT_STATE(w->word[i]) == MEMLEASE_SLOT_RESIDENT;
	return n;
}

static inline uint32_t fake_committed(const struct fake_window *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->slots; i++)
		n += w->word[i] != MEMLEASE_SLOT_VACANT;
	return n;
}

static inline int fake_claim(struct fake_pool *p, struct memlease_pool_range *r)
{
	uint64_t mask = (1ULL << MEMLEASE_POOL_BLOCK_SHIFT) - 1;
	uint32_t blocks = (uint32_t)(r->bytes >> MEMLEASE_POOL_BLOCK_SHIFT);

	if (!r->bytes || (r->base | r->bytes) & mask)
		return -EINVAL;
	if (p->ranges == 8 || p->blocks + blocks > FAKE_BLOCKS_MAX)
		return -ENOSPC;
	for (uint32_t i = 0; i < p->ranges; i++) {
		if (r->base < p->range[i].base + p->range[i].bytes &&
		    p->range[i].base < r->base + r->bytes)
			return -EBUSY;
	}
	r->first_block = p->blocks;
	r->node = 0;
	r->index = p->ranges;
	if (!p->blocks)
		p->owner[0] = FAKE_MODULE;
	/* What a machine finds in its memory. */
	for (uint32_t b = p->blocks; b < p->blocks + blocks; b++)
		p->content[b] = b ? 0xdead0000 + b : 0;
	p->blocks += blocks;
	p->range[p->ranges++] = *r;
	return 0;
}

static inline int fake_do_create(struct fake_pool *p, struct memlease_pool_window *arg)
{
	struct fake_window *w = NULL;

	if (!arg->slots || arg->slots > FAKE_SLOTS_MAX)
		return -EINVAL;
	if (fake_named(p, arg->name))
		return -EEXIST;
	for (int i = 0; i < FAKE_WINDOWS_MAX && !w; i++) {
		if (!p->window[i].id)
			w = &p->window[i];
	}
	if (!w)
		return -ENOSPC;
	memset(w, 0, sizeof(*w));
	w->slots = arg->slots;
	memcpy(w->name, arg->name, sizeof(w->name));
	w->id = arg->id = ++p->next_id;
	return 0;
}

static inline int fake_window_read(struct fake_pool *p, struct memlease_pool_window *arg)
{
	struct fake_window *least = NULL;

	for (int i = 0; i < FAKE_WINDOWS_MAX; i++) {
		struct fake_window *w = &p->window[i];

		if (w->id > arg->id && (!least || w->id < least->id))
			least = w;
	}
	if (!least)
		return -ENOENT;
	*arg = (struct memlease_pool_window){
		.id = least->id, .slots = least->slots, .resident = fake_resident(least),
		.committed = fake_committed(least), .opened = least->opened,
	};
	memcpy(arg->name, least->name, sizeof(arg->name));
	return 0;
}

static inline int fake_failure(struct fake_pool *p)
{
	int err = p->fail_next;

	p->fail_next = 0;
	return -err;
}

static inline int fake_slots_op(struct fake_pool *p, struct memlease_pool_slots_op *op, bool commit)
{
	const struct memlease_pool_extent *x = (const void *)(uintptr_t)op->extent_ptr;
	uint32_t *blocks = (void *)(uintptr_t)op->blocks_ptr;
	struct fake_window *w = fake_find(p, op->window);

	op->taken = 0;
	if (commit && p->fail_next)
		return fake_failure(p);
	if (!w)
		return -ENOENT;
	for (uint32_t e = 0; e < op->extents; e++) {
		if (!x[e].count || x[e].first >= w->slots || x[e].count > w->slots - x[e].first)
			return -EINVAL;
	}
	for (uint32_t e = 0; e < op->extents; e++) {
		for (uint32_t i = x[e].first; i < x[e].first + x[e].count; i++) {
			uint32_t state = MEMLEASE_SLOT_STATE(w->word[i]);

			if (commit && op->on) {
				if (state == MEMLEASE_SLOT_VACANT)
					w->word[i] = MEMLEASE_SLOT_COMMITTED;
				continue;
			}
			if (!commit && state != MEMLEASE_SLOT_RESIDENT && state != MEMLEASE_SLOT_LOST)
				continue;
			if (p->keep_one && p->taken > 20 && i == x[e].first)
				continue;
			if (state == MEMLEASE_SLOT_RESIDENT) {
				blocks[op->taken] = MEMLEASE_SLOT_BLOCK(w->word[i]);
				p->owner[blocks[op->taken++]] = 0;
				p->zapped++;
			}
			w->word[i] = commit ? MEMLEASE_SLOT_VACANT : MEMLEASE_SLOT_COMMITTED;
			w->told[i] = 0;
		}
	}
	return 0;
}

static inline int fake_do_map(struct fake_pool *p, struct memlease_pool_map *m)
{
	struct fake_window *w = fake_find(p, m->window);

	if (p->fail_next)
		return fake_failure(p);
	if (!w || m->slot >= w->slots || m->block >= p->blocks)
		return -EINVAL;
	if (MEMLEASE_SLOT_STATE(w->word[m->slot]) == MEMLEASE_SLOT_RESIDENT)
		return -EEXIST;
	if (MEMLEASE_SLOT_STATE(w->word[m->slot]) != MEMLEASE_SLOT_COMMITTED)
		return -EPERM;
	if (p->owner[m->block])
		return -EBUSY;
	FAKE_MUST(!p->content[m->block], "block %u is mapped and dirty", m->block);
	p->owner[m->block] = fake_owner(w, m->slot);
	w->word[m->slot] = MEMLEASE_SLOT_RESIDENT | m->block << 2;
	w->told[m->slot] = 0;
	return 0;
}

static inline int fake_do_move(struct fake_pool *p, struct memlease_pool_map *m)
{
	struct fake_window *w = fake_find(p, m->window);
	uint32_t old;

	if (!w || m->slot >= w->slots || m->block >= p->blocks)
		return -EINVAL;
	if (MEMLEASE_SLOT_STATE(w->word[m->slot]) != MEMLEASE_SLOT_RESIDENT)
		return -EAGAIN;
	if (p->owner[m->block])
		return -EBUSY;
	if (p->fail_moves) {
		p->failed_moves++;
		return -p->fail_moves;
	}
	old = MEMLEASE_SLOT_BLOCK(w->word[m->slot]);
	p->content[m->block] = p->content[old];
	p->owner[m->block] = fake_owner(w, m->slot);
	p->owner[old] = 0;
	w->word[m->slot] = MEMLEASE_SLOT_RESIDENT | m->block << 2;
	m->block = old;
	p->moved++;
	return 0;
}

static inline int fake_retire(struct fake_pool *p, uint32_t block)
{
	uint64_t owner;
	struct fake_window *w;

	if (block >= p->blocks || p->owner[block] == FAKE_MODULE)
		return -EINVAL;
	owner = p->owner[block];
	if (owner == FAKE_RETIRED)
		return 0;
	p->owner[block] = FAKE_RETIRED;
	w = owner ? fake_find(p, (uint32_t)(owner >> 32)) : NULL;
	if (w)
		w->word[(uint32_t)owner] = MEMLEASE_SLOT_LOST;
	fake_record(p, MEMLEASE_TOUCH_ERROR, w ? w->id : 0, w ? (uint32_t)owner : 0, block, 0);
	return 0;
}

static inline int fake_destroy(struct fake_pool *p, uint32_t id)
{
	struct fake_window *w = fake_find(p, id);

	if (!w)
		return -ENOENT;
	if (w->opened)
		return -EBUSY;
	for (uint32_t i = 0; i < w->slots; i++) {
		if (MEMLEASE_SLOT_STATE(w->word[i]) == MEMLEASE_SLOT_RESIDENT)
			p->owner[MEMLEASE_SLOT_BLOCK(w->word[i])] = 0;
	}
	w->id = 0;
	return 0;
}

static inline int fake_info(struct fake_pool *p, struct memlease_pool_info *info)
{
	*info = (struct memlease_pool_info){
		.version = MEMLEASE_POOL_VERSION, .ranges = p->ranges, .blocks = p->blocks,
		.rings_bytes = sizeof(p->rings), .metadata_bytes = p->blocks * 8ULL,
	};
	for (int i = 0; i < FAKE_WINDOWS_MAX; i++) {
		info->windows += p->window[i].id != 0;
		if (p->window[i].id)
			info->resident += fake_resident(&p->window[i]);
	}
	for (uint32_t b = 0; b < p->blocks; b++)
		info->retired += p->owner[b] == FAKE_RETIRED;
	return 0;
}

static inline int fake_read(struct fake_pool *p, unsigned long request, void *arg)
{
	struct memlease_pool_blocks *q = arg;
	struct memlease_pool_slots *s = arg;
	struct memlease_pool_range *r = arg;
	struct fake_window *w;

	if (request == MEMLEASE_POOL_RANGE) {
		if (r->index >= p->ranges)
			return -ENOENT;
		*r = p->range[r->index];
		return 0;
	}
	if (request == MEMLEASE_POOL_SLOTS) {
		w = fake_find(p, s->window);
		if (!w || s->first > w->slots || s->count > w->slots - s->first)
			return -EINVAL;
		memcpy((void *)(uintptr_t)s->words_ptr, w->word + s->first, s->count * sizeof(uint32_t));
		return 0;
	}
	if (q->first > p->blocks || q->count > p->blocks - q->first)
		return -EINVAL;
	for (uint32_t i = 0; i < q->count; i++) {
		uint64_t o = p->owner[q->first + i];

		((uint8_t *)(uintptr_t)q->states_ptr)[i] =
			o == FAKE_RETIRED ? MEMLEASE_BLOCK_RETIRED :
			o == FAKE_MODULE ? MEMLEASE_BLOCK_MODULE :
			o ? MEMLEASE_BLOCK_BEHIND : MEMLEASE_BLOCK_UNUSED;
	}
	return 0;
}

static inline int fake_ioctl(struct reserved_device *d, unsigned long request, void *arg)
{
	struct fake_pool *p = ((struct fake_device *)d)->pool;

	switch (request) {
	case MEMLEASE_POOL_INFO:
		return fake_info(p, arg);
	case MEMLEASE_POOL_CLAIM:
		return fake_claim(p, arg);
	case MEMLEASE_POOL_CREATE:
		return fake_do_create(p, arg);
	case MEMLEASE_POOL_WINDOW:
		return fake_window_read(p, arg);
	case MEMLEASE_POOL_DESTROY:
		return fake_destroy(p, *(uint32_t *)arg);
	case MEMLEASE_POOL_COMMIT:
		return fake_slots_op(p, arg, true);
	case MEMLEASE_POOL_UNMAP:
		return fake_slots_op(p, arg, false);
	case MEMLEASE_POOL_MAP:
		return fake_do_map(p, arg);
	case MEMLEASE_POOL_MOVE:
		return fake_do_move(p, arg);
	case MEMLEASE_POOL_SUPPLIED:
		return 0;
	case MEMLEASE_POOL_RETIRE:
		return fake_retire(p, *(uint32_t *)arg);
	case MEMLEASE_POOL_RANGE:
	case MEMLEASE_POOL_SLOTS:
	case MEMLEASE_POOL_BLOCKS:
		return fake_read(p, request, arg);
	}
	return -ENOTTY;
}

static inline void *fake_map_pool(struct reserved_device *d, uint64_t bytes)
{
	struct fake_pool *p = ((struct fake_device *)d)->pool;

	return bytes == (uint64_t)p->blocks << MEMLEASE_POOL_BLOCK_SHIFT ? p->content : NULL;
}

static inline void fake_device_close(struct reserved_device *d)
{
	free(d);
}

/* A control device over p, as a daemon opens it. */
static inline struct reserved_device *fake_device(struct fake_pool *p)
{
	struct fake_device *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	p->daemons++;
	d->pool = p;
	d->base = (struct reserved_device){
		.fd = -1, .rings = &p->rings, .windows = "", .ioctl = fake_ioctl,
		.map_pool = fake_map_pool, .close = fake_device_close,
	};
	return &d->base;
}

#endif /* ML_TESTS_FAKE_POOL_H */
