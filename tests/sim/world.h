/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of the simulation: what stays when the daemon dies. It lies in memory
 * shared between the parent, which is the machine, and its children, each of which
 * is one life of the daemon: the clocks, the random numbers, the memory of the
 * fake backend, and what an observer who looks at that memory alone has seen.
 */
#ifndef ML_TESTS_SIM_WORLD_H
#define ML_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../host/base/wide.h"
#include "../../host/lend/account.h"
#include "../../host/lend/lend.h"
#include "../../host/lend/loan.h"
#include "../../host/lend/open.h"
#include "../../host/lend/waiting.h"

void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define SIM_MUST(cond, ...) \
	do { \
		if (!(cond)) \
			sim_fail(__VA_ARGS__); \
	} while (0)
#define FAKE_MUST SIM_MUST
#include "../lib/fake_pool.h"
#include "../lib/lend_validate.h"

#define SIM_POOL_BLOCKS 64
#define SIM_RANGES 4		/* of the stand-in for the module, far apart; one block more in all */
#define SIM_RETIRED_MAX 6
#define SIM_PERIOD_S 900
#define SIM_SLOTS_MAX 64	/* of one region */
#define SIM_REGIONS_MAX 64
#define SIM_SEEN_MAX 2048	/* VMs of one run */
#define SIM_VMS_MAX 6		/* at a time */
#define SIM_QEMUS 8
#define SIM_FOREIGN UINT32_MAX	/* memory that no block of the table stands for */

/* One region of the fake backend. */
struct sim_region {
	char name[64];			/* "": free */
	uint64_t blocks;
	uint32_t behind[SIM_SLOTS_MAX];	/* block + 1, or SIM_FOREIGN, or 0: nothing */
	uint64_t content[SIM_SLOTS_MAX];
	/* What the guest expects to find; 0: zeros. */
	uint64_t want[SIM_SLOTS_MAX];
	bool unsure[SIM_SLOTS_MAX];	/* or zeros: it was being given back when the daemon died */
	bool given[SIM_SLOTS_MAX];	/* the guest has no answer yet to its REPORT or RETURN of it */
	bool unseen[SIM_SLOTS_MAX];	/* foreign, and no daemon has looked since */
	bool emptying;			/* QEMU has sent a reset, and has not seen its end */
	bool live;			/* its VM has not ended: it may be touched */
	bool told[SIM_SLOTS_MAX];	/* by this daemon, that the slot is lost */
	bool closed;			/* it was, by all, once: who opens it then finds what is there, or zeros */
};

/* What the observer has seen of one VM. */
struct sim_seen {
	char uuid[40];
	ml_u128 resident_ns, committed_ns, guarantee_ns;
	ml_u128 unseen_ns;		/* of blocks that nobody could bill from the first instant */
	ml_u128 unknown_committed_ns, unknown_guarantee_ns;	/* billed or not: it lived, and no daemon knew */
	bool over;			/* its QEMU ended, and no daemon ran: nothing is billed from then on */
};

enum sim_sabotage { SIM_HONEST, SIM_KEEP, SIM_SHARE };

struct world {
	uint64_t seed, random;
	uint64_t boot_ns;
	uint64_t alive_ns;		/* up to when meters stand: the last time with an open lender */
	int64_t wall_ms;
	uint64_t step, steps, moves;
	uint64_t crash_in;		/* persistent writes until the daemon dies; 0: never */
	uint64_t crashes;
	uint64_t stamp;			/* last content written by a guest */
	uint64_t next_name;
	uint64_t woken, waited;
	bool final;
	bool disk_full;			/* the ledger cannot be written */
	enum sim_sabotage sabotage;
	char crashed_at[64];
	char dir[64];
	char state[80];
	char ledger[80];
	bool served;			/* by the stand-in for the module, in place of the fake backend */
	struct fake_pool module;
	uint64_t overflow_seen;		/* by a daemon that has read all slots since */
	struct sim_region regions[SIM_REGIONS_MAX];
	struct sim_seen seen[SIM_SEEN_MAX];
	size_t seen_count;
	pid_t qemu[SIM_QEMUS];		/* processes that stand for QEMUs; 0: none */
	bool qemu_used[SIM_QEMUS];
};

extern struct world *world;

/* Blocks that the table has. */
static inline uint32_t sim_blocks(void)
{
	return world->served ? world->module.blocks : SIM_POOL_BLOCKS;
}

/* A number below n. */
uint64_t sim_random(uint64_t n);
static inline bool sim_chance(uint64_t percent)
{
	return sim_random(100) < percent;
}

extern const struct ml_clock sim_clock;
/* Let time pass, the observer looking on; nothing else moves meanwhile. */
void sim_pass(uint64_t ns);
void sim_jump_wall(int64_t ms);
/* What the observer saw of a VM. */
const struct sim_seen *sim_seen_of(const char *uuid);

/* The fake backend, over world->regions. */
struct backend *sim_backend(void);
struct sim_region *sim_region_find(const char *name);
struct sim_region *sim_region_of(struct lend_vm *vm, enum memlease_region region);
/* Is a block behind the slot? And what does it hold? Where none is, NULL. */
bool sim_behind(const struct sim_region *r, uint64_t slot);
uint64_t *sim_content(struct sim_region *r, uint64_t slot);
/* The stand-in for the module: regions are of windows, and follow them. */
void sim_follow_windows(void);
/* Who touches a region has it open; then nobody has. */
void sim_open(struct sim_region *r);
void sim_close(struct sim_region *r);
/* Some task of some VM touches a slot that it may touch, or not; daemon or no daemon. */
void sim_task_touches(void);
/* The vCPU goes on: it reads what is there, and writes. */
void sim_guest_writes(struct sim_region *r, uint64_t slot);
/* Blocks behind both regions of a VM; and those of them that are unseen. */
uint64_t sim_resident(const char *uuid);
uint64_t sim_unseen(const char *uuid);
/* The daemon has looked. */
void sim_all_seen(void);
/* No daemon runs, and some QEMU cannot go on without a slot of boot memory: it backs it itself. */
void sim_rescue(void);
uint64_t sim_present(void);
bool sim_any_foreign(void);
/* A QEMU is gone, and its VM's tasks with it. */
void sim_qemu_ends(pid_t pid);
/* No daemon runs: the VMs that have ended by now, or whose end had begun, are billed up to now at most. */
void sim_see_ends(void);
/* Right after a crash: no block that is behind a slot is free by the table's file. */
void sim_check_mapped(void);

/* The daemon's, while it lives. */
extern struct lender *lender;

/* hooks.c: what the lender tells. */
extern const struct lend_hooks sim_hooks;
/* Has the VM's QEMU ended? Within limit_ms; -1: however long that takes. */
bool sim_has_ended(const struct lend_vm *vm, int limit_ms);

/* checks.c: the table, the backend and what guests expect agree; counts; meters; the ledger at the end. */
void check_world(void);
void check_counts(void);
/* After the event loop has looked: no VM below its guarantee waits, but for zeroing. */
void check_guarantees(void);
/* After a tick: the guest has been told of each slot that it lost to a memory error. */
void check_told(void);
void check_meters(void);
void check_waits(void);
void check_ledger(void);

/* One life of the daemon: returns when the run is through; dies in between. */
void sim_life(void);

#endif /* ML_TESTS_SIM_WORLD_H */
