// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM's status as JSON, in the shape that schema.json gives it. Reads the
 * lender's snapshot; changes nothing.
 */
#include "vm_json.h"

#include <limits.h>
#include <stdio.h>

#include "../base/cleanup.h"
#include "../base/terms.h"
#include "../base/wide.h"
#include "json_number.h"

static const char *state_name(enum vm_state state)
{
	switch (state) {
	case VM_DEFINED:
		return "defined";
	case VM_RUNNING:
		return "running";
	case VM_DETACHED:
		return "detached";
	case VM_ENDING:
	case VM_ENDED:
		break;
	}
	return "ended";
}

static bool stat_valid(const struct vm_status *vm, enum memlease_stat_tag tag)
{
	return vm->guest_stat_valid & (1u << tag);
}

/* How far the guest came with the target it has now, by its own word. */
static const char *target_state(const struct vm_status *vm)
{
	if (vm->target_blocks == MEMLEASE_NO_TARGET)
		return "none";
	if (!stat_valid(vm, MEMLEASE_STAT_TARGET_SEQ) ||
	    !stat_valid(vm, MEMLEASE_STAT_TARGET_STATE) ||
	    vm->guest_stat[MEMLEASE_STAT_TARGET_SEQ] != vm->target_seq)
		return "working";
	switch (vm->guest_stat[MEMLEASE_STAT_TARGET_STATE]) {
	case MEMLEASE_TARGET_MET:
		return "met";
	case MEMLEASE_TARGET_PARTLY:
		return "partly";
	default:
		return "working";
	}
}

/* Whether the guest reports free memory; what a later driver says is "off". */
static const char *reporting_text(uint64_t reporting)
{
	switch (reporting) {
	case MEMLEASE_REPORTING_ON:
		return "on";
	case MEMLEASE_REPORTING_TAKEN:
		return "another-driver";
	case MEMLEASE_REPORTING_POISONED:
		return "page-poisoning";
	default:
		return "off";
	}
}

static json_t *guest_json(const struct vm_status *vm)
{
	static const struct {
		enum memlease_stat_tag tag;
		const char *key;
	} shown[] = {
		{ MEMLEASE_STAT_TOTAL_BYTES, "total-bytes" },
		{ MEMLEASE_STAT_FREE_BYTES, "free-bytes" },
		{ MEMLEASE_STAT_AVAILABLE_BYTES, "available-bytes" },
		{ MEMLEASE_STAT_CACHE_BYTES, "cache-bytes" },
		{ MEMLEASE_STAT_COMMITTED_BLOCKS, "committed-blocks" },
		{ MEMLEASE_STAT_REPORTED_BLOCKS, "reported-blocks" },
		{ MEMLEASE_STAT_OOM_RESCUES, "oom-rescues" },
		{ MEMLEASE_STAT_KERNEL_BLOCKS, "kernel-blocks" },
	};
	json_t *guest = json_object();
	size_t i;

	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		if (stat_valid(vm, shown[i].tag))
			json_set_count(guest, shown[i].key, vm->guest_stat[shown[i].tag]);
	}
	if (stat_valid(vm, MEMLEASE_STAT_REPORTING))
		json_object_set_new(guest, "reporting", json_string(
				    reporting_text(vm->guest_stat[MEMLEASE_STAT_REPORTING])));
	if (vm->guest_stat_wall_ms)
		json_object_set_new(guest, "time", json_integer(vm->guest_stat_wall_ms));
	return guest;
}

