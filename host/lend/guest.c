// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What guests ask, see lend.h: borrow, return, report, touch, reset. vhost/ has checked the
 * arguments; here they are asserted. Costs go with the number of slots named, never with
 * the size of the window.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>

#include "account.h"
#include "job.h"
#include "lend.h"
#include "loan.h"
#include "offence.h"
#include "serve.h"
#include "turn.h"
#include "waiting.h"

static struct slots *slots_of(const struct lend_vm *vm, enum memlease_region region)
{
	assert(region < MEMLEASE_REGION_COUNT);
	return (struct slots *)&vm->region[region].slots;
}

static void assert_range(const struct slots *s, uint64_t first, uint64_t count)
{
	assert(count && first < s->count && count <= s->count - first);
	(void)s;
	(void)first;
	(void)count;
}

uint64_t lend_clock_ns(const struct lend_vm *vm)
{
	return lend_now(vm->lender);
}

int lend_borrow(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason)
{
	struct slots *s = slots_of(vm, MEMLEASE_REGION_WINDOW);
	int ret;
	uint64_t want = 0, at, now_ns = lend_now(vm->lender);
	struct policy_pool pool;
	struct policy_vm snap;
	struct policy_grant g;

	assert_range(s, first, count);
	for (at = first; at < first + count; at++)
		want += slots_state(s, at) == SLOT_VACANT;
	account_pool(vm->lender, &pool);
	account_vm(vm, &snap);
	g = policy_grant(&pool, &snap, want);
	meter_advance(&vm->rec->meter, now_ns);
	for (at = first; at < first + count; at++) {
		if (slots_state(s, at) != SLOT_VACANT)
			continue;
		if (!g.blocks)
			break;
		g.blocks--;
		slots_set(s, at, SLOT_COMMITTED, 0);
	}
	*done = at - first;
	*reason = *done < count ? g.reason : MEMLEASE_WHY_OK;
	ret = *done ? loan_commit(vm, first, *done) : 0;
	if (ret < 0) {
		*done = 0;
		*reason = MEMLEASE_WHY_POOL;
	}
	account_meter(vm, now_ns, NULL);
	return ret;
}

int lend_return(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason)
{
	int ret;

	assert_range(slots_of(vm, MEMLEASE_REGION_WINDOW), first, count);
	*reason = MEMLEASE_WHY_OK;
	ret = loan_return(vm, first, count);
	*done = ret == 0 ? count : 0;
	turn_serve(vm->lender);
	return ret;
}

int lend_report(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
		uint64_t *done, enum memlease_reason *reason)
{
	uint64_t moved = 0;
	int ret;

	assert_range(slots_of(vm, region), first, count);
	*reason = MEMLEASE_WHY_OK;
	ret = loan_out(vm, region, first, count, &moved);
	vm->rec->reported_blocks += moved;
	*done = ret == 0 ? count : 0;
	if (moved)
		turn_serve(vm->lender);
	return ret;
}

bool lend_committed(const struct lend_vm *vm, enum memlease_region region, uint64_t first,
		    uint64_t count)
{
	const struct slots *s = slots_of(vm, region);

	assert_range(s, first, count);
	for (uint64_t i = first; i < first + count; i++) {
		if (slots_state(s, i) == SLOT_VACANT)
			return false;
	}
	return true;
}

bool lend_resident(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	const struct slots *s = slots_of(vm, region);

	assert_range(s, slot, 1);
	return slots_state(s, slot) == SLOT_RESIDENT;
}

int lend_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct slots *s = slots_of(vm, region);
	struct policy_pool pool;
	struct policy_vm snap;
	uint64_t now_ns;
	int ret;

	assert_range(s, slot, 1);
	loan_read_all(vm->lender);
	switch (slots_state(s, slot)) {
	case SLOT_RESIDENT:
		/* A second touch on its way when the first was served, or QEMU emptied its file. */
		loan_again(vm, region, slot);
		return 0;
	case SLOT_COMMITTED:
		break;
	default:
		offence_stop(vm, "touched window slot %" PRIu64 ", which it had not borrowed", slot);
		return -EACCES;
	}
	now_ns = lend_now(vm->lender);
	if (waiting_has(vm, region, slot)) {
		serve_ask(vm->lender, now_ns);
		return -EAGAIN;
	}
	account_pool(vm->lender, &pool);
	account_vm(vm, &snap);
	ret = policy_touch(&pool, &snap) ? serve_touch(vm, region, slot, now_ns, &pool) : -EAGAIN;
	if (ret == 0)
		/* It may have been there in part, counted as foreign. */
		loan_count_again(vm, now_ns);
	if (ret != -EAGAIN)
		return ret;
	waiting_add(vm, region, slot, now_ns);
	turn_waits(vm->lender);
	return -EAGAIN;
}

void lend_break(struct lend_vm *vm, enum memlease_broken reason, const char *text)
{
	offence_break(vm, reason, text);
}

void lend_reset(struct lend_vm *vm)
{
	job_reset(vm);
	job_slice(vm);
	turn_serve(vm->lender);
}

bool lend_resetting(const struct lend_vm *vm)
{
	return vm->rec->resetting;
}

void lend_vm_config(const struct lend_vm *vm, struct memlease_config *out)
{
	const struct record *rec = vm->rec;

	*out = (struct memlease_config){
		.version = htole32(MEMLEASE_ABI_VERSION),
		.flags = htole32(rec->broken ? MEMLEASE_CFG_BROKEN : 0),
		.block_bytes = htole64(MEMLEASE_BLOCK_BYTES),
		.window_bytes = htole64(rec->window_blocks * MEMLEASE_BLOCK_BYTES),
		.limit_blocks = htole64(rec->spec.limit_blocks - rec->spec.boot_blocks),
		.target_blocks = htole64(rec->target_blocks),
		.target_seq = htole32(rec->target_seq),
		.target_deadline_ms = htole32(rec->target_deadline_ms),
		.max_extents = htole16(MEMLEASE_MAX_EXTENTS),
		.broken_reason = htole16((uint16_t)rec->broken),
	};
}

void lend_vm_stat(struct lend_vm *vm, uint16_t tag, uint64_t value)
{
	struct record *rec = vm->rec;

	if (tag >= MEMLEASE_MAX_STATS)
		return;
	rec->guest_stat[tag] = value;
	rec->guest_stat_valid |= 1U << tag;
	rec->guest_stat_wall_ms = ml_wall_ms(vm->lender->config.clock);
}
