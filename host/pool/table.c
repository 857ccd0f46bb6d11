// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The block table; see table.h. The file: a header of one page, then the words.
 * Nothing else in host/ writes to it.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"

#define TABLE_MAGIC 0x656c626174206c6dULL	/* "ml table" */
#define TABLE_VERSION 1
#define TABLE_HEADER_BYTES 4096

struct table_header {
	uint64_t magic;
	uint32_t version;
	uint32_t blocks;
	char boot_id[ML_BOOT_ID_BYTES];
};

_Static_assert(sizeof(struct table_header) <= TABLE_HEADER_BYTES, "header fits its page");

/* Word: state 3, region 1, vm 16, slot 28, generation 16 bits, from the lowest on. */
#define REGION_SHIFT 3
#define VM_SHIFT 4
#define SLOT_SHIFT 20
#define GENERATION_SHIFT 48

static const bool legal[BLOCK_STATES][BLOCK_STATES] = {
	[BLOCK_DIRTY] = { [BLOCK_ZEROING] = true, [BLOCK_CLEAN] = true, [BLOCK_RETIRED] = true },
	[BLOCK_ZEROING] = { [BLOCK_CLEAN] = true, [BLOCK_DIRTY] = true, [BLOCK_RETIRED] = true },
	[BLOCK_CLEAN] = { [BLOCK_LENT] = true, [BLOCK_RETIRED] = true },
	[BLOCK_LENT] = { [BLOCK_DIRTY] = true, [BLOCK_RETIRED] = true },
	[BLOCK_RETIRED] = { false },
};

static const char *const state_names[BLOCK_STATES] = {
	"dirty", "zeroing", "clean", "lent", "retired",
};

bool block_move_legal(enum block_state from, enum block_state to)
{
	return from < BLOCK_STATES && to < BLOCK_STATES && legal[from][to];
}

const char *block_state_name(enum block_state state)
{
	return state < BLOCK_STATES ? state_names[state] : "unknown";
}

struct block_word block_unpack(uint64_t raw)
{
	return (struct block_word){
		.state = (enum block_state)(raw & 7),
		.region = (raw >> REGION_SHIFT) & 1,
		.vm = (uint16_t)(raw >> VM_SHIFT),
		.slot = (uint32_t)(raw >> SLOT_SHIFT) & TABLE_SLOT_MAX,
		.generation = (uint16_t)(raw >> GENERATION_SHIFT),
	};
}

uint64_t block_pack(const struct block_word *w)
{
	return (uint64_t)w->state | (uint64_t)(w->region & 1) << REGION_SHIFT |
	       (uint64_t)w->vm << VM_SHIFT | (uint64_t)(w->slot & TABLE_SLOT_MAX) << SLOT_SHIFT |
	       (uint64_t)w->generation << GENERATION_SHIFT;
}

uint64_t table_raw(const struct table *t, uint32_t block)
{
	return atomic_load_explicit(&t->words[block], memory_order_acquire);
}

struct block_word table_word(const struct table *t, uint32_t block)
{
	return block_unpack(table_raw(t, block));
}

int table_move(struct table *t, uint32_t block, uint64_t seen, enum block_state to, uint16_t vm,
	       uint8_t region, uint32_t slot)
{
	struct block_word old = block_unpack(seen);
	struct block_word new = { .state = to, .generation = old.generation };

	if (block >= t->blocks || !block_move_legal(old.state, to)) {
		ml_err("block %u: illegal move from %s to %s", block, block_state_name(old.state),
		       block_state_name(to));
		abort();
	}
	if (to == BLOCK_LENT) {
		new.vm = vm;
		new.region = region;
		new.slot = slot;
		new.generation++;
	}
	ml_step("block table");
	if (!atomic_compare_exchange_strong_explicit(&t->words[block], &seen, block_pack(&new),
						     memory_order_acq_rel, memory_order_acquire))
		return -EAGAIN;
	atomic_fetch_sub_explicit(&t->count[old.state], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&t->count[to], 1, memory_order_relaxed);
	return 0;
}

static size_t table_bytes(uint32_t blocks)
{
	return TABLE_HEADER_BYTES + (size_t)blocks * sizeof(uint64_t);
}

static int count_words(struct table *t)
{
	uint32_t count[BLOCK_STATES] = { 0 };

	for (uint32_t b = 0; b < t->blocks; b++) {
		struct block_word w = table_word(t, b);

		if (w.state >= BLOCK_STATES)
			return -EUCLEAN;
		count[w.state]++;
	}
	for (int s = 0; s < BLOCK_STATES; s++)
		atomic_store_explicit(&t->count[s], count[s], memory_order_relaxed);
	return 0;
}

