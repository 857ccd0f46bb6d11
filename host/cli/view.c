// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * JSON of query-pool and query-vm to structures. Called by list, status, top,
 * set and stop; takes any JSON, because the daemon may be of another version.
 */
#include "view.h"

#define SILENT_MS 20000		/* a guest that is well has sent statistics twice */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "units.h"

static uint64_t get_u64(const json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value > 0 ? (uint64_t)value : 0;
}

static const char *get_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

void range_view(const json_t *json, struct range_view *out)
{
	*out = (struct range_view){
		.base = get_u64(json, "base"),
		.bytes = get_u64(json, "bytes"),
		.tier = get_u64(json, "tier"),
		.lent_blocks = get_u64(json, "lent-blocks"),
		.free_blocks = get_u64(json, "free-blocks"),
		.retired_blocks = get_u64(json, "retired-blocks"),
		.node = json_is_integer(json_object_get(json, "node")) ?
			json_integer_value(json_object_get(json, "node")) : -1,
	};
}

/* Members that only a daemon with background zeroing sends. */
static void source_view(const json_t *json, struct pool_view *out)
{
	const json_t *zeroing = json_object_get(json, "zeroing");
	const json_t *compaction = json_object_get(json, "compaction");

	out->clean_blocks = get_u64(json, "clean-blocks");
	out->dirty_blocks = get_u64(json, "dirty-blocks");
	out->zeroing_blocks = get_u64(json, "zeroing-blocks");
	out->supply_blocks = get_u64(json, "supply-blocks");
	out->supply_waits = get_u64(json, "supply-waits");
	out->supply_wait_ns = get_u64(json, "supply-wait-ns");
	out->zero_engine = get_text(zeroing, "engine");
	out->zeroed_blocks = get_u64(zeroing, "zeroed-blocks");
	out->zero_backlog_blocks = get_u64(zeroing, "backlog-blocks");
	out->zero_bytes_per_s = get_u64(zeroing, "bytes-per-second");
	out->compacting = json_is_true(json_object_get(compaction, "running"));
	out->whole_gib = get_u64(compaction, "whole-gib");
	out->moved_blocks = get_u64(compaction, "moved-blocks");
	out->emptied_gib = get_u64(compaction, "emptied-gib");
	out->ranges = json_object_get(json, "ranges");
}

void pool_view(const json_t *json, struct pool_view *out)
{
	*out = (struct pool_view){
		.backend = get_text(json, "backend"),
		.ledger_error = get_text(json, "ledger-error"),
		.state_dir = get_text(json, "state-dir"),
		.pool_dir = get_text(json, "pool-dir"),
		.ledger = get_text(json, "ledger"),
		.pool_blocks = get_u64(json, "pool-blocks"),
		.free_blocks = get_u64(json, "free-blocks"),
		.lent_blocks = get_u64(json, "lent-blocks"),
		.retired_blocks = get_u64(json, "retired-blocks"),
		.orphaned_blocks = get_u64(json, "orphaned-blocks"),
		.orphans = get_u64(json, "orphans"),
		.notices = json_object_get(json, "notices"),
		.fs_resident_blocks = get_u64(json, "fs-resident-blocks"),
		.committed_blocks = get_u64(json, "committed-blocks"),
		.limit_blocks = get_u64(json, "limit-blocks"),
		.guarantee_blocks = get_u64(json, "guarantee-blocks"),
		.waiting_touches = get_u64(json, "waiting-touches"),
		.overbook_percent = get_u64(json, "overbook-percent"),
		.vms = get_u64(json, "vms"),
		.ledger_behind = json_is_true(json_object_get(json, "ledger-behind")),
	};
	source_view(json, out);
}

static void guest_view(const json_t *json, struct guest_view *out)
{
	*out = (struct guest_view){
		.known = json_object_get(json, "total-bytes") != NULL,
		.total_bytes = get_u64(json, "total-bytes"),
		.free_bytes = get_u64(json, "free-bytes"),
		.available_bytes = get_u64(json, "available-bytes"),
		.cache_bytes = get_u64(json, "cache-bytes"),
		.oom_rescues = get_u64(json, "oom-rescues"),
		.kernel_blocks = get_u64(json, "kernel-blocks"),
		.reporting = json_string_value(json_object_get(json, "reporting")),
		.time_ms = (int64_t)get_u64(json, "time"),
	};
}

