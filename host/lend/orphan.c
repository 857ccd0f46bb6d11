// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs of which only the regions are left; see orphan.h. */
#include "orphan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "tell.h"
#include "vm.h"

#define SLOTS_AT_ONCE 1024
#define LOOKED_AT_ONCE 64	/* orphans a second: two files each are opened and asked for */

struct orphan {
	char uuid[LEND_UUID_LEN + 1];
	uint64_t blocks;	/* by the source's count */
};

struct orphans {
	struct orphan *at;
	size_t count, next;	/* next: to be looked at */
	bool settled;		/* the table has their blocks as lent to them */
	uint64_t lent;		/* so many */
	uint32_t *blocks;	/* which, where numbers only count: as many as lent */
	uint32_t room;
};

static const struct block_owner nobody = { .vm = ORPHAN_ID, .slot = TABLE_SLOT_FOREIGN, .fixed = true };

static bool is_of_a_vm(const struct lender *l, const char *uuid)
{
	for (const struct lend_vm *vm = NULL; (vm = lend_next_alive(l, vm));) {
		if (strcmp(vm->rec->uuid, uuid) == 0)
			return true;
	}
	return false;
}

static struct orphan *orphan_of(const struct lender *l, const char *uuid)
{
	for (size_t i = 0; l->orphans && i < l->orphans->count; i++) {
		if (strcmp(l->orphans->at[i].uuid, uuid) == 0)
			return &l->orphans->at[i];
	}
	return NULL;
}

static int note(void *ctx, const char *name)
{
	struct lender *l = ctx;
	struct orphans *o = l->orphans;
	char uuid[LEND_UUID_LEN + 1];
	struct orphan *grown;

	if (!vm_region_uuid(name, uuid) || is_of_a_vm(l, uuid) || orphan_of(l, uuid))
		return 0;
	grown = realloc(o->at, (o->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	o->at = grown;
	grown[o->count] = (struct orphan){ .blocks = 0 };
	memcpy(grown[o->count++].uuid, uuid, sizeof(uuid));
	return 0;
}

/* Count what is behind its regions. False: nobody has them open. */
static bool look(struct lender *l, struct orphan *orphan)
{
	struct backend *b = l->backend;
	bool open = false;

	orphan->blocks = 0;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		struct backend_left left = { 0 };
		char name[BACKEND_NAME_BYTES];
		int ret;

		vm_region_name(orphan->uuid, (enum memlease_region)r, name);
		ret = b->ops->left(b, name, &left);
		orphan->blocks += left.blocks;
		open |= left.open || (ret < 0 && ret != -ENOENT);
	}
	return open;
}

/* Mapped nowhere any more. At start the table has no orphan's blocks yet. */
static void block_gone(void *ctx, uint32_t block)
{
	struct lender *l = ctx;

	if (!l->orphans->settled || block >= l->pool.table.blocks)
		return;
	orphan_took(l, block);
	pool_put(pool_self(&l->pool), block);
	l->orphans->lent -= l->orphans->lent > 0;
}

/* False: it is still there, and has to be looked at again. */
static bool take_back(struct lender *l, const struct orphan *orphan)
{
	bool gone = true;

	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		char name[BACKEND_NAME_BYTES];
		int ret;

		vm_region_name(orphan->uuid, (enum memlease_region)r, name);
		ml_step("orphan");
		ret = l->backend->ops->discard(l->backend, name, block_gone, l);
		if (ret < 0 && ret != -ENOENT)
			ml_warn("%s: cannot remove: %s", name, strerror(-ret));
		gone &= ret == 0 || ret == -ENOENT;
	}
	return gone;
}

static void tell_found(struct lender *l, const struct orphan *orphan)
{
	char text[240];

	if (!orphan->blocks) {
		ml_info("orphan %s: somebody has it open, and it has no block", orphan->uuid);
		return;
	}
	snprintf(text, sizeof(text),
		 "a VM without a record still has %" PRIu64 " blocks, which are neither metered nor lent to others; they come back when its QEMU ends: fuser %s/%s.*",
		 orphan->blocks, l->config.pool_dir ? l->config.pool_dir : "/dev/memlease",
		 orphan->uuid);
	ml_err("orphan %s: %s", orphan->uuid, text);
	tell_orphan(l, LEND_EV_ORPHAN, orphan->uuid, text);
}

static void tell_gone(struct lender *l, const struct orphan *orphan)
{
	char text[80];

	snprintf(text, sizeof(text), "nobody has it open any more; %" PRIu64 " blocks came back",
		 orphan->blocks);
	ml_info("orphan %s: %s", orphan->uuid, text);
	tell_orphan(l, LEND_EV_ORPHAN_ENDED, orphan->uuid, text);
}

