// SPDX-License-Identifier: GPL-2.0-or-later
/* What operators ask, see lend.h: limit, guarantee, target, reports, compaction. */
#include <errno.h>
#include <stdio.h>

#include "../base/size.h"
#include "account.h"
#include "compact.h"
#include "lend.h"
#include "serve.h"
#include "stock.h"
#include "tell.h"
#include "turn.h"

#define DEADLINE_MS_MIN 100
#define DEADLINE_MS_MAX 3600000

static const char *size_text(uint64_t blocks, char buf[ML_SIZE_TEXT])
{
	return ml_size_human(blocks * MEMLEASE_BLOCK_BYTES, buf);
}

int lend_set_limit(struct lend_vm *vm, uint64_t limit_blocks, struct ml_why *why)
{
	struct vm_spec *s = &vm->rec->spec;
	uint64_t most = s->boot_blocks + vm->rec->window_blocks;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (limit_blocks < s->boot_blocks || limit_blocks > most)
		return ml_refuse(why, -EINVAL,
				 "a limit of %s is out of bounds: from %s (boot memory) to %s (boot memory and window, which were fixed when the VM was made)",
				 size_text(limit_blocks, a), size_text(s->boot_blocks, b),
				 size_text(most, c));
	if (limit_blocks < s->guarantee_blocks)
		return ml_refuse(why, -EINVAL,
				 "a limit of %s is below the guarantee of %s; lower the guarantee first",
				 size_text(limit_blocks, a), size_text(s->guarantee_blocks, b));
	s->limit_blocks = limit_blocks;
	account_sum(vm);
	tell_config(vm);
	return 0;
}

int lend_set_guarantee(struct lend_vm *vm, uint64_t guarantee_blocks, struct ml_why *why)
{
	struct vm_spec *s = &vm->rec->spec;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT];
	struct policy_pool pool;
	uint64_t now_ns;
	int ret;

	if (guarantee_blocks > s->limit_blocks)
		return ml_refuse(why, -EINVAL,
				 "a guarantee of %s is above the limit of %s; raise the limit first",
				 size_text(guarantee_blocks, a), size_text(s->limit_blocks, b));
	/* It is asked for when its QEMU comes. */
	if (account_lapsed(vm)) {
		s->guarantee_blocks = guarantee_blocks;
		return 0;
	}
	/* What may be promised is what is free for certain. */
	stock_hold(vm->lender);
	account_pool(vm->lender, &pool);
	ret = policy_guarantee(&pool, s->guarantee_blocks, guarantee_blocks, account_resident(vm), why);
	if (ret == 0) {
		now_ns = lend_now(vm->lender);
		meter_advance(&vm->rec->meter, now_ns);
		s->guarantee_blocks = guarantee_blocks;
		account_meter(vm, now_ns, NULL);
		turn_serve(vm->lender);		/* a guarantee lowered frees blocks for others */
	}
	stock_fill(vm->lender);
	return ret;
}

static int check_target(const struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms, struct ml_why *why)
{
	const struct vm_spec *s = &vm->rec->spec;
	uint64_t most = s->boot_blocks + vm->rec->window_blocks;
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (target_blocks < s->boot_blocks || target_blocks > most)
		return ml_refuse(why, -EINVAL,
				 "a target of %s is out of bounds: from %s (boot memory) to %s (boot memory and window)",
				 size_text(target_blocks, a), size_text(s->boot_blocks, b),
				 size_text(most, c));
	if (deadline_ms < DEADLINE_MS_MIN || deadline_ms > DEADLINE_MS_MAX)
		return ml_refuse(why, -EINVAL, "a deadline of %u ms is out of bounds: from %d to %d ms",
				 deadline_ms, DEADLINE_MS_MIN, DEADLINE_MS_MAX);
	return 0;
}

int lend_set_target(struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms, struct ml_why *why)
{
	struct record *rec = vm->rec;
	struct lender *l = vm->lender;
	bool clear = target_blocks == MEMLEASE_NO_TARGET;
	int ret = clear ? 0 : check_target(vm, target_blocks, deadline_ms, why);

	if (ret < 0)
		return ret;
	rec->target_blocks = clear ? MEMLEASE_NO_TARGET : target_blocks - rec->spec.boot_blocks;
	rec->target_deadline_ms = clear ? 0 : deadline_ms;
	rec->target_seq++;
	tell_config(vm);
	tell_guest(vm, MEMLEASE_EV_TARGET, rec->target_seq, rec->target_blocks,
		   rec->target_deadline_ms);
	tell_event(l, LEND_EV_TARGET, vm, NULL);
	return 0;
}

void lend_report_now(struct lend_vm *vm)
{
	serve_ask_vm(vm);
}

int lender_compact(struct lender *l, uint32_t gib, struct ml_why *why)
{
	int ret = compact_want(l, gib);

	if (ret < 0)
		return ml_refuse(why, ret,
				 "the pool (%s) is memory that the host's kernel moves by itself; only a reserved pool can be compacted",
				 l->backend->name);
	return 0;
}
