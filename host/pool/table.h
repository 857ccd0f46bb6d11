/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block table: one 64-bit word per block of the pool, in a mapped file that
 * survives the daemon. Every change is one compare-and-swap from the word the
 * caller has seen to one that the table of legal moves allows, done by
 * table_move() and nothing else, which also keeps the counts.
 *
 *   DIRTY ---> ZEROING ---> CLEAN ---> LENT(vm, region, slot) ---> DIRTY
 *     |           |                                                  any ---> RETIRED
 *     |           +--> DIRTY (given up half way)
 *     +--> CLEAN, where the backend zeroes whatever it maps
 *
 * Each move to LENT raises the generation, so that no two loans of a block look
 * alike. Called by pool.c and lend/; safe from several threads.
 */
#ifndef ML_POOL_TABLE_H
#define ML_POOL_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/file.h"

enum block_state {
	BLOCK_DIRTY = 0,	/* what a fresh file says */
	BLOCK_ZEROING,
	BLOCK_CLEAN,
	BLOCK_LENT,
	BLOCK_RETIRED,
	BLOCK_STATES,
};

/* Bounds of what a word can say. */
#define TABLE_VM_MAX 0xffffU
#define TABLE_SLOT_MAX ((1U << 28) - 1)	/* 512 TiB of one region */
#define TABLE_BLOCKS_MAX (1U << 30)

/* Slot of a block that backs what a QEMU put into its files past its leases. */
#define TABLE_SLOT_FOREIGN TABLE_SLOT_MAX

/* A word, taken apart. vm, region and slot mean something in LENT only. */
struct block_word {
	enum block_state state;
	uint16_t vm;
	uint8_t region;
	uint32_t slot;
	uint16_t generation;
};

struct table {
	struct ml_map map;
	_Atomic uint64_t *words;
	uint32_t blocks;
	_Atomic uint32_t count[BLOCK_STATES];
};

/*
 * Open the table `name` in dirfd, or make it (all blocks DIRTY). boot_id is
 * remembered in a new one; *old_boot says whether the file is from another boot
 * (its blocks are then of no meaning and have been made DIRTY).
 * A file of fewer blocks grows; of more is cut if none beyond is LENT or
 * RETIRED, else -EBUSY and *need gets the least size. -EUCLEAN: not ours.
 */
int table_open(struct table *t, int dirfd, const char *name, uint32_t blocks,
	       const char *boot_id, bool *old_boot, uint32_t *need);
void table_close(struct table *t);

uint64_t table_raw(const struct table *t, uint32_t block);
struct block_word table_word(const struct table *t, uint32_t block);
struct block_word block_unpack(uint64_t raw);
uint64_t block_pack(const struct block_word *w);
bool block_move_legal(enum block_state from, enum block_state to);
const char *block_state_name(enum block_state state);

/*
 * The one writer: block goes from the word `seen` to state `to`; vm, region and
 * slot are taken for LENT only. -EAGAIN: the word is no longer `seen`.
 * An illegal move is our own mistake and ends the process.
 */
int table_move(struct table *t, uint32_t block, uint64_t seen, enum block_state to, uint16_t vm,
	       uint8_t region, uint32_t slot);

static inline uint32_t table_count(const struct table *t, enum block_state state)
{
	return atomic_load_explicit(&t->count[state], memory_order_relaxed);
}

/* Every word is of a known state and the counts agree; aborts with a message otherwise. */
void table_validate(const struct table *t);

#endif /* ML_POOL_TABLE_H */
