// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What guests ask: borrow, return, report, touch; job.c has reset. vhost/ has checked the
 * arguments; here they are asserted. Costs go with the number of slots named,
 * never with the size of the window.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/step.h"
#include "lender.h"
#include "process.h"

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

/*
 * The source must know, too, which slots may be touched; after the record does, so that
 * what it has is in the record whenever a crash comes. If it will not, nothing was lent.
 */
static int commit(struct lend_vm *vm, uint64_t first, uint64_t count)
{
	struct lend_region *r = &vm->region[MEMLEASE_REGION_WINDOW];
	const struct backend_ops *ops = vm->lender->backend->ops;
	uint32_t taken;
	int ret;

	if (!ops->commit)
		return 0;
	ml_step("commit");
	ret = ops->commit(&r->at, first, count, true, NULL, &taken);
	if (ret == 0)
		return 0;
	ml_err("VM %s: %" PRIu64 " slots cannot be committed: %s", vm->rec->spec.name, count,
	       strerror(-ret));
	served_resync(vm);
	return -EUCLEAN;
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
	lender_snapshot(vm->lender, &pool);
	vm_snapshot(vm, &snap);
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
	ret = *done ? commit(vm, first, *done) : 0;
	if (ret < 0) {
		*done = 0;
		*reason = MEMLEASE_WHY_POOL;
	}
	vm_meter(vm, now_ns, NULL);
	return ret;
}

int lend_return(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason)
{
	struct slots *s = slots_of(vm, MEMLEASE_REGION_WINDOW);
	uint64_t now_ns;
	int ret;

	assert_range(s, first, count);
	*done = 0;
	*reason = MEMLEASE_WHY_OK;
	ret = move_out(vm, MEMLEASE_REGION_WINDOW, first, count, SLOT_VACANT, NULL);
	if (ret == 0 && !lend_served(vm->lender)) {
		now_ns = lend_now(vm->lender);
		meter_advance(&vm->rec->meter, now_ns);
		for (uint64_t i = first; i < first + count; i++) {
			if (slots_state(s, i) == SLOT_COMMITTED)
				slots_set(s, i, SLOT_VACANT, 0);
		}
		vm_meter(vm, now_ns, NULL);
	}
	if (ret == 0)
		*done = count;
	wait_drop(vm, MEMLEASE_REGION_WINDOW, first, count);
	wait_serve(vm->lender);
	return ret;
}

int lend_report(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
		uint64_t *done, enum memlease_reason *reason)
{
	uint64_t moved = 0;
	int ret;

	assert_range(slots_of(vm, region), first, count);
	*done = 0;
	*reason = MEMLEASE_WHY_OK;
	ret = move_out(vm, region, first, count, SLOT_COMMITTED, &moved);
	vm->rec->reported_blocks += moved;
	if (ret == 0)
		*done = count;
	if (moved)
		wait_serve(vm->lender);
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

/* The VM is not served and cannot go on: a touch that is never answered stops it for good. */
static void stop_vm(struct lend_vm *vm, uint64_t slot)
{
	char text[sizeof(vm->rec->broken_text)];

	snprintf(text, sizeof(text),
		 "touched window slot %" PRIu64 ", which it had not borrowed; QEMU (pid %d) was killed",
		 slot, (int)vm->rec->pid);
	lend_break(vm, MEMLEASE_BROKEN_TOUCH, text);
	process_kill(vm->pidfd);
	ml_warn("VM %s: %s", vm->rec->spec.name, text);
	vm_event(vm->lender, LEND_EV_VM_STOPPED, vm, text);
}

/*
 * May a resident slot have lost its memory to QEMU? The counts tell, unless another
 * slot was filled meanwhile; then the source does, where it can.
 */
static bool emptied(const struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct backend *b = vm->lender->backend;
	struct backend_region *at = (struct backend_region *)&vm->region[region].at;
	uint8_t present = 1;

	if (lend_served(vm->lender))
		return false;
	if (vm->foreign || vm_fs_blocks(vm) != vm_resident(vm))
		return true;
	return b->scan_sees_all && b->ops->scan(at, slot, 1, &present) == 0 && !present;
}

int lend_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct slots *s = slots_of(vm, region);
	struct policy_pool pool;
	struct policy_vm snap;
	uint64_t now_ns;
	int ret;

	assert_range(s, slot, 1);
	served_read_all(vm->lender);
	switch (slots_state(s, slot)) {
	case SLOT_RESIDENT:
		/* A second touch on its way when the first was served, or QEMU emptied its file. */
		if (emptied(vm, region, slot)) {
			move_again(vm, region, slot);
			audit_count(vm, lend_now(vm->lender));
		}
		return 0;
	case SLOT_COMMITTED:
		break;
	default:
		stop_vm(vm, slot);
		return -EACCES;
	}
	now_ns = lend_now(vm->lender);
	if (wait_has(vm, region, slot)) {
		wait_ask(vm->lender, now_ns);
		return -EAGAIN;
	}
	lender_snapshot(vm->lender, &pool);
	vm_snapshot(vm, &snap);
	ret = policy_touch(&pool, &snap) ? wait_give(vm, region, slot, now_ns, &pool) : -EAGAIN;
	if (ret == 0) {
		/* It may have been there in part, counted as foreign. */
		if (vm->foreign)
			audit_count(vm, now_ns);
		return 0;
	}
	if (ret != -EAGAIN)
		return ret;
	wait_add(vm, region, slot, now_ns);
	wait_ask(vm->lender, now_ns);
	return -EAGAIN;
}

void lend_break(struct lend_vm *vm, enum memlease_broken reason, const char *text)
{
	struct record *rec = vm->rec;

	if (rec->broken != MEMLEASE_BROKEN_NOT || reason == MEMLEASE_BROKEN_NOT)
		return;
	snprintf(rec->broken_text, sizeof(rec->broken_text), "%s", text);
	rec->broken = reason;
	ml_warn("VM %s: device broken: %s", rec->spec.name, text);
	vm_event(vm->lender, LEND_EV_VM_BROKEN, vm, rec->broken_text);
	vm->lender->hooks.config_changed(vm->lender->hooks.ctx, vm);
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
