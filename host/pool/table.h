/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block table: one 64-bit word per block of the pool, in a mapped file that
 * survives the daemon. Every change is one compare-and-swap from the word the
 * caller has seen to one that the table of legal moves allows, done by
 * table_move() and nothing else, which also keeps the counts.
 *
 *   DIRTY ---> ZEROING ---> CLEAN ---> LENT(owner) ---> DIRTY
 *     ^           |           |  |        ^  ^            any ---> RETIRED
 *     +-----------+           |  +--> OFFERED |  (clean, in the module's ring:
 *     (given up half way)     |         | |   |   it may stand behind a slot by
 *                             |  CLEAN <+ |   |   now, the daemon will be told)
 *                             |  DIRTY <--+   |
 *   DIRTY or CLEAN -----------+--> MOVING(owner) ---> DIRTY
 *                                  (is filled with what the block LENT to the same
 *                                   owner holds, all of it, and takes its place)
 *
 * A backend that zeroes what it maps knows no dirty blocks: there, and only there,
 * DIRTY and LENT may become CLEAN at once.
 *
 * Crash safety. The words are all there is: no log, no lock, no second structure
 * that must agree with them. Each word is valid at every instant, and nothing
 * relies on the order in which two of them reach the medium, so that the file may
 * lie in persistent memory, where eight bytes are written whole or not at all.
 * What a crash leaves is put right in one pass by pool_open() and pool_settle().
 * A file from another boot of the machine says nothing about memory: all of it is
 * DIRTY then, and nothing lent. So after a loss of power nothing of it is needed, and
 * no store of it is ever waited for.
 *
 * Each departure from CLEAN, and from DIRTY to MOVING, raises the generation, so that
 * no two loans of a block look alike. Called by pool/ and lend/; safe from several threads.
 */
#ifndef ML_POOL_TABLE_H
#define ML_POOL_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/file.h"
#include "../base/why.h"

/* The numbers are those of the file. */
enum block_state {
	BLOCK_DIRTY = 0,	/* what a fresh file says */
	BLOCK_ZEROING,
	BLOCK_CLEAN,
	BLOCK_LENT,
	BLOCK_RETIRED,
	BLOCK_OFFERED,
	BLOCK_MOVING,
	BLOCK_STATES,
};

/* Bounds of what a word can say. */
#define TABLE_VM_MAX 0xffffU
#define TABLE_SLOT_MAX ((1U << 28) - 1)	/* 512 TiB of one region */
#define TABLE_GENERATION_MAX 0x7fffU
#define TABLE_BLOCKS_MAX (1U << 30)

/* Where in a word `fixed` is, for reading many words at once; the state is in the lowest 3 bits. */
#define TABLE_FIXED_SHIFT 48

/* Slot of a block that backs what a QEMU put into its files past its leases. */
#define TABLE_SLOT_FOREIGN TABLE_SLOT_MAX

/* Threads that change words, each with counts of its own. */
#define TABLE_WRITERS_MAX 64

/* The owner of a block; small enough for a register. */
struct block_owner {
	uint16_t vm;
	uint8_t region;
	bool fixed;		/* must stay where it is: boot memory, a VM with assigned devices */
	uint32_t slot;
};

/* A word, taken apart. The owner means something in LENT and MOVING only. */
struct block_word {
	enum block_state state;
	uint16_t generation;
	struct block_owner owner;
};

/* What one writer changed of the counts, modulo 2^32: the counts are the sums. A cache line. */
struct table_tally {
	_Alignas(64) _Atomic uint32_t count[BLOCK_STATES];
};

struct table {
	struct ml_map map;
	_Atomic uint64_t *words;
	uint32_t blocks;
	bool zeroed_on_map;	/* the backend zeroes what it maps */
	_Atomic unsigned int writers;	/* those from here on have changed nothing yet */
	struct table_tally *tally;	/* TABLE_WRITERS_MAX */
};

/*
 * Open the table `name` in dirfd, or make it (all blocks DIRTY). boot_id is
 * remembered in a new one; *old_boot says whether the file is from another boot
 * (its blocks are then of no meaning and have been made DIRTY).
 * A file of fewer blocks grows; of more is cut if every block beyond is free, else
 * -EBUSY and *need gets the least size. A file of version 1 is made anew as one of
 * version 2 with the same loans. So is one of a backend that zeroes what it maps for one
 * that does not, and the other way round: what is not LENT or RETIRED is DIRTY then.
 * -EUCLEAN: not ours. The counts are zero until table_set_counts().
 */
int table_open(struct table *t, int dirfd, const char *name, uint32_t blocks,
	       bool zeroed_on_map, const char *boot_id, bool *old_boot, uint32_t *need);
void table_close(struct table *t);
/* Would table_open() take this file as it is? Changes nothing. -ENOENT, -EUCLEAN. */
int table_look(int dirfd, const char *name, struct ml_why *why);

struct block_word block_unpack(uint64_t raw);
uint64_t block_pack(const struct block_word *w);
/* zeroed_on_map as in struct table. */
bool block_move_legal(enum block_state from, enum block_state to, bool zeroed_on_map);
const char *block_state_name(enum block_state state);

static inline enum block_state block_state_of(uint64_t raw)
{
	return (enum block_state)(raw & 7);
}

static inline uint64_t table_raw(const struct table *t, uint32_t block)
{
	return atomic_load_explicit(&t->words[block], memory_order_acquire);
}

static inline struct block_word table_word(const struct table *t, uint32_t block)
{
	return block_unpack(table_raw(t, block));
}

/*
 * The one writer: block goes from the word `seen` to state `to`; the owner is taken
 * for LENT and MOVING only. -EAGAIN: the word is no longer `seen`. `writer` names
 * whose counts change: one thread at a time for each. An illegal move is our own
 * mistake and ends the process.
 */
int table_move(struct table *t, unsigned int writer, uint32_t block, uint64_t seen,
	       enum block_state to, struct block_owner owner);

/* Writers up to this one may change words from now on. */
void table_admit(struct table *t, unsigned int writer);

/* Blocks in a state. Exact when nobody moves blocks, else of about now. */
uint32_t table_count(const struct table *t, enum block_state state);
/* Found by the caller's pass over the words: what the counts are from now on. */
void table_set_counts(struct table *t, const uint32_t count[BLOCK_STATES]);

/* Every word is of a known state and the counts agree; aborts with a message otherwise. */
void table_validate(const struct table *t);

#endif /* ML_POOL_TABLE_H */
