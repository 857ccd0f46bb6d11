// SPDX-License-Identifier: GPL-2.0-or-later
/* Making VMs, see lend.h: what may come in, and what it is made of. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/name.h"
#include "../base/size.h"
#include "../base/terms.h"
#include "account.h"
#include "lend.h"
#include "loan.h"
#include "stock.h"
#include "tell.h"
#include "vm.h"

static const char *size_text(uint64_t blocks, char buf[ML_SIZE_TEXT])
{
	return ml_size_exact(blocks * MEMLEASE_BLOCK_BYTES, buf);
}

#define LEND_LIMIT_POOLS 4		/* as much as the pool and its overbooking allow, times this */
#define LEND_OVERBOOK_NONE 1000		/* percent that --overbook none counts as, for this alone */
#define LEND_LIMIT_FLOOR_BLOCKS (64ULL << 9)	/* 64 GiB are always possible */

/*
 * What a VM may be given as a limit at most. A record has a word for each slot, so a limit that
 * nothing could ever fill costs memory, and time of the event loop. The pool may be larger
 * after a restart, and the window of a VM stays what it was made with: so much is left open.
 */
static uint64_t limit_most(const struct lender *l)
{
	uint64_t percent = l->config.overbook_percent > 100 ? l->config.overbook_percent : 100, most;

	if (!l->config.overbook_percent)
		percent = LEND_OVERBOOK_NONE;
	if (__builtin_mul_overflow(l->config.pool_blocks, percent * LEND_LIMIT_POOLS, &most))
		return UINT64_MAX;
	most /= 100;
	return most > LEND_LIMIT_FLOOR_BLOCKS ? most : LEND_LIMIT_FLOOR_BLOCKS;
}

static int check_limit(const struct lender *l, const struct vm_spec *s, struct ml_why *why)
{
	char limit[ML_SIZE_TEXT], most[ML_SIZE_TEXT], pool[ML_SIZE_TEXT];

	if (s->limit_blocks <= limit_most(l))
		return 0;
	return ml_refuse(why, -EINVAL,
			 "a limit of %s is more than this pool can come to lend: at most %s is possible, from the pool's size, %s, and --overbook",
			 ml_size_human(s->limit_blocks * MEMLEASE_BLOCK_BYTES, limit),
			 ml_size_human(limit_most(l) * MEMLEASE_BLOCK_BYTES, most),
			 ml_size_human(l->config.pool_blocks * MEMLEASE_BLOCK_BYTES, pool));
}

static int check_spec(struct lender *l, const struct vm_spec *s, struct ml_why *why)
{
	const char *bad = !ml_name_ok(s->name, LEND_NAME_MAX) ? s->name :
			  !ml_name_ok(s->tenant, LEND_NAME_MAX) ? s->tenant :
			  !ml_name_ok(s->plan, LEND_NAME_MAX) ? s->plan : NULL;
	/* The ledger's integers hold one period of so many blocks. */
	uint64_t most = INT64_MAX / 1000000000 / l->config.period_s;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (bad)
		return ml_refuse(why, -EINVAL,
				 "'%.63s' is no name: use letters, digits, '_', '.', '-', starting with a letter or digit, at most %d",
				 bad, LEND_NAME_MAX);
	if (most > TABLE_SLOT_MAX)
		most = TABLE_SLOT_MAX;
	if (!s->boot_blocks || s->limit_blocks < s->boot_blocks || s->limit_blocks > most)
		return ml_refuse(why, -EINVAL,
				 "boot memory of %s and a limit of %s do not go together: boot memory is at least 2M and at most the limit, the limit at most %s",
				 size_text(s->boot_blocks, a), size_text(s->limit_blocks, b),
				 size_text(most, c));
	if (s->guarantee_blocks > s->limit_blocks)
		return ml_refuse(why, -EINVAL,
				 "a guarantee of %s is above the limit of %s",
				 size_text(s->guarantee_blocks, a), size_text(s->limit_blocks, b));
	if (s->weight < 1 || s->weight > ML_WEIGHT_MAX)
		return ml_refuse(why, -EINVAL, "weight %u is not from 1 to 10000; 100 is ordinary",
				 s->weight);
	return check_limit(l, s, why);
}

static int check_room(struct lender *l, const struct vm_spec *s, uint32_t *id, struct ml_why *why)
{
	struct policy_pool pool;

	if (vm_find(l, s->name))
		return ml_refuse(why, -EEXIST, "there is a VM named '%s'; take another name, or end it",
				 s->name);
	for (*id = 0; *id < LEND_IDS && l->by_id[*id];)
		(*id)++;
	if (l->vms >= LEND_VMS_MAX || *id == LEND_IDS)
		return ml_refuse(why, -ENOSPC,
				 "there are %zu VMs, of at most %d, and ended ones that wait for the ledger; end some, or free the ledger's disk",
				 l->vms, LEND_VMS_MAX);
	/* What may be promised is what is free for certain. */
	stock_hold(l);
	account_pool(l, &pool);
	return policy_admit(&pool, s->boot_blocks, s->guarantee_blocks, why);
}

static void drop_new(struct lend_vm *vm)
{
	vm_remove_regions(vm);
	record_delete(vm->lender->state_fd, vm->rec);
	vm_free(vm);
}

/* Of a spec that may come in: its record, its regions, and the VM on the list. */
static int make_vm(struct lender *l, const struct vm_spec *spec, uint32_t id, struct lend_vm **out,
		   struct ml_why *why)
{
	char uuid[ML_UUID_TEXT];
	struct ml_map map = { 0 };
	struct lend_vm *vm = NULL;
	int ret;

	ret = ml_uuid_make(uuid);
	if (ret == 0)
		ret = record_create(l->state_fd, spec, uuid, l->boot_id, id, l->next_serial,
				    lend_now(l), ml_wall_ms(l->config.clock), &map);
	if (ret < 0)
		return ml_refuse(why, ret, "cannot make the VM's record in %s: %s", l->state_dir,
				 strerror(-ret));
	l->next_serial++;
	ret = vm_new(&vm, l, &map);
	if (ret == 0)
		ret = vm_open_regions(vm);
	if (ret < 0) {
		if (vm)
			drop_new(vm);
		return ml_refuse(why, ret, "cannot make the VM's %s: %s", l->loans->memory,
				 strerror(-ret));
	}
	vm_link(vm);
	*out = vm;
	return 0;
}

int lend_vm_create(struct lender *l, const struct vm_spec *spec, struct lend_vm **out,
		   struct ml_why *why)
{
	uint32_t id = 0;
	int ret;

	ret = check_spec(l, spec, why);
	if (ret == 0)
		ret = check_room(l, spec, &id, why);
	if (ret == 0)
		ret = make_vm(l, spec, id, out, why);
	stock_fill(l);
	if (ret < 0)
		return ret;
	ml_info("VM %s: created for tenant %s", spec->name, spec->tenant);
	tell_event(l, LEND_EV_VM_CREATED, *out, NULL);
	return 0;
}
