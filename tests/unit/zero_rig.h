/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A toy pool for zero.c: one atomic word per block over a mapping of huge pages, with the
 * moves that a real table would allow and no others. Used by unit tests, by the test under
 * ThreadSanitizer, and by bench-zero.
 */
#ifndef ML_TESTS_UNIT_ZERO_RIG_H
#define ML_TESTS_UNIT_ZERO_RIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../host/base/clock.h"
#include "../../host/pool/zero.h"

enum toy_state { TOY_DIRTY, TOY_ZEROING, TOY_CLEAN, TOY_USED, TOY_BAD, TOY_STATES };

struct toy {
	uint32_t blocks;
	uint64_t block_bytes;
	char *memory;
	size_t map_bytes;
	void *map;
	_Atomic uint32_t *word;
	_Atomic uint32_t count[TOY_STATES];
	_Atomic uint32_t cursor;	/* where to look for a dirty one */
	_Atomic uint32_t illegal;	/* moves from a state that it was not in */
};

static inline bool toy_move(struct toy *t, uint32_t block, uint32_t from, uint32_t to)
{
	if (!atomic_compare_exchange_strong(&t->word[block], &from, to))
		return false;
	atomic_fetch_sub(&t->count[from], 1);
	atomic_fetch_add(&t->count[to], 1);
	return true;
}

/* Some block from one state to another, or ZERO_NO_BLOCK. */
static inline uint32_t toy_any(struct toy *t, uint32_t from, uint32_t to)
{
	uint32_t at = atomic_load(&t->cursor);

	for (uint32_t i = 0; i < t->blocks; i++) {
		uint32_t block = (at + i) % t->blocks;

		if (atomic_load(&t->word[block]) == from && toy_move(t, block, from, to)) {
			atomic_store(&t->cursor, block + 1);
			return block;
		}
	}
	return ZERO_NO_BLOCK;
}

static inline uint32_t toy_take(void *ctx)
{
	return toy_any(ctx, TOY_DIRTY, TOY_ZEROING);
}

static inline void toy_must(struct toy *t, uint32_t block, uint32_t to)
{
	if (block >= t->blocks || !toy_move(t, block, TOY_ZEROING, to))
		atomic_fetch_add(&t->illegal, 1);
}

static inline void toy_clean(void *ctx, uint32_t block)
{
	toy_must(ctx, block, TOY_CLEAN);
}

static inline void toy_undo(void *ctx, uint32_t block)
{
	toy_must(ctx, block, TOY_DIRTY);
}

static inline void toy_bad(void *ctx, uint32_t block, int error)
{
	(void)error;
	toy_must(ctx, block, TOY_BAD);
}

static inline void *toy_address(void *ctx, uint32_t block)
{
	struct toy *t = ctx;

	return t->memory + block * t->block_bytes;
}

static inline void toy_counts(void *ctx, struct zero_counts *out)
{
	struct toy *t = ctx;

	out->clean = atomic_load(&t->count[TOY_CLEAN]);
	out->dirty = atomic_load(&t->count[TOY_DIRTY]);
}

static inline struct zero_source toy_source(struct toy *t)
{
	return (struct zero_source){
		.take = toy_take, .clean = toy_clean, .undo = toy_undo, .bad = toy_bad,
		.address = toy_address, .counts = toy_counts, .ctx = t,
	};
}

#define TOY_HUGE (2UL << 20)

/* All blocks dirty, and their memory there and not zero. 0 or -1. */
static inline int toy_make(struct toy *t, uint32_t blocks, uint64_t block_bytes)
{
	memset(t, 0, sizeof(*t));
	t->blocks = blocks;
	t->block_bytes = block_bytes;
	t->map_bytes = blocks * block_bytes + TOY_HUGE;
	t->word = calloc(blocks, sizeof(*t->word));
	t->map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!t->word || t->map == MAP_FAILED)
		return -1;
	t->memory = (char *)(((uintptr_t)t->map + TOY_HUGE - 1) & ~(TOY_HUGE - 1));
	madvise(t->memory, blocks * block_bytes, MADV_HUGEPAGE);
	memset(t->memory, 0x5a, blocks * block_bytes);
	atomic_store(&t->count[TOY_DIRTY], blocks);
	return 0;
}

static inline void toy_free(struct toy *t)
{
	munmap(t->map, t->map_bytes);
	free((void *)t->word);
}

static inline uint64_t toy_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void toy_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

/* Until so many blocks are in a state; false after ten seconds. */
static inline bool toy_until(struct toy *t, enum toy_state state, uint32_t count)
{
	uint64_t began = toy_now_ns();

	while (atomic_load(&t->count[state]) != count) {
		if (toy_now_ns() - began > 10000000000ULL)
			return false;
		toy_nap();
	}
	return true;
}

/* Is every byte of the block so? */
static inline bool toy_holds(struct toy *t, uint32_t block, char byte)
{
	const char *data = toy_address(t, block);

	return data[0] == byte && !memcmp(data, data + 1, t->block_bytes - 1);
}

#endif /* ML_TESTS_UNIT_ZERO_RIG_H */
