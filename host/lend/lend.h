/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lending: the only code that moves a block between the pool and a VM.
 *
 * A lender owns the pool, the VMs and their leases. vhost/ brings it what guests
 * ask for and touch, ctl/ what operators ask for; both call from one thread, the
 * event loop's, and nothing here blocks on a peer. Everything that must survive
 * the daemon stands in files: the block table, and one record per VM with its
 * slots and its meter; lender_open() reads them, repairs half-done moves, and
 * goes on where the last daemon stopped.
 *
 * Slots are named by region and index inside the region's *file*: for the window
 * that is the slot of the protocol; for boot memory vhost/ translates, because
 * guest-physical boot memory has holes and its file has none.
 *
 * States of a slot (slots.h has the table of legal moves and the one setter):
 * VACANT, COMMITTED, RESIDENT. Boot slots are never VACANT.
 */
#ifndef ML_LEND_LEND_H
#define ML_LEND_LEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../proto/memlease_abi.h"
#include "../base/clock.h"
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
	uint32_t period_s;		/* metering period of the ledger's rows, divides 86400 */
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
	/* The guest's own statistics: by enum memlease_stat_tag; a tag never sent is 0 and not valid. */
	uint64_t guest_stat[MEMLEASE_MAX_STATS];
	uint32_t guest_stat_valid;	/* bit per tag */
	int64_t guest_stat_wall_ms;	/* when they came, or 0 */
};

struct pool_status {
	const char *backend;		/* "file: tmpfs", "file: hugetlbfs" */
	uint64_t pool_blocks, free_blocks, lent_blocks, retired_blocks;
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
	LEND_EV_VM_STOPPED,	/* touched a vacant slot; QEMU was killed; text says where */
	LEND_EV_TARGET,		/* a new target was set, or cleared */
	LEND_EV_POOL_SHORT,	/* first touch waits */
	LEND_EV_POOL_OK,	/* none waits any more */
	LEND_EV_LEDGER_BEHIND, LEND_EV_LEDGER_OK,
	LEND_EV_RETIRED,	/* a block had a memory error; vm: whose it was, or NULL; text says which */
	LEND_EV_MISMATCH,	/* the file system counts other blocks than the table; adopted, text says how many */
};

struct lend_event {
	enum lend_event_type type;
	const char *vm;			/* name, or NULL */
	const char *text;		/* or NULL */
};

/*
 * What the lender asks of the layers above. Called on the event loop's thread,
 * possibly from inside any call below; the callee must not call back into the
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

/*
 * Open the pool and whatever VMs the last daemon left in state_dir; repair; go on.
 * -EINVAL (config), -EBUSY (another daemon holds state_dir), -ENOSPC, -EUCLEAN
 * (files not ours or of another version), or the system's. The reason is logged.
 */
int lender_open(struct lender **out, const struct lender_config *config,
		const struct lend_hooks *hooks);

/* Stop without ending any VM: as if killed, but the ledger is written. */
void lender_close(struct lender *l);

/*
 * To be called about once a second, and at lender_next_tick(): closes metering
 * periods, posts the ledger, compares with the file system, asks guests for
 * memory while touches wait.
 */
void lender_tick(struct lender *l);
uint64_t lender_next_tick_boot_ns(const struct lender *l);

/*
 * Where the source of memory serves touches by itself: what it has to tell, and blocks that
 * have become clean. Call lender_events() when one of the descriptors is readable. Returns
 * how many there are, 0 to 2; they stay the lender's.
 */
int lender_event_fds(const struct lender *l, int fds[2]);
void lender_events(struct lender *l);

/*
 * What would take longer than about a millisecond is done in slices: the end and
 * the reset of a large VM, the serving of many touches. While there is such work,
 * lender_work() is to be called, once per turn of the event loop; each call does a
 * slice. lender_tick() does one too.
 */
bool lender_has_work(const struct lender *l);
void lender_work(struct lender *l);

void lender_status(const struct lender *l, struct pool_status *out);

/* A range of the pool's memory, 0 up to ranges - 1; none where the host's kernel manages it. */
struct pool_range_status {
	uint64_t base, bytes;		/* physical */
	int node;			/* NUMA node, or -1 */
	uint32_t tier;
	uint64_t lent_blocks, free_blocks, retired_blocks;
};
void lender_range(const struct lender *l, unsigned int i, struct pool_range_status *out);

/*
 * Create a VM: record, two files, guarantee. -EINVAL, -EEXIST (name in use),
 * -ENOSPC (sum of guarantees would exceed the pool, or too many VMs); *why gets a
 * static or VM-independent sentence naming the value and the way out.
 */
int lend_vm_create(struct lender *l, const struct vm_spec *spec, struct lend_vm **out,
		   char *why, size_t why_size);

/* Forget a VM that never started. -EBUSY if it has a QEMU. */
int lend_vm_delete(struct lend_vm *vm);

struct lend_vm *lend_vm_find(struct lender *l, const char *name);
/* Iterate: NULL gives the first; NULL at the end. Order of creation. */
struct lend_vm *lend_vm_next(struct lender *l, struct lend_vm *after);
const char *lend_vm_name(const struct lend_vm *vm);
void lend_vm_status(struct lend_vm *vm, struct vm_status *out);

/* A pointer for the layers above; the lender does not look at it. */
void lend_vm_set_user(struct lend_vm *vm, void *user);
void *lend_vm_user(const struct lend_vm *vm);

