// SPDX-License-Identifier: GPL-2.0-or-later
/* What the layers above may read of VMs and of the pool. Moves nothing. */
#include <stdio.h>
#include <string.h>

#include "account.h"
#include "clean.h"
#include "compact.h"
#include "lend.h"
#include "orphan.h"
#include "supply.h"
#include "unstarted.h"
#include "vm.h"

struct lend_vm *lend_vm_find(struct lender *l, const char *name)
{
	return vm_find(l, name);
}

struct lend_vm *lend_vm_next(struct lender *l, struct lend_vm *after)
{
	return after ? after->next : l->first;
}

const char *lend_vm_name(const struct lend_vm *vm)
{
	return vm->rec->spec.name;
}

void lend_vm_set_user(struct lend_vm *vm, void *user)
{
	vm->user = user;
}

void *lend_vm_user(const struct lend_vm *vm)
{
	return vm->user;
}

const char *lend_region_path(const struct lend_vm *vm, enum memlease_region region)
{
	return vm->region[region].at.path;
}

uint64_t lend_region_blocks(const struct lend_vm *vm, enum memlease_region region)
{
	return vm->region[region].slots.count;
}

dev_t lend_region_device(const struct lend_vm *vm, enum memlease_region region)
{
	return vm->region[region].at.device;
}

int lend_region_open(const struct lend_vm *vm, enum memlease_region region)
{
	struct backend_region *at = (struct backend_region *)&vm->region[region].at;

	return at->backend->ops->open_memory(at);
}

int lend_region_fd(const struct lend_vm *vm, enum memlease_region region)
{
	return vm->region[region].at.fd;
}

void lend_vm_set_layout(struct lend_vm *vm, const uint64_t hva[MEMLEASE_REGION_COUNT],
			uint64_t window_gpa)
{
	__atomic_store_n(&vm->rec->layout_set, 0, __ATOMIC_RELEASE);
	memcpy(vm->rec->hva, hva, sizeof(vm->rec->hva));
	vm->rec->window_gpa = window_gpa;
	__atomic_store_n(&vm->rec->layout_set, 1, __ATOMIC_RELEASE);
}

bool lend_vm_layout(const struct lend_vm *vm, uint64_t hva[MEMLEASE_REGION_COUNT],
		    uint64_t *window_gpa)
{
	if (!vm->rec->layout_set)
		return false;
	memcpy(hva, vm->rec->hva, sizeof(vm->rec->hva));
	*window_gpa = vm->rec->window_gpa;
	return true;
}

static void waits_status(const struct lend_vm *vm, uint64_t now_ns, struct vm_status *out)
{
	const struct meter_sums *total = &meter_now(&vm->rec->meter)->total;
	const struct queued *oldest = queue_first(&vm->queue);

	out->touches = total->touches;
	out->waiting = queue_count(&vm->queue);
	out->waited = total->waits;
	out->wait_ns = total->wait_ns;
	out->longest_wait_ns = vm->rec->longest_wait_ns;
	if (oldest && now_ns - oldest->since_ns > out->longest_wait_ns)
		out->longest_wait_ns = now_ns - oldest->since_ns;
}

void lend_vm_status(struct lend_vm *vm, struct vm_status *out)
{
	const struct record *rec = vm->rec;
	const struct meter_state *m;
	uint64_t now_ns = lend_now(vm->lender);

	meter_advance(&vm->rec->meter, now_ns);
	m = meter_now(&rec->meter);
	memset(out, 0, sizeof(*out));
	out->spec = rec->spec;
	snprintf(out->uuid, sizeof(out->uuid), "%.36s", rec->uuid);
	out->state = vm->state;
	out->number = rec->id;
	out->pid = vm->pidfd >= 0 ? rec->pid : 0;
	out->window_blocks = rec->window_blocks;
	out->committed_blocks = account_counts(vm).committed;
	out->window_committed_blocks = vm->region[MEMLEASE_REGION_WINDOW].slots.committed;
	out->resident_blocks = account_resident(vm);
	out->boot_resident_blocks = vm->region[MEMLEASE_REGION_BOOT].slots.resident;
	out->peak_resident_blocks = m->peak_resident;
	out->target_blocks = rec->target_blocks;
	out->target_seq = rec->target_seq;
	out->target_deadline_ms = rec->target_deadline_ms;
	out->broken = (enum memlease_broken)rec->broken;
	snprintf(out->broken_text, sizeof(out->broken_text), "%s", rec->broken_text);
	out->reported_blocks = rec->reported_blocks;
	waits_status(vm, now_ns, out);
	out->resident_block_ns = m->total.resident_ns;
	out->committed_block_ns = m->total.committed_ns;
	out->created_wall_ms = rec->created_ms;
	out->lapsed = account_lapsed(vm);
	out->lapses_wall_ms = unstarted_lapses_ms(vm);
	snprintf(out->refused, sizeof(out->refused), "%s", vm->refused);
	memcpy(out->guest_stat, rec->guest_stat, sizeof(out->guest_stat));
	out->guest_stat_valid = rec->guest_stat_valid;
	out->guest_stat_wall_ms = rec->guest_stat_wall_ms;
}

