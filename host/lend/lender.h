/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all of lend/ stands on: a lender, its VMs and their regions, as data. What is
 * done with it is in the files above; the comment at a field names the one that keeps it.
 * Where that is more than a field or two, the struct is the file's own, and only a
 * pointer stands here; NULL where the source of memory has no use for it.
 *
 * All of it belongs to the event loop's thread. Nothing outside lend/ and tests includes this.
 */
#ifndef ML_LEND_LENDER_H
#define ML_LEND_LENDER_H

#include "../base/quiet.h"
#include "../meter/ledger.h"
#include "../pool/backend.h"
#include "../pool/pool.h"
#include "lost.h"
#include "queue.h"
#include "record.h"
#include "slots.h"
#include "types.h"

#define LEND_IDS (2 * LEND_VMS_MAX)	/* VMs, and ended ones that wait for the ledger */
#define LEND_SLICE_BLOCKS 256		/* blocks of one slice of a job: about 1 ms */
#define LEND_SERVE_MAX 64		/* touches served in one turn: about as long */
#define LEND_RESYNC_NS 100000000ULL	/* between two readings of all slots, however often events are lost */

struct clean;
struct compact;
struct loan_ops;
struct orphans;
struct compact_plan;
struct serve;
struct supply;

/* What has come up and is to be done: whoever finds it sets a bit, and turn.c has it done. */
enum lend_due {
	DUE_SERVE = 1,		/* touches wait that could be served, or have not been looked at */
	DUE_ACT = 2,		/* some VM has a fault or a closed region, or a guest is to hear of lost slots */
	DUE_ACT_LATER = 4,	/* the same, but it can wait until there is a turn anyway */
	DUE_RESYNC = 8,		/* the source lost events: read all slots, but see LEND_RESYNC_NS */
};

struct lend_region {
	struct backend_region at;	/* its owner is this */
	struct lend_vm *vm;
	enum memlease_region which;
	struct slots slots;
	bool closed;			/* perhaps nobody has it open: to be looked at, and emptied (told_act.c) */
	uint64_t closed_at;		/* slots done of that */
};

/* Counts that are summed up over VMs; in blocks. */
struct lend_sums {
	uint64_t committed, limit, guarantee, unfilled;
};

/* Blocks that QEMU put into its files past its leases (foreign.c; account.c reads the count). */
struct foreign {
	uint64_t count;			/* metered */
	uint32_t *blocks;		/* taken from the pool for them */
	uint32_t taken;
};

/* A rule that was broken, and nobody has acted on it yet (told_act.c). */
struct lend_fault {
	enum backend_event_type type;	/* VIOLATION or TIMEOUT, or 0 */
	enum memlease_region region;
	uint64_t slot;
	pid_t pid;
};

struct lend_vm {
	struct lender *lender;
	struct lend_vm *prev, *next;	/* order of creation (vm.c) */
	struct ml_map map;
	struct record *rec;
	struct lend_region region[MEMLEASE_REGION_COUNT];
	bool open;			/* regions are open */
	enum vm_state state;
	int pidfd;			/* QEMU's, or -1 */
	bool ended_unseen;		/* it had ended, or its end begun, when the daemon came (recover.c) */
	void *user;			/* of the layers above */

	struct lend_sums counted;	/* what the lender's sums hold of this VM (account.c) */
	uint64_t kept_taken, kept_turn;	/* of the pool's last blocks, in the lender's kept_turn (account.c) */

	struct queue queue;		/* touches that wait (waiting.c) */
	struct lend_vm *wait_prev, *wait_next;
	uint64_t asked_ns;		/* last REPORT_NOW (serve.c) */
	uint32_t event_seq;

	struct foreign foreign;
	int64_t mismatch;		/* between table and source, as told or counted last (the audits) */
	uint64_t scan_at;		/* where the search for foreign blocks goes on, over both regions */
	struct lost lost;		/* told_read.c, told_act.c */
	struct lend_fault fault;

	/* Emptying it, or its window (job.c). */
	bool job;
	struct lend_vm *job_next;
	uint64_t job_at;		/* slots done: of boot memory and window, or of the window */
	struct ml_quiet breaks;		/* of the device (offence.c) */
	char end_why[64];
	char refused[ML_WHY_BYTES];		/* its QEMU, when it came (unstarted.c) */
	struct ml_quiet refusals;
};

struct lender {
	struct lender_config config;
	char *state_dir, *ledger_path;
	struct lend_hooks hooks;
	char boot_id[ML_BOOT_ID_BYTES];
	int state_fd, lock_fd;
	struct backend *backend;
	const struct loan_ops *loans;	/* what differs between kinds of sources (loan.h) */
	struct pool pool;
	struct ledger *ledger;

	struct lend_vm *first, *last;	/* VMs (vm.c) */
	size_t vms;
	struct lend_vm *jobs;		/* VMs with a job under way; ending ones are nowhere else (job.c) */
	struct lend_vm *ended;		/* gone, but not yet wholly in the ledger; by next (vm.c, usage.c) */
	struct lend_vm *by_id[LEND_IDS];
	uint64_t next_serial;
	uint32_t slice_blocks;		/* of one slice of a job */

	struct lend_sums sums;		/* over VMs (account.c) */
	uint64_t kept_turn;		/* goes up when there are more than the last blocks again */
	bool kept_drawn;		/* the last blocks are drawn upon */
	uint32_t source_blocks;		/* of the pool, and the source's own: RETIRED in the table (told_out.c) */
	bool source_short;		/* the source had no memory where the table had a block (loan.c) */
	bool recovering;		/* meters are brought through the time without a daemon (told_settle.c) */

	uint64_t waiting;		/* touches (waiting.c) */
	struct lend_vm *waiters;	/* VMs with touches that wait */
	bool short_told;		/* POOL_SHORT was the last that was told */

	unsigned int due;		/* enum lend_due */
	uint64_t resynced_ns;		/* when all slots were read last (told_act.c) */
	uint64_t ticked_ns, boundary_ns;	/* turn.c */
	bool behind;			/* LEDGER_BEHIND was the last that was told (usage.c) */

	struct supply *supply;
	struct clean *clean;
	struct compact_plan *plan;
	struct compact *compact;
	struct serve *serve;
	struct orphans *orphans;	/* NULL until they were looked for */
};

static inline uint64_t lend_now(const struct lender *l)
{
	return ml_boot_ns(l->config.clock);
}

/* VMs that have memory: those on the list, then those that end. NULL gives the first; NULL at the end. */
static inline struct lend_vm *lend_next_alive(const struct lender *l, const struct lend_vm *after)
{
	bool ending = after && after->state == VM_ENDING;
	struct lend_vm *vm = !after ? l->first : ending ? NULL : after->next;

	if (vm)
		return vm;
	for (vm = ending ? after->job_next : l->jobs; vm && vm->state != VM_ENDING;)
		vm = vm->job_next;
	return vm;
}

#endif /* ML_LEND_LENDER_H */
