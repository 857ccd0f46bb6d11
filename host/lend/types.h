/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lending is told and tells: configuration, what a VM is, states and counts, and
 * the hooks by which it asks the layers above. Plain data; read by all of lend/, and
 * with lend.h by those above.
 */
#ifndef ML_LEND_TYPES_H
#define ML_LEND_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../proto/memlease_abi.h"
#include "../base/clock.h"
#include "../base/why.h"
#include "../base/wide.h"

#define LEND_NAME_MAX 63	/* bytes of a VM's, tenant's or plan's name, without the NUL */
#define LEND_VMS_MAX 4096	/* VMs of one host */
#define LEND_UUID_LEN 36

struct backend;
struct lender;
struct lend_vm;

struct lender_config {
	const char *state_dir;		/* block table and VM records; survives the daemon, not the host's boot */
	const char *pool_dir;		/* tmpfs with huge pages, or hugetlbfs; private to the daemon's user */
	struct backend *backend;	/* in place of pool_dir; owned from then on. NULL: the backend `file` */
	const char *ledger_path;	/* SQLite file */
	uint64_t pool_blocks;
	uint32_t overbook_percent;	/* most sum of commitments, in percent of the pool; 0: no bound */
	uint32_t zero_threads;		/* where the source does not zero: 0 is one */
	uint64_t zero_bytes_per_s;	/* bound of all of them together; 0: none */
	uint32_t slice_blocks;		/* emptied in one slice of lender_work(); 0: about a millisecond's worth */
	uint32_t period_s;		/* metering period of the ledger's rows, divides 86400 */
	uint64_t start_timeout_ms;	/* a VM without a QEMU holds what it was promised so long; 0: for ever */
	const struct ml_clock *clock;
};

/* What a VM is. Names are [A-Za-z0-9][A-Za-z0-9_.-]*, at most LEND_NAME_MAX bytes. */
struct vm_spec {
	char name[LEND_NAME_MAX + 1];
	char tenant[LEND_NAME_MAX + 1];
	char plan[LEND_NAME_MAX + 1];
	uint64_t boot_blocks;
	uint64_t limit_blocks;		/* boot memory included */
	uint64_t guarantee_blocks;	/* boot memory included; at most limit_blocks */
	uint32_t weight;		/* 1..10000, 100 is ordinary */
};

enum vm_state {
	VM_DEFINED,	/* created; no QEMU yet */
	VM_RUNNING,	/* QEMU is alive and connected */
	VM_DETACHED,	/* QEMU is alive, its connection is down; blocks, touches and meter go on */
	VM_ENDING,	/* QEMU is gone; blocks are being taken back; on no list of VMs any more */
	VM_ENDED,	/* the files are empty; about to be forgotten */
};

/* Sums and counts of one VM, a snapshot. */
struct vm_status {
	struct vm_spec spec;
	char uuid[LEND_UUID_LEN + 1];
	enum vm_state state;
	uint32_t number;		/* which no other VM has as long as this one is there */
	pid_t pid;			/* QEMU's, or 0 */
	uint64_t window_blocks;		/* size of the window; spec.limit_blocks may be lowered below it */
	uint64_t committed_blocks;	/* boot memory included */
	uint64_t window_committed_blocks;
	uint64_t resident_blocks;	/* boot memory included */
	uint64_t boot_resident_blocks;
	uint64_t peak_resident_blocks;
	uint64_t target_blocks;		/* window slots, or MEMLEASE_NO_TARGET */
	uint32_t target_seq;
	uint32_t target_deadline_ms;
	enum memlease_broken broken;	/* device broken? */
	char broken_text[160];		/* one line saying why, or "" */
	uint64_t touches;		/* slots made resident since the VM began */
	uint64_t reported_blocks;	/* blocks given back by REPORT */
	uint64_t waiting;		/* touches that wait for a block now */
	uint64_t waited;		/* touches that ever had to wait */
	uint64_t wait_ns;		/* sum of their waits, those under way included */
	uint64_t longest_wait_ns;
	ml_u128 resident_block_ns;	/* exact integral since the VM began, up to now */
	ml_u128 committed_block_ns;
	int64_t created_wall_ms;
	/* Of a DEFINED one; see unstarted.h. */
	bool lapsed;			/* it is committed to nothing, has nothing guaranteed, and is not billed */
	int64_t lapses_wall_ms;		/* when that will be so, or 0 */
	char refused[ML_WHY_BYTES];		/* why its QEMU could not start last, or "" */
	/* The guest's own statistics: by enum memlease_stat_tag; a tag never sent is 0 and not valid. */
	uint64_t guest_stat[MEMLEASE_MAX_STATS];
	uint32_t guest_stat_valid;	/* bit per tag */
	int64_t guest_stat_wall_ms;	/* when they came, or 0 */
};