static void status_source(const struct lender *l, struct pool_status *out)
{
	const struct table *t = &l->pool.table;
	struct backend_figures f = { 0 };
	struct zero_stats z = { 0 };
	uint32_t whole = 0, clean;

	out->clean_blocks = table_count(t, BLOCK_CLEAN);
	out->dirty_blocks = table_count(t, BLOCK_DIRTY);
	out->zeroing_blocks = table_count(t, BLOCK_ZEROING);
	out->supply_blocks = table_count(t, BLOCK_OFFERED);
	out->ranges = l->backend->range_count;
	pool_whole_areas(&l->pool, &whole, &clean);
	out->whole_gib = whole;
	out->supply_want_blocks = supply_want(l);
	if (l->backend->ops->figures) {
		l->backend->ops->figures(l->backend, &f);
		out->supply_waits = f.waits;
		out->supply_wait_ns = f.wait_ns;
		out->source_metadata_bytes = f.metadata_bytes;
		out->fs_resident_blocks = f.resident;
	} else {
		for (const struct lend_vm *vm = NULL; (vm = lend_next_alive(l, vm));)
			out->fs_resident_blocks += account_in_source(vm);
	}
	if (!clean_stats(l, &z))
		return;
	out->zero_engine = z.engine;
	out->zeroed_blocks = z.zeroed_blocks;
	out->zero_backlog_blocks = z.backlog;
	out->zero_bytes_per_s = z.bytes_per_s;
	out->zero_bound_bytes_per_s = z.bound_bytes_per_s;
}

void lender_range(const struct lender *l, unsigned int i, struct pool_range_status *out)
{
	const struct backend_range *r = &l->backend->ranges[i];

	*out = (struct pool_range_status){ .base = r->base, .bytes = r->bytes, .node = r->node,
					   .tier = r->tier };
	for (uint32_t b = r->first_block; b < r->first_block + r->blocks; b++) {
		enum block_state s = table_word(&l->pool.table, b).state;

		out->lent_blocks += s == BLOCK_LENT || s == BLOCK_MOVING;
		out->retired_blocks += s == BLOCK_RETIRED;
	}
	out->free_blocks = r->blocks - out->lent_blocks - out->retired_blocks;
}

void lender_status(const struct lender *l, struct pool_status *out)
{
	struct compact_figures compaction;

	memset(out, 0, sizeof(*out));
	out->backend = l->backend->name;
	out->pool_blocks = l->config.pool_blocks - l->source_blocks;
	out->free_blocks = account_free(l);
	out->orphaned_blocks = orphan_blocks(l);
	out->orphans = orphan_count(l);
	out->lent_blocks = table_count(&l->pool.table, BLOCK_LENT) - out->orphaned_blocks;
	out->retired_blocks = table_count(&l->pool.table, BLOCK_RETIRED) - l->source_blocks;
	status_source(l, out);
	compact_figures(l, &compaction);
	out->compacting = compaction.running;
	out->compact_moved_blocks = compaction.moved;
	out->compact_emptied_gib = compaction.emptied;
	out->committed_blocks = l->sums.committed;
	out->limit_blocks = l->sums.limit;
	out->guarantee_blocks = l->sums.guarantee;
	out->waiting = l->waiting;
	out->overbook_percent = l->config.overbook_percent;
	out->vms = l->vms;
	out->ledger_behind = ledger_behind(l->ledger, out->ledger_error);
}