static void add_blocks(json_t *to, const struct vm_status *vm)
{
	json_set_count(to, "boot-blocks", vm->spec.boot_blocks);
	json_set_count(to, "window-blocks", vm->window_blocks);
	json_set_count(to, "limit-blocks", vm->spec.limit_blocks);
	json_set_count(to, "guarantee-blocks", vm->spec.guarantee_blocks);
	json_set_count(to, "weight", vm->spec.weight);
	json_set_count(to, "committed-blocks", vm->committed_blocks);
	json_set_count(to, "window-committed-blocks", vm->window_committed_blocks);
	json_set_count(to, "resident-blocks", vm->resident_blocks);
	json_set_count(to, "boot-resident-blocks", vm->boot_resident_blocks);
	json_set_count(to, "peak-resident-blocks", vm->peak_resident_blocks);
	json_object_set_new(to, "target-blocks", vm->target_blocks == MEMLEASE_NO_TARGET ?
			    json_null() : json_count(vm->target_blocks + vm->spec.boot_blocks));
	json_set_count(to, "target-seq", vm->target_seq);
	json_set_count(to, "target-deadline-ms", vm->target_deadline_ms);
	json_object_set_new(to, "target-state", json_string(target_state(vm)));
}

/* More than 53 or 64 bits: as text, for the clients' sake. */
static void set_wide(json_t *to, const char *key, ml_u128 value)
{
	char text[ML_U128_TEXT];

	json_object_set_new(to, key, json_string(ml_u128_text(value, text)));
}

static void add_meter(json_t *to, const struct vm_status *vm)
{
	json_set_count(to, "touches", vm->touches);
	json_set_count(to, "reported-blocks", vm->reported_blocks);
	json_set_count(to, "waiting-touches", vm->waiting);
	json_set_count(to, "waited-touches", vm->waited);
	json_set_count(to, "wait-ns", vm->wait_ns);
	json_set_count(to, "longest-wait-ns", vm->longest_wait_ns);
	set_wide(to, "resident-block-ns", vm->resident_block_ns);
	set_wide(to, "committed-block-ns", vm->committed_block_ns);
	json_object_set_new(to, "created", json_integer(vm->created_wall_ms));
}

static void add_start(json_t *to, const struct vm_status *vm)
{
	json_object_set_new(to, "lapsed", json_boolean(vm->lapsed));
	json_object_set_new(to, "lapses", vm->lapses_wall_ms ?
			    json_integer(vm->lapses_wall_ms) : json_null());
	json_object_set_new(to, "refused", json_string(vm->refused));
}

static void add_paths(json_t *to, const struct ctl_config *config, struct lend_vm *vm)
{
	static const char *const keys[] = { "vhost-socket", "qmp-socket", "unstarted-path" };
	static const char *const tails[] = { ML_VHOST_SOCKET_TAIL, ML_QMP_SOCKET_TAIL, ML_UNSTARTED_TAIL };
	size_t i;

	json_object_set_new(to, "boot-path",
			    json_string(lend_region_path(vm, MEMLEASE_REGION_BOOT)));
	json_object_set_new(to, "window-path",
			    json_string(lend_region_path(vm, MEMLEASE_REGION_WINDOW)));
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_set_new(to, keys[i], json_sprintf("%s/%s%s", config->vm_dir,
							      lend_vm_name(vm), tails[i]));
}

json_t *vm_json(const struct ctl_config *config, struct lend_vm *vm)
{
	struct vm_status status;
	json_t *out = json_object();

	if (!out)
		return NULL;
	lend_vm_status(vm, &status);
	json_object_set_new(out, "name", json_string(status.spec.name));
	json_object_set_new(out, "uuid", json_string(status.uuid));
	json_object_set_new(out, "tenant", json_string(status.spec.tenant));
	json_object_set_new(out, "plan", json_string(status.spec.plan));
	json_object_set_new(out, "state", json_string(state_name(status.state)));
	json_set_count(out, "number", status.number);
	json_set_count(out, "pid", (uint64_t)status.pid);
	add_blocks(out, &status);
	json_object_set_new(out, "broken", json_string(status.broken_text));
	add_meter(out, &status);
	add_start(out, &status);
	json_object_set_new(out, "guest", guest_json(&status));
	add_paths(out, config, vm);
	return out;
}
