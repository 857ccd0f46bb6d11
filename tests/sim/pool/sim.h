/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of the pool's simulation: what stays when the daemon is killed. It lies in
 * memory shared between the parent, which is the machine and its guests, and each life of
 * the daemon: what every block holds, and what the host module knows.
 */
#ifndef ML_TESTS_SIM_POOL_SIM_H
#define ML_TESTS_SIM_POOL_SIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../../host/pool/pool.h"

#define SIM_BLOCKS 1300
#define SIM_VMS 4
#define SIM_SLOTS 220
#define SIM_RING 32
#define SIM_TOUCHES 64
#define SIM_HALF 1	/* what a block holds that is being zeroed, or copied to */

/* A slot of a VM as the module has it. */
struct sim_slot {
	_Atomic uint32_t behind;	/* block + 1, or 0 */
	uint64_t want;			/* what the guest expects to read */
};

struct sim_touch {
	uint16_t vm;
	uint32_t slot, block;
};

/* Mistakes made on purpose, to show that they are noticed. */
enum sim_sabotage { SIM_HONEST, SIM_EARLY, SIM_LAZY };

struct sim_world {
	uint64_t seed, random;
	bool zeroed_on_map;	/* the backend zeroes, and has no ring */
	enum sim_sabotage sabotage;
	uint64_t stamp;
	/* Contents: 0 is zeros. Each is touched only by the owner that the table names. */
	uint64_t content[SIM_BLOCKS];
	struct sim_slot slots[SIM_VMS][SIM_SLOTS];
	bool poisoned[SIM_BLOCKS];
	/* The rings, as in proto/memlease_ioctl.h. */
	uint32_t supply[SIM_RING], supply_head, supply_tail;
	struct sim_touch touches[SIM_TOUCHES];
	uint32_t touches_head, touches_tail;

	_Atomic bool at_once;	/* the machine does what nobody can see half of, a daemon that dies least of all */
	uint64_t crash_in;	/* steps until the daemon is killed; 0: never */
	uint64_t crashes, writes, lent, moved, zeroed, retired;
	char crashed_at[32];
	int dirfd;
};

extern struct sim_world *world;

uint64_t sim_random(uint64_t below);
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define SIM_MUST(cond, ...) \
	do { \
		if (!(cond)) \
			sim_fail(__VA_ARGS__); \
	} while (0)

/* --- module.c: the module, its guests, and what must hold of both at any instant --- */

/* A guest touches slots, and writes where there is memory. Never fails; may find no block. */
void module_guest_step(void);
/* A block into the ring. The caller has offered it. */
void module_supply(uint32_t block);
uint32_t module_supply_room(void);
bool module_touch_next(struct sim_touch *t);
void module_touch_done(void);
void module_forget_touches(void);
/* Put a block behind an empty slot; false if it is not empty. */
bool module_map(uint16_t vm, uint32_t slot, uint32_t block);
/* Take what is behind the slot; the block, or POOL_NO_BLOCK. */
uint32_t module_unmap(uint16_t vm, uint32_t slot);
/* Exchange the block behind a slot for another, with its contents. */
bool module_move(uint16_t vm, uint32_t slot, uint32_t from, uint32_t to);
enum pool_truth module_truth(void *ctx, uint32_t block, struct block_owner *owner);
/* No block has two owners, none is lent dirty, what guests wrote is there, sums add up. */
void check_module(void);
/* Against the table, of a daemon that is open and settled; or as a crash left the file. */
void check_table(const struct table *t, bool settled);

/* --- life.c: one life of the daemon; does not return but by `steps` --- */
void sim_open(struct pool *p);
void sim_life(uint64_t steps);
/* With a thread that zeroes and one that moves; killed from outside. */
void sim_life_threads(void);

#endif /* ML_TESTS_SIM_POOL_SIM_H */