int orphan_find(struct lender *l)
{
	struct orphans *o = l->orphans = calloc(1, sizeof(*o));
	size_t kept = 0;
	int ret;

	if (!o)
		return -ENOMEM;
	ret = l->backend->ops->each(l->backend, note, l);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < o->count; i++) {
		if (!look(l, &o->at[i]) && take_back(l, &o->at[i])) {
			tell_gone(l, &o->at[i]);
			continue;
		}
		tell_found(l, &o->at[i]);
		o->at[kept++] = o->at[i];
	}
	o->count = kept;
	return 0;
}

static bool make_room(struct orphans *o, uint64_t want)
{
	uint32_t *grown;

	if (want <= o->room)
		return true;
	grown = realloc(o->blocks, want * sizeof(*grown));
	if (!grown)
		return false;
	o->blocks = grown;
	o->room = (uint32_t)want;
	return true;
}

void orphan_lend(struct lender *l)
{
	struct pool_user *u = pool_self(&l->pool);
	struct orphans *o = l->orphans;
	uint64_t want = 0;

	o->settled = true;
	for (size_t i = 0; i < o->count; i++)
		want += o->at[i].blocks;
	if (want > l->pool.table.blocks)
		want = l->pool.table.blocks;
	while (o->lent > want)
		pool_put(u, o->blocks[--o->lent]);
	/* Without room, or free blocks, the next look tries again. */
	while (o->lent < want && make_room(o, want)) {
		uint32_t block = pool_get(u, nobody);

		if (block == POOL_NO_BLOCK)
			break;
		o->blocks[o->lent++] = block;
	}
}

struct block_owner orphan_owner(void)
{
	return nobody;
}

void orphan_settled(struct lender *l, uint64_t lent)
{
	l->orphans->settled = true;
	l->orphans->lent = lent;
}

bool orphan_took(struct lender *l, uint32_t block)
{
	if (!l->orphans || !l->orphans->count || block >= l->pool.table.blocks ||
	    table_word(&l->pool.table, block).state != BLOCK_OFFERED ||
	    pool_taken(pool_self(&l->pool), block, nobody) < 0)
		return false;
	l->orphans->lent++;
	return true;
}

/* A region is opened for as long as its slots are read. */
static int each_of_region(struct lender *l, const char *name, uint64_t slots,
			  void (*one)(void *ctx, uint32_t block), void *ctx)
{
	struct backend_slot_word words[SLOTS_AT_ONCE];
	struct backend_region region = { 0 };
	const struct backend_ops *ops = l->backend->ops;
	int ret = ops->open(l->backend, name, slots, &region);

	if (ret < 0)
		return ret;
	for (uint64_t at = 0; ret == 0 && at < slots; at += SLOTS_AT_ONCE) {
		uint64_t n = slots - at < SLOTS_AT_ONCE ? slots - at : SLOTS_AT_ONCE;

		ret = ops->slots(&region, at, n, words);
		for (uint64_t i = 0; ret == 0 && i < n; i++) {
			if (words[i].state == BACKEND_RESIDENT &&
			    words[i].block < l->pool.table.blocks)
				one(ctx, words[i].block);
		}
	}
	ops->close(&region);
	return ret;
}

int orphan_each_block(struct lender *l, void (*one)(void *ctx, uint32_t block), void *ctx)
{
	struct orphans *o = l->orphans;
	int ret = 0;

	for (size_t i = 0; o && ret == 0 && i < o->count; i++) {
		for (int r = 0; ret == 0 && r < MEMLEASE_REGION_COUNT; r++) {
			struct backend_left left = { 0 };
			char name[BACKEND_NAME_BYTES];

			vm_region_name(o->at[i].uuid, (enum memlease_region)r, name);
			ret = l->backend->ops->left(l->backend, name, &left);
			if (ret == 0)
				ret = each_of_region(l, name, left.slots, one, ctx);
			ret = ret == -ENOENT ? 0 : ret;
		}
	}
	return ret;
}

void orphan_tick(struct lender *l)
{
	struct orphans *o = l->orphans;

	if (!o || !o->count)
		return;
	for (size_t n = o->count < LOOKED_AT_ONCE ? o->count : LOOKED_AT_ONCE; n; n--) {
		struct orphan *orphan;

		if (o->next >= o->count)
			o->next = 0;
		orphan = &o->at[o->next];
		if (look(l, orphan) || !take_back(l, orphan)) {
			o->next++;
			continue;
		}
		tell_gone(l, orphan);
		*orphan = o->at[--o->count];
	}
	if (!l->backend->serves_touches)
		orphan_lend(l);
}

uint64_t orphan_blocks(const struct lender *l)
{
	return l->orphans ? l->orphans->lent : 0;
}

size_t orphan_count(const struct lender *l)
{
	return l->orphans ? l->orphans->count : 0;
}

void orphan_free(struct lender *l)
{
	if (!l->orphans)
		return;
	free(l->orphans->at);
	free(l->orphans->blocks);
	free(l->orphans);
	l->orphans = NULL;
}