void vm_view(const json_t *json, struct vm_view *out)
{
	*out = (struct vm_view){
		.name = get_text(json, "name"),
		.uuid = get_text(json, "uuid"),
		.tenant = get_text(json, "tenant"),
		.plan = get_text(json, "plan"),
		.state = get_text(json, "state"),
		.target_state = get_text(json, "target-state"),
		.broken = get_text(json, "broken"),
		.boot_path = get_text(json, "boot-path"),
		.window_path = get_text(json, "window-path"),
		.vhost_socket = get_text(json, "vhost-socket"),
		.qmp_socket = get_text(json, "qmp-socket"),
		.unstarted_path = get_text(json, "unstarted-path"),
		.pid = get_u64(json, "pid"),
		.weight = get_u64(json, "weight"),
		.number = get_u64(json, "number"),
		.boot_blocks = get_u64(json, "boot-blocks"),
		.window_blocks = get_u64(json, "window-blocks"),
		.limit_blocks = get_u64(json, "limit-blocks"),
		.guarantee_blocks = get_u64(json, "guarantee-blocks"),
		.committed_blocks = get_u64(json, "committed-blocks"),
		.resident_blocks = get_u64(json, "resident-blocks"),
		.boot_resident_blocks = get_u64(json, "boot-resident-blocks"),
		.peak_resident_blocks = get_u64(json, "peak-resident-blocks"),
		.has_target = json_is_integer(json_object_get(json, "target-blocks")),
		.target_blocks = get_u64(json, "target-blocks"),
		.target_seq = get_u64(json, "target-seq"),
		.target_deadline_ms = get_u64(json, "target-deadline-ms"),
		.touches = get_u64(json, "touches"),
		.reported_blocks = get_u64(json, "reported-blocks"),
		.waiting_touches = get_u64(json, "waiting-touches"),
		.waited_touches = get_u64(json, "waited-touches"),
		.wait_ns = get_u64(json, "wait-ns"),
		.longest_wait_ns = get_u64(json, "longest-wait-ns"),
		.created_ms = (int64_t)get_u64(json, "created"),
		.lapsed = json_is_true(json_object_get(json, "lapsed")),
		.lapses_ms = (int64_t)get_u64(json, "lapses"),
		.refused = get_text(json, "refused"),
	};
	guest_view(json_object_get(json, "guest"), &out->guest);
}

bool pool_zeroing_late(const struct pool_view *p)
{
	return p->zero_engine[0] && !p->clean_blocks && !p->supply_blocks &&
	       p->dirty_blocks + p->zeroing_blocks;
}

unsigned int view_percent(uint64_t part, uint64_t whole)
{
	if (!whole)
		return 0;
	return (unsigned int)((unsigned __int128)part * 100 / whole);
}

const char *vm_unheard(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX])
{
	char span[SIZE_TEXT_MAX];

	text[0] = '\0';
	if (vm->waiting_touches)
		snprintf(text, VIEW_TEXT_MAX, "it stands still until there is memory for what it touched");
	else if (!strcmp(vm->state, "defined"))
		snprintf(text, VIEW_TEXT_MAX, "its QEMU has not come yet");
	else if (!vm->guest.known)
		snprintf(text, VIEW_TEXT_MAX, "its guest sends no statistics; has it the driver?");
	else if (now_ms - vm->guest.time_ms > SILENT_MS)
		snprintf(text, VIEW_TEXT_MAX, "its guest has said nothing for %s: it sleeps, or it or its QEMU was stopped",
			 span_format((uint64_t)(now_ms - vm->guest.time_ms) * 1000000, span));
	return text;
}

/* Of a VM that has had no QEMU. */
static void unstarted_remark(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX])
{
	uint64_t age_ms = vm->created_ms && now_ms > vm->created_ms ? (uint64_t)(now_ms - vm->created_ms) : 0;
	char span[SIZE_TEXT_MAX];

	span_format(age_ms * 1000000, span);
	if (vm->refused[0])
		snprintf(text, VIEW_TEXT_MAX, "never started: its QEMU was refused, 'memlease status %s' says why", vm->name);
	else if (vm->lapsed)
		snprintf(text, VIEW_TEXT_MAX, "never started in %s: holds nothing until its QEMU comes", span);
	else
		snprintf(text, VIEW_TEXT_MAX, "never started, waiting for its QEMU for %s", span);
}

const char *vm_remark(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX])
{
	char size[SIZE_TEXT_MAX], silence[VIEW_TEXT_MAX];

	text[0] = '\0';
	if (vm->broken[0])
		snprintf(text, VIEW_TEXT_MAX, "broken: %s", vm->broken);
	else if (vm->waiting_touches)
		snprintf(text, VIEW_TEXT_MAX, "%" PRIu64 " touch%s waiting for memory",
			 vm->waiting_touches, vm->waiting_touches == 1 ? "" : "es");
	else if (!strcmp(vm->state, "defined"))
		unstarted_remark(vm, now_ms, text);
	else if (!strcmp(vm->state, "detached"))
		snprintf(text, VIEW_TEXT_MAX, "QEMU's connection is down");
	else if (vm->has_target && strcmp(vm->target_state, "met"))
		snprintf(text, VIEW_TEXT_MAX, "target %s: %s",
			 size_format_blocks(vm->target_blocks, size),
			 !strcmp(vm->target_state, "partly") ? "met in part" :
			 vm_unheard(vm, now_ms, silence)[0] ? "no answer from the guest" : "shrinking");
	return text;
}
