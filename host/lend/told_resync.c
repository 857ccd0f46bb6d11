// SPDX-License-Identifier: GPL-2.0-or-later
/* Table and slots as the source has them; see told_resync.h. */
#include "told_resync.h"

#include "../base/log.h"
#include "account.h"
#include "orphan.h"
#include "told_out.h"
#include "told_read.h"

#define SLOTS_AT_ONCE 1024
#define BLOCKS_AT_ONCE 4096

static void resync_slot(struct lend_region *r, uint64_t slot, const struct backend_slot_word *is)
{
	bool here = slots_state(&r->slots, slot) == SLOT_RESIDENT;
	uint32_t had = here ? slots_block(&r->slots, slot) : 0;

	if (here && (is->state != BACKEND_RESIDENT || is->block != had))
		told_stray_out(r, slot, SLOT_COMMITTED);
	if (is->state == BACKEND_LOST)
		told_lost(r, slot);
	/* Of boot memory, and while it ends, a VM has the right to slots that fail already. */
	if (is->state == BACKEND_VACANT && slots_state(&r->slots, slot) == SLOT_COMMITTED &&
	    r->which == MEMLEASE_REGION_WINDOW && !r->vm->rec->ending)
		slots_set(&r->slots, slot, SLOT_VACANT, 0);
	if (is->state == BACKEND_RESIDENT && !(here && is->block == had))
		told_taken(r, slot, is->block, lend_now(r->vm->lender));
}

void told_resync_slot(struct lend_region *r, uint64_t slot)
{
	uint64_t now_ns = lend_now(r->vm->lender);
	struct backend_slot_word word;

	if (r->vm->lender->backend->ops->slots(&r->at, slot, 1, &word) < 0)
		return;
	meter_advance(&r->vm->rec->meter, now_ns);
	resync_slot(r, slot, &word);
	account_meter(r->vm, now_ns, NULL);
}

void told_resync(struct lend_vm *vm)
{
	uint64_t now_ns = lend_now(vm->lender);

	meter_advance(&vm->rec->meter, now_ns);
	for (int i = 0; i < MEMLEASE_REGION_COUNT; i++) {
		struct lend_region *r = &vm->region[i];
		struct backend_slot_word words[SLOTS_AT_ONCE];

		for (uint64_t at = 0; at < r->slots.count; at += SLOTS_AT_ONCE) {
			uint64_t left = r->slots.count - at;
			uint64_t n = left < SLOTS_AT_ONCE ? left : SLOTS_AT_ONCE;

			if (vm->lender->backend->ops->slots(&r->at, at, n, words) < 0)
				return;
			for (uint64_t s = 0; s < n; s++)
				resync_slot(r, at + s, &words[s]);
		}
	}
	account_meter(vm, now_ns, NULL);
}

int told_find_retired(struct lender *l)
{
	const struct table *t = &l->pool.table;
	uint8_t states[BLOCKS_AT_ONCE];
	uint32_t n, found = 0;

	l->source_blocks = 0;
	for (uint32_t at = 0; at < t->blocks; at += n) {
		int ret;

		n = t->blocks - at < BLOCKS_AT_ONCE ? t->blocks - at : BLOCKS_AT_ONCE;
		ret = l->backend->ops->blocks(l->backend, at, n, states);
		if (ret < 0)
			return ret;
		for (uint32_t i = 0; i < n; i++) {
			if (states[i] != BACKEND_RETIRED && states[i] != BACKEND_OWN)
				continue;
			l->source_blocks += states[i] == BACKEND_OWN;
			if (table_word(t, at + i).state == BLOCK_RETIRED)
				continue;
			pool_retire(pool_self(&l->pool), at + i);
			found += states[i] == BACKEND_RETIRED;
			/* At start there is nobody yet to tell, and perhaps an event to come. */
			if (states[i] == BACKEND_RETIRED && !l->recovering)
				told_say_retired(l, NULL, at + i);
		}
	}
	if (found && l->recovering)
		ml_warn("pool: %u blocks had memory errors that the table did not know of; they are retired",
			found);
	return 0;
}

/* Its event may be among those that were lost. */
static void resync_orphan(void *ctx, uint32_t block)
{
	orphan_took(ctx, block);
}

void told_resync_all(struct lender *l)
{
	l->due &= ~(unsigned int)DUE_RESYNC;
	l->resynced_ns = lend_now(l);
	for (struct lend_vm *vm = NULL; (vm = lend_next_alive(l, vm));)
		told_resync(vm);
	orphan_each_block(l, resync_orphan, l);
	told_find_retired(l);
}