/* A new file is complete before it has its name, so that a crash leaves all or nothing. */
static int make_file(int dirfd, const char *name, uint32_t blocks, const char *boot_id,
		     const uint64_t *words, uint32_t given)
{
	struct table_header *h;
	struct ml_map map = { 0 };
	char temp[64];
	int ret;

	snprintf(temp, sizeof(temp), "%s.new", name);
	unlinkat(dirfd, temp, 0);
	ret = ml_map_create(dirfd, temp, table_bytes(blocks), &map);
	if (ret < 0)
		return ret;
	h = map.data;
	h->magic = TABLE_MAGIC;
	h->version = TABLE_VERSION;
	h->blocks = blocks;
	snprintf(h->boot_id, sizeof(h->boot_id), "%s", boot_id);
	if (given)
		memcpy((char *)map.data + TABLE_HEADER_BYTES, words,
		       (size_t)(given < blocks ? given : blocks) * sizeof(uint64_t));
	ml_map_close(&map);
	ml_step("block table file");
	return renameat(dirfd, temp, dirfd, name) < 0 ? -errno : 0;
}

/* The least number of blocks a pool must have to hold all that is lent or retired. */
static uint32_t least_blocks(const uint64_t *words, uint32_t blocks)
{
	while (blocks) {
		enum block_state s = block_unpack(words[blocks - 1]).state;

		if (s == BLOCK_LENT || s == BLOCK_RETIRED)
			break;
		blocks--;
	}
	return blocks;
}

/* Check an existing file; make it anew where its size or boot differ. */
static int settle_file(int dirfd, const char *name, uint32_t blocks, const char *boot_id,
		       bool *old_boot, uint32_t *need)
{
	struct table_header *h;
	struct ml_map map = { 0 };
	const uint64_t *words;
	int ret;

	ret = ml_map_open(dirfd, name, TABLE_HEADER_BYTES, &map);
	if (ret == -ENOENT)
		return make_file(dirfd, name, blocks, boot_id, NULL, 0);
	if (ret < 0)
		return ret;
	h = map.data;
	words = (const void *)((char *)map.data + TABLE_HEADER_BYTES);
	if (h->magic != TABLE_MAGIC || h->version != TABLE_VERSION ||
	    map.size != table_bytes(h->blocks) ||
	    !memchr(h->boot_id, '\0', sizeof(h->boot_id))) {
		ret = -EUCLEAN;
	} else if (strcmp(h->boot_id, boot_id) != 0) {
		*old_boot = true;
		ret = make_file(dirfd, name, blocks, boot_id, NULL, 0);
	} else if (h->blocks != blocks) {
		*need = least_blocks(words, h->blocks);
		ret = *need > blocks ? -EBUSY :
		      make_file(dirfd, name, blocks, boot_id, words, h->blocks);
	}
	ml_map_close(&map);
	return ret;
}

int table_open(struct table *t, int dirfd, const char *name, uint32_t blocks,
	       const char *boot_id, bool *old_boot, uint32_t *need)
{
	int ret;

	memset(t, 0, sizeof(*t));
	*old_boot = false;
	if (!blocks || blocks > TABLE_BLOCKS_MAX)
		return -EINVAL;
	ret = settle_file(dirfd, name, blocks, boot_id, old_boot, need);
	if (ret < 0)
		return ret;
	ret = ml_map_open(dirfd, name, table_bytes(blocks), &t->map);
	if (ret < 0)
		return ret;
	t->words = (void *)((char *)t->map.data + TABLE_HEADER_BYTES);
	t->blocks = blocks;
	ret = count_words(t);
	if (ret < 0)
		table_close(t);
	return ret;
}

void table_close(struct table *t)
{
	ml_map_close(&t->map);
	t->words = NULL;
	t->blocks = 0;
}

void table_validate(const struct table *t)
{
	uint32_t count[BLOCK_STATES] = { 0 };

	for (uint32_t b = 0; b < t->blocks; b++) {
		struct block_word w = table_word(t, b);

		if (w.state >= BLOCK_STATES) {
			ml_err("block %u: unknown state %d", b, (int)w.state);
			abort();
		}
		count[w.state]++;
	}
	for (int s = 0; s < BLOCK_STATES; s++) {
		if (count[s] != table_count(t, (enum block_state)s)) {
			ml_err("block table: %u blocks are %s, the count says %u", count[s],
			       state_names[s], table_count(t, (enum block_state)s));
			abort();
		}
	}
}
