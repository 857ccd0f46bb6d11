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
#include "../pool/choose.h"
#include "../pool/pool.h"
#include "../pool/zero.h"
#include "lend.h"
#include "record.h"
#include "slots.h"

#define LEND_IDS (2 * LEND_VMS_MAX)	/* VMs, and ended ones that wait for the ledger */
#define LEND_RUN_MAX 512		/* slots that one unmap takes */
#define LEND_SLICE_BLOCKS 256		/* blocks of one slice of a job: about 1 ms */
#define LEND_SERVE_MAX 64		/* touches served at once: about as long */
#define LEND_TICK_NS 1000000000ULL
#define LEND_ASK_NS 100000000ULL	/* between two looks at whom to ask while touches wait */
#define LEND_RESYNC_NS 100000000ULL	/* between two readings of all slots, however often events are lost */

/* A touch that waits for a block. */
struct lend_wait {
	struct lend_wait *next;
	enum memlease_region region;
	uint64_t slot;
	uint64_t since_ns;
};

/* A slot whose block had a memory error. */
struct lend_lost {
	struct lend_lost *next;
	enum memlease_region region;
	uint64_t slot;
};

struct lend_region {
	struct backend_region at;	/* its owner is this */
	struct lend_vm *vm;
	enum memlease_region which;
	struct slots slots;
	uint8_t *waiting;	/* bit per slot: a touch of it waits */
	uint8_t *lost;		/* bit per slot: it is LOST in the source, and the guest was or will be told */
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

	/* What the source told of it and nobody has acted on yet: see served.c. */
	enum backend_event_type fault;	/* VIOLATION or TIMEOUT, or 0 */
	enum memlease_region fault_region;
	uint64_t fault_slot;
	pid_t fault_pid;
	bool closed[MEMLEASE_REGION_COUNT];	/* nobody has it open any more: it is being emptied */
	uint64_t closed_at[MEMLEASE_REGION_COUNT];	/* slots done of that */
	struct lend_lost *lost;		/* slots whose loss the guest is to be told of */

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

/* Keeping the supply of a source that serves touches: supply.c. */
struct lend_supply {
	uint32_t want;			/* blocks that it shall hold, if they can be had */
	bool filled;			/* it has held about as many since `want` changed */
	uint32_t taken;			/* since the last tick */
	uint64_t taken_ever;
};

/* Zeroing, where the source does not: clean.c. */
struct lend_clean {
	struct zero *zero;		/* NULL: the source zeroes, or tests do */
	int fd;				/* readable when somebody waited for a clean block and there is one; or -1 */
	_Atomic bool wanted;
	uint32_t told;			/* touches that wait, as the workers know it */
	struct pool_user *users[ZERO_THREADS_MAX];
	_Atomic unsigned int user_count;
	_Atomic uint32_t bad[64];	/* blocks that could not be written, + 1; the source is to know */
};

/* Compaction of the pool: compact.c. */
struct lend_compact {
	uint32_t wanted;		/* GiBs still to be emptied on an operator's word */
	struct pool_shift *shifts;	/* the plan under way, or NULL */
	uint32_t shift_count, shift_at;	/* the areas that shifts from here on empty are closed */
	uint32_t budget;		/* blocks that may be moved still before the next tick */
	uint32_t shift_done;		/* moves of the shift under way */
	uint32_t idle_ticks;		/* since the last plan */
	uint32_t gained;		/* areas that this plan has emptied */
	uint64_t moved, emptied;
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
	struct lend_supply supply;
	struct lend_clean clean;	/* its threads use the pool */
	struct lend_compact compact;
	uint32_t source_blocks;		/* of the pool, and the source's own: RETIRED in the table */
	bool recovering;		/* meters are brought through the time without a daemon */
	bool acts;			/* some VM has a fault, a closed region, or lost slots to tell of */
	bool acts_soon;			/* and that has not been looked at, or is not through */
	bool resync;			/* the source lost events: read all slots, soon */
	uint64_t resynced_ns;		/* when that was done last */

