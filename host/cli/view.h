/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says of the pool and of a VM, taken out of JSON into plain
 * structures that the verbs print. What is absent is 0 or "".
 */
#ifndef ML_CLI_VIEW_H
#define ML_CLI_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define VIEW_TEXT_MAX 256

struct pool_view {
	const char *backend, *ledger_error, *state_dir, *pool_dir, *ledger;
	uint64_t pool_blocks, free_blocks, lent_blocks, retired_blocks, fs_resident_blocks;
	uint64_t orphaned_blocks, orphans;	/* of VMs without a record */
	uint64_t committed_blocks, limit_blocks, guarantee_blocks;
	uint64_t waiting_touches, overbook_percent, vms;
	uint64_t clean_blocks, dirty_blocks, zeroing_blocks, supply_blocks;
	uint64_t supply_waits, supply_wait_ns;
	const char *zero_engine;	/* "": blocks are zeroed as they are lent */
	uint64_t zeroed_blocks, zero_backlog_blocks, zero_bytes_per_s;
	uint64_t whole_gib, moved_blocks, emptied_gib;
	bool ledger_behind, compacting;
	const json_t *ranges;
	const json_t *notices;	/* what somebody has to see to */
};

struct guest_view {
	bool known;		/* the guest has sent statistics */
	uint64_t total_bytes, free_bytes, available_bytes, cache_bytes;
	uint64_t oom_rescues;
	uint64_t kernel_blocks;		/* window blocks that its kernel uses itself */
	const char *reporting;		/* NULL: an older driver, which does not say */
	int64_t time_ms;
};

/* Strings belong to the JSON object. */
struct vm_view {
	const char *name, *uuid, *tenant, *plan, *state, *target_state, *broken;
	const char *boot_path, *window_path, *vhost_socket, *qmp_socket;
	const char *unstarted_path;	/* "": an older daemon, which has no such file */
	uint64_t pid, weight;
	uint64_t number;	/* which no other VM has as long as this one is there */
	uint64_t boot_blocks, window_blocks, limit_blocks, guarantee_blocks;
	uint64_t committed_blocks, resident_blocks, boot_resident_blocks, peak_resident_blocks;
	bool has_target;
	uint64_t target_blocks, target_seq, target_deadline_ms;
	uint64_t touches, reported_blocks, waiting_touches, waited_touches;
	uint64_t wait_ns, longest_wait_ns;
	int64_t created_ms;
	bool lapsed;		/* no QEMU came in time: it holds nothing, and is not billed */
	int64_t lapses_ms;	/* when that will be so, or 0 */
	const char *refused;	/* why its QEMU could not start */
	struct guest_view guest;
};

/* A range of the pool's memory. */
struct range_view {
	uint64_t base, bytes, tier, lent_blocks, free_blocks, retired_blocks;
	int64_t node;		/* -1: not known */
};

void pool_view(const json_t *json, struct pool_view *out);
void range_view(const json_t *json, struct range_view *out);
void vm_view(const json_t *json, struct vm_view *out);

/* Do touches wait for blocks to be zeroed, rather than for memory? */
bool pool_zeroing_late(const struct pool_view *p);

/* Sum of lent blocks over the pool in percent, and the like; 0 where whole is 0. */
unsigned int view_percent(uint64_t part, uint64_t whole);

/*
 * Why no answer is to be had of a VM's guest at this time (wall clock, ms), as a clause; ""
 * where one is. By what the daemon knows: silence.h has who finds out more. A driver sends
 * statistics every 10 s at least.
 */
const char *vm_unheard(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX]);

/*
 * One short remark on a VM for tables: what an operator should look at first,
 * or "".
 */
const char *vm_remark(const struct vm_view *vm, int64_t now_ms, char text[VIEW_TEXT_MAX]);

#endif /* ML_CLI_VIEW_H */
