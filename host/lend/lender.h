/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of lend/ share with each other, and the seam by which the
 * simulation opens a lender on a backend of its own. Nothing outside lend/ and
 * tests includes this.
 */
#ifndef ML_LEND_LENDER_H
#define ML_LEND_LENDER_H

#include "../meter/ledger.h"
#include "../policy/policy.h"
#include "../pool/backend.h"
#include "../pool/pool.h"
#include "lend.h"
#include "record.h"
#include "slots.h"

#define LEND_IDS (2 * LEND_VMS_MAX)	/* VMs, and ended ones that wait for the ledger */
#define LEND_RUN_MAX 512		/* slots that one unmap takes */
#define LEND_SLICE_BLOCKS 256		/* blocks of one slice of a job: about 1 ms */
#define LEND_SERVE_MAX 64		/* touches served at once: about as long */
#define LEND_TICK_NS 1000000000ULL
#define LEND_ASK_NS 100000000ULL	/* between two looks at whom to ask while touches wait */

/* A touch that waits for a block. */
struct lend_wait {
	struct lend_wait *next;
	enum memlease_region region;
	uint64_t slot;
	uint64_t since_ns;
};

struct lend_region {
	struct backend_region at;
	struct slots slots;
	uint8_t *waiting;	/* bit per slot: a touch of it waits */
};

struct lend_vm {
	struct lender *lender;
	struct lend_vm *prev, *next;	/* order of creation */
	struct ml_map map;
	struct record *rec;
	struct lend_region region[MEMLEASE_REGION_COUNT];
	bool open;			/* regions are open */
	enum vm_state state;
	int pidfd;
	void *user;

	/* Blocks that QEMU put into its files past its leases: see audit.c. */
	uint64_t foreign;		/* metered */
	uint32_t *foreign_blocks;	/* taken from the pool for them */
	uint32_t foreign_taken;
	uint64_t scan_at;		/* where the search for them goes on, over both regions */
	int64_t mismatch;		/* last one told of */

	/* A job under way, see job.c. */
	bool job;
	struct lend_vm *job_next;
	uint64_t job_at;		/* slots done: of boot memory and window, or of the window */
	char end_why[64];

	struct lend_wait *wait_first, *wait_last;
	struct lend_vm *wait_prev, *wait_next;	/* VMs with touches that wait */
	uint64_t waiting;
	uint64_t since_sum;		/* of since_ns over those waiting, modulo 2^64 */
	uint64_t asked_ns;		/* last REPORT_NOW */
	uint64_t kept_taken, kept_turn;	/* of the pool's last blocks, in the lender's kept_turn */
	uint32_t event_seq;

	/* What the lender's sums hold of this VM. */
	struct {
		uint64_t committed, limit, guarantee, unfilled;
	} counted;
};

struct lender {
	struct lender_config config;
	char *state_dir, *ledger_path;
	struct lend_hooks hooks;
	char boot_id[ML_BOOT_ID_BYTES];
	int state_fd;
	int lock_fd;
	struct backend *backend;
	struct pool pool;
	struct ledger *ledger;

	struct lend_vm *first, *last;
	size_t vms;
	struct lend_vm *jobs;		/* VMs with a job under way, by job_next; ending ones are nowhere else */
	struct lend_vm *ended;		/* gone, but not yet wholly in the ledger; by next */
	struct lend_vm *by_id[LEND_IDS];
	uint64_t next_serial;

	uint64_t committed, limit, guarantee, unfilled;	/* sums over VMs */
	uint64_t waiting;		/* touches */
	struct lend_vm *waiters;	/* VMs with touches that wait */
	struct policy_vm *snapshot;	/* LEND_VMS_MAX of them, for wait.c */
	uint64_t asked_ns;
	uint64_t ticked_ns, boundary_ns;
	bool behind;
	bool serve_more;		/* touches wait that could be served */
	uint64_t kept_turn;		/* goes up when there are more than the last blocks again */
	bool kept_drawn;		/* the last blocks are drawn upon */
	bool source_short;		/* the source had no memory where the table had a block */
};

enum lender_flags {
	LENDER_LEDGER_INLINE = 1,	/* no writer thread */
};

/*
 * lender_open() on a backend given (and owned from then on, also on failure).
 * config->pool_dir is not used.
 */