	bool behind;
	bool short_told;		/* POOL_SHORT was the last that was told */
	bool serve_more;		/* touches wait that could be served, or have not been looked at */
	uint64_t kept_turn;		/* goes up when there are more than the last blocks again */
	bool kept_drawn;		/* the last blocks are drawn upon */
	bool source_short;		/* the source had no memory where the table had a block */
};

enum lender_flags {
	LENDER_LEDGER_INLINE = 1,	/* no writer thread */
	LENDER_NO_ZEROING = 2,		/* no zeroing threads: the caller zeroes */
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
/*
 * COMMITTED to RESIDENT. owed: policy says that it may have one of the pool; else only one
 * of the supply, which is for all. -EAGAIN: no block, or the source is short; -EIO: the
 * slot was lost to a memory error.
 */
int move_in(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	    bool owed);
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

/* Whose a block will be. */
struct block_owner vm_owner(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* A RESIDENT slot goes to `to`, and its block, which is mapped nowhere any more, to the pool. */
void move_away(struct lend_vm *vm, enum memlease_region region, uint64_t slot, enum slot_state to);

/* served.c: where the source serves touches. */
static inline bool lend_served(const struct lender *l)
{
	return l->backend->serves_touches;
}

/* Blocks that are lent to nobody, clean or not. */
static inline uint64_t lend_free(const struct lender *l)
{
	const struct table *t = &l->pool.table;

	return (uint64_t)table_count(t, BLOCK_CLEAN) + table_count(t, BLOCK_DIRTY) +
	       table_count(t, BLOCK_ZEROING) + table_count(t, BLOCK_OFFERED);
}

/* Note down all that the source has to tell, at most so many; false: there may be more. Moves no block. */
bool served_read(struct lender *l, uint32_t most);
/* All of it: table and slots are then as the source's were a moment ago. */
static inline void served_read_all(struct lender *l)
{
	if (lend_served(l))
		served_read(l, UINT32_MAX);
}

/* The block went behind the slot at this time, if it is OFFERED; else this is old. */
void served_taken(struct lend_region *r, uint64_t slot, uint32_t block, uint64_t at_ns);
/* As move_out(), but for slots in any state: VACANT also takes what is COMMITTED. */
int served_out(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count,
	       enum slot_state to, uint64_t *moved);
/* All of the VM's slots are to fail from now on; its blocks go to the pool. */
int served_end(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count);
/* Slots and table of a VM as the source has them. */
void served_resync(struct lend_vm *vm);
/* Only this slot. */
void served_resync_slot(struct lend_region *r, uint64_t slot);
/* The slot's block had a memory error: the guest hears of it, once, when there is one to tell. */
void served_lost(struct lend_region *r, uint64_t slot);
/* Blocks that the source has retired, or needs for itself, are RETIRED in the table, too. */
int served_retired(struct lender *l);
/* End VMs that broke the rules, empty what nobody has open, tell guests of memory errors. */
void served_act(struct lender *l);

/* settle.c: the same for all VMs, at start; the records are read. */
int settle_served(struct lender *l);

/*
 * ranges.c: the table is of this memory, or of no worth: then it goes. Of these ranges, in
 * this order (more may have come at the end), and nobody else has had them since.
 */
int ranges_check(int state_fd, const struct backend *backend);

/* supply.c */
void supply_init(struct lender *l);
/* Bring the supply to what it shall hold, no more than others leave over their guarantees. */
void supply_fill(struct lender *l);
/* Take it all back: from here to supply_fill() what is free is known exactly. */
void supply_hold(struct lender *l);
/* A block of the supply in place of one from the pool, lent to the owner; or POOL_NO_BLOCK. */
uint32_t supply_get(struct lender *l, struct block_owner owner);
void supply_tick(struct lender *l);

/* clean.c */
int clean_start(struct lender *l);
void clean_stop(struct lender *l);
/* Blocks were taken, or became dirty. */
void clean_kick(struct lender *l);
/* There is no clean block, and somebody wants one: clean.fd tells. */
void clean_want(struct lender *l);
/* In the event loop's thread: clean.fd is readable, or a second has passed. */
void clean_look(struct lender *l);

/* compact.c */
void compact_tick(struct lender *l);
bool compact_has_work(const struct lender *l);
void compact_slice(struct lender *l);
void compact_end(struct lender *l);
/* A touch finds no block: what is being emptied is open to it again. False: nothing was. */
bool compact_yield(struct lender *l);
/* For people: a plan is under way, or will be. */
bool compact_running(const struct lender *l);
/* Put another block in place of a LENT one, if there is one in that area, or any. -EAGAIN, -ENOSPC. */
int compact_move(struct lender *l, uint32_t from, uint32_t into);

/* wait.c */
void wait_add(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns);
bool wait_has(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* No longer to be served from here: the toucher is woken and looked at anew. */
void wait_drop(struct lend_vm *vm, enum memlease_region region, uint64_t first, uint64_t count);
/* Say that the pool is short, or that it is not any more, if that is news. */
void wait_tell(struct lender *l);
/* As the VM ends: nobody is woken. */
void wait_forget(struct lend_vm *vm);
/* Blocks may have become free: serve who may be served, up to LEND_SERVE_MAX; the rest by lender_work(). */
void wait_serve(struct lender *l);
/*
 * A touch of a COMMITTED slot gets a block, of a pool that is so and of which policy lets
 * it have one: of what is offered, if the VM is not below its guarantee and there is any.
 * As move_in().
 */
int wait_give(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
	      const struct policy_pool *pool);
/* Others than the last blocks were free, and were given or offered. */
void wait_ample(struct lender *l);
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