/* Absolute path of a region's file, and its size in blocks. */
const char *lend_region_path(const struct lend_vm *vm, enum memlease_region region);
uint64_t lend_region_blocks(const struct lend_vm *vm, enum memlease_region region);
/*
 * What QEMU opens: a file, of which the daemon has a descriptor of its own (borrowed, do
 * not close); or, where that is -1, a character device of this number.
 */
int lend_region_fd(const struct lend_vm *vm, enum memlease_region region);
dev_t lend_region_device(const struct lend_vm *vm, enum memlease_region region);
/* A descriptor to map a region by, the caller's to close at once; or -errno. */
int lend_region_open(const struct lend_vm *vm, enum memlease_region region);

/*
 * Where QEMU maps the regions: kept in the VM's record, so that a new daemon that
 * finds the userfaultfd in its descriptor store can serve before QEMU reconnects.
 */
void lend_vm_set_layout(struct lend_vm *vm, const uint64_t hva[MEMLEASE_REGION_COUNT],
			uint64_t window_gpa);
/* false if none was set. */
bool lend_vm_layout(const struct lend_vm *vm, uint64_t hva[MEMLEASE_REGION_COUNT],
		    uint64_t *window_gpa);

/*
 * QEMU connected: its pid from the socket's credentials, and its pidfd, where the kernel
 * gives one with them (taken over in every case), or -1. Without it the lender opens
 * one by the pid. It remembers pid and start time in the record. -ESRCH if the process
 * is gone, -EBUSY if another live process already is this VM's QEMU.
 */
int lend_vm_attach(struct lend_vm *vm, pid_t pid, int pidfd);
/* The connection went down; the VM goes on unless its process is gone. */
void lend_vm_detach(struct lend_vm *vm);
/* Readable when QEMU's process ends; -1 without one. Borrowed. */
int lend_vm_pidfd(const struct lend_vm *vm);
/*
 * The process ended. vm is gone for the caller, and its name is free. Both files are
 * emptied, which can take further slices of lender_work(); when they are, the meter is
 * closed, the files are removed, and LEND_EV_VM_ENDED comes.
 */
void lend_vm_end(struct lend_vm *vm, const char *why);

/* --- what guests ask; arguments are checked by vhost/, asserted here --- */

/*
 * Each works on count slots from first, handles a prefix of *done slots, and says
 * in *reason why not all. Return 0; -EUCLEAN on an internal error (logged).
 * Carried out twice, each has the effect of once.
 */
int lend_borrow(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason);
int lend_return(struct lend_vm *vm, uint64_t first, uint64_t count, uint64_t *done,
		enum memlease_reason *reason);
int lend_report(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
		uint64_t *done, enum memlease_reason *reason);

/* Are all slots committed (COMMITTED or RESIDENT)? */
bool lend_committed(const struct lend_vm *vm, enum memlease_region region, uint64_t first,
		    uint64_t count);
bool lend_resident(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);

/*
 * A slot was touched. 0: it is resident now (or was), wake the toucher. -EAGAIN:
 * the pool is short, hooks.served() comes later. -EACCES: the slot is vacant; the
 * lender breaks the device and kills QEMU. -EIO: its memory was lost to an error.
 */
int lend_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot);

/*
 * Device reset: the target is cleared, a broken device mended, the window emptied.
 * The last can take further slices of lender_work(): until hooks.config_changed() has
 * come and lend_resetting() is false, nothing may be asked for the guest but touches.
 * It goes on in the next daemon, too.
 */
void lend_reset(struct lend_vm *vm);
bool lend_resetting(const struct lend_vm *vm);

/* The device broke: remembered, logged and evented once with text. */
void lend_break(struct lend_vm *vm, enum memlease_broken reason, const char *text);

/* The config space as the guest shall see it; window_addr 0 (QEMU fills it in). */
void lend_vm_config(const struct lend_vm *vm, struct memlease_config *out);

/* Statistics that the guest sent. */
void lend_vm_stat(struct lend_vm *vm, uint16_t tag, uint64_t value);

/* --- what operators ask --- */

/* limit_blocks: boot included, from boot_blocks to boot_blocks + window_blocks. -EINVAL, -ENOSPC with *why. */
int lend_set_limit(struct lend_vm *vm, uint64_t limit_blocks, char *why, size_t why_size);
/* guarantee_blocks: at most the limit. */
int lend_set_guarantee(struct lend_vm *vm, uint64_t guarantee_blocks, char *why, size_t why_size);
/* target_blocks: boot included, or MEMLEASE_NO_TARGET; deadline_ms 100..3600000. */
int lend_set_target(struct lend_vm *vm, uint64_t target_blocks, uint32_t deadline_ms, char *why,
		    size_t why_size);
/* Ask the guest to report its free blocks at once. */
void lend_report_now(struct lend_vm *vm);

/*
 * Move blocks of VMs together, so that so many more whole GiBs of the pool are free, as
 * far as that can be: lender_work() does it, in the background. -EOPNOTSUPP: this pool
 * cannot move blocks; *why says so.
 */
int lender_compact(struct lender *l, uint32_t gib, char *why, size_t why_size);

/* Checks every invariant of lender, pool and VMs; aborts with a message if one is broken. For tests. */
void lender_validate(const struct lender *l);

#endif /* ML_LEND_LEND_H */