int lender_open_on(struct lender **out, const struct lender_config *config,
		   const struct lend_hooks *hooks, struct backend *backend, unsigned int flags);

static inline uint64_t lend_now(const struct lender *l)
{
	return ml_boot_ns(l->config.clock);
}

/* vm.c: objects and lists. */
struct lend_vm *vm_new(struct lender *l, struct ml_map *map);
void vm_free(struct lend_vm *vm);
int vm_open_regions(struct lend_vm *vm);
void vm_close_regions(struct lend_vm *vm);
void vm_remove_regions(struct lend_vm *vm);
void vm_link(struct lend_vm *vm);
/* Off the list of VMs. */
void vm_unlink(struct lend_vm *vm);
void vm_to_ended(struct lend_vm *vm);
void vm_event(struct lender *l, enum lend_event_type type, const struct lend_vm *vm,
	      const char *text);
/* Counts changed: bring the lender's sums up to date. */
void vm_account(struct lend_vm *vm);
uint64_t vm_committed(const struct lend_vm *vm);
/* By the table, and foreign ones. */
uint64_t vm_resident(const struct lend_vm *vm);
struct meter_counts vm_counts(const struct lend_vm *vm);
/* The counts have changed as of now_ns: tell the meter and the sums. */
void vm_meter(struct lend_vm *vm, uint64_t now_ns, const struct meter_events *events);
void vm_snapshot(const struct lend_vm *vm, struct policy_vm *out);
void lender_snapshot(const struct lender *l, struct policy_pool *out);
uint64_t vm_fs_blocks(const struct lend_vm *vm);	/* by the source's count, rounded up */

/* move.c: the only code that moves a block between the pool and a VM. */
/* COMMITTED to RESIDENT. -EAGAIN: no block, or the source is short. */
int move_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns);
/* A RESIDENT slot that was touched: whatever became of its memory, it is there now. */
void move_again(struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* All RESIDENT slots of the range to state `to`; others stay. *moved counts, where not NULL. */
int move_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	     enum slot_state to, uint64_t *moved);
/* As the last step of a VM's end: what others put into its files goes, and is no longer counted. */
void move_foreign_out(struct lend_vm *vm);
/* Take blocks for foreign memory, or give them back, until so many are taken or the pool is empty. */
void move_foreign(struct lend_vm *vm, uint64_t want);
/* A slot found filled by others, which is COMMITTED: lend a block for it. */
int move_adopt_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* A slot found emptied by others. */
void move_adopt_out(struct lend_vm *vm, enum memlease_region region, uint64_t slot);

/* wait.c */
void wait_add(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns);
bool wait_has(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* No longer to be served from here: the toucher is woken and looked at anew. */
void wait_drop(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count);
/* As the VM ends: nobody is woken. */
void wait_forget(struct lend_vm *vm);
/* Blocks may have become free: serve who may be served, up to LEND_SERVE_MAX; the rest by lender_work(). */
void wait_serve(struct lender *l);
/* A touch gets a block, of a pool that is as it was before: is it one of the last? */
void wait_kept(struct lend_vm *vm, const struct policy_pool *before);
/* Touches wait: ask guests for memory. */
void wait_ask(struct lender *l, uint64_t now_ns);

/* job.c: begin; slices are lender_work()'s. */
extern uint32_t lend_slice_blocks;	/* LEND_SLICE_BLOCKS; tests make it smaller */
void job_end(struct lend_vm *vm, const char *why);
void job_reset(struct lend_vm *vm);

/* recover.c: read state_dir and repair. */
int recover(struct lender *l);

/* usage.c */
void usage_post(struct lend_vm *vm);	/* all rows that the ledger does not have */
void usage_collect(struct lender *l);	/* acknowledgements; forgets VMs that are through */
void usage_tell(struct lender *l);	/* events when the ledger falls behind or catches up */

/* audit.c */
/* Count foreign blocks anew; cheap, so also for what a guest can cause at will. */
void audit_count(struct lend_vm *vm, uint64_t now_ns);
/* The same, and tell of them, and search for a stretch which slots they are: once a second. */
void audit_vm(struct lend_vm *vm, uint64_t now_ns);

#endif /* ML_LEND_LENDER_H */