struct pool_status {
	const char *backend;		/* "file: tmpfs", "file: hugetlbfs" */
	uint64_t pool_blocks, free_blocks, lent_blocks, retired_blocks;
	uint64_t orphaned_blocks;	/* of VMs without a record; not among those lent */
	uint64_t orphans;		/* such VMs */
	/* Free blocks, by what they need to be lent. In the supply: clean, and with the source. */
	uint64_t clean_blocks, dirty_blocks, zeroing_blocks, supply_blocks;
	uint64_t supply_want_blocks;	/* how many the supply shall hold at the present demand */
	uint64_t supply_waits, supply_wait_ns;	/* touches that found it empty, by the source's count */
	uint64_t source_metadata_bytes;	/* what the host's kernel keeps for it */
	const char *zero_engine;	/* who zeroes; NULL: the source does, with each block it lends */
	uint64_t zeroed_blocks, zero_backlog_blocks;
	uint64_t zero_bytes_per_s, zero_bound_bytes_per_s;
	uint64_t whole_gib;		/* GiBs of it that are wholly free */
	bool compacting;
	uint64_t compact_moved_blocks, compact_emptied_gib;	/* since the daemon began */
	unsigned int ranges;		/* see lender_range() */
	uint64_t fs_resident_blocks;	/* lent blocks by the file system's own count, rounded up */
	uint64_t committed_blocks, limit_blocks, guarantee_blocks;	/* sums over VMs */
	uint64_t waiting;		/* touches waiting now, all VMs */
	uint32_t overbook_percent;
	size_t vms;
	bool ledger_behind;		/* the ledger could not be written; usage is kept in the VM records */
	char ledger_error[160];
};

/* Why something of interest happened; the daemon turns these into events of the control socket. */
enum lend_event_type {
	LEND_EV_VM_CREATED, LEND_EV_VM_STARTED, LEND_EV_VM_DETACHED, LEND_EV_VM_ENDED,
	LEND_EV_VM_BROKEN,	/* text says why */
	LEND_EV_VM_STOPPED,	/* broke a rule that is not forgiven; QEMU was killed; text says which */
	LEND_EV_TARGET,		/* a new target was set, or cleared */
	LEND_EV_POOL_SHORT,	/* first touch waits */
	LEND_EV_POOL_OK,	/* none waits any more */
	LEND_EV_LEDGER_BEHIND, LEND_EV_LEDGER_OK,
	LEND_EV_RETIRED,	/* a block had a memory error; vm: whose it was, or NULL; text says which */
	LEND_EV_MISMATCH,	/* the file system counts other blocks than the table; adopted, text says how many */
	LEND_EV_SET_ASIDE,	/* a file of state_dir could not be read, and has another name now; text */
	LEND_EV_ORPHAN,		/* memory of a VM without a record (orphan.h); vm: its UUID; text */
	LEND_EV_ORPHAN_ENDED,	/* it is the pool's again */
	LEND_EV_VM_LAPSED,	/* no QEMU came for it in time: it holds nothing any more */
	LEND_EV_START_REFUSED,	/* a QEMU came for it after that, and there is no room; text */
	LEND_EV_SETTING,	/* the configuration cannot be followed now; text says what holds instead */
	LEND_EV_TYPES,
};

struct lend_event {
	enum lend_event_type type;
	const char *vm;			/* name, or NULL */
	const char *text;		/* or NULL */
};

/*
 * What the lender asks of the layers above. Called on the event loop's thread,
 * possibly from inside any call of lend.h; the callee must not call back into the
 * lender, except for the status calls.
 */
struct lend_hooks {
	/* A touch that lend_touch() answered with -EAGAIN has been served: wake it. */
	void (*served)(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot);
	/* Config space changed (target, limit, broken): tell the guest; vhost/ reads it by lend_vm_config(). */
	void (*config_changed)(void *ctx, struct lend_vm *vm);
	/* Queue an event for the guest. seq, a, b as in struct memlease_event. */
	void (*guest_event)(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			    uint32_t seq, uint64_t a, uint64_t b);
	void (*event)(void *ctx, const struct lend_event *event);
	void *ctx;
};

/* A piece of the pool's physical memory; there is none where the host's kernel manages it. */
struct pool_range_status {
	uint64_t base, bytes;		/* physical */
	int node;			/* NUMA node, or -1 */
	uint32_t tier;
	uint64_t lent_blocks, free_blocks, retired_blocks;
};

#endif /* ML_LEND_TYPES_H */
