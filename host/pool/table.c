// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The block table; see table.h. The file: a header of one page, then the words.
 * Nothing else in host/ writes to it. Version 2 has more states than version 1, and
 * a bit that says which loans must stay where they are.
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
#define TABLE_VERSION 2
#define TABLE_HEADER_BYTES 4096

struct table_header {
	uint64_t magic;
	uint32_t version;
	uint32_t blocks;
	char boot_id[ML_BOOT_ID_BYTES];
	uint32_t zeroed_on_map;	/* of the backend that wrote CLEAN; not in version 1, where all did */
};

_Static_assert(sizeof(struct table_header) <= TABLE_HEADER_BYTES, "header fits its page");
_Static_assert(sizeof(struct table_tally) == 64, "a writer's counts are one cache line");

/* Word: state 3, region 1, vm 16, slot 28, fixed 1, generation 15 bits, from the lowest on. */
#define STATE_MASK 7ULL
#define REGION_SHIFT 3
#define VM_SHIFT 4
#define SLOT_SHIFT 20
#define FIXED_SHIFT TABLE_FIXED_SHIFT
#define GENERATION_SHIFT 49
#define GENERATION_ONE (1ULL << GENERATION_SHIFT)

/* Version 1 had no `fixed`, a generation of 16 bits in its place, and states up to RETIRED. */
#define V1_GENERATION_SHIFT 48

#define TO(state) (1U << BLOCK_##state)

static const uint8_t legal[8] = {
	[BLOCK_DIRTY] = TO(ZEROING) | TO(MOVING) | TO(RETIRED),
	[BLOCK_ZEROING] = TO(CLEAN) | TO(DIRTY) | TO(RETIRED),
	[BLOCK_CLEAN] = TO(LENT) | TO(OFFERED) | TO(MOVING) | TO(RETIRED),
	[BLOCK_LENT] = TO(DIRTY) | TO(RETIRED),
	[BLOCK_OFFERED] = TO(LENT) | TO(CLEAN) | TO(DIRTY) | TO(RETIRED),
	[BLOCK_MOVING] = TO(LENT) | TO(DIRTY) | TO(RETIRED),
};

/* What becomes zeros when it is mapped is clean as soon as nobody has it. */
static const uint8_t legal_if_zeroed[8] = {
	[BLOCK_DIRTY] = TO(CLEAN),
	[BLOCK_LENT] = TO(CLEAN),
	[BLOCK_MOVING] = TO(CLEAN),
};

static const char *const state_names[BLOCK_STATES] = {
	"dirty", "zeroing", "clean", "lent", "retired", "offered", "moving",
};

bool block_move_legal(enum block_state from, enum block_state to, bool zeroed_on_map)
{
	if (from >= BLOCK_STATES || to >= BLOCK_STATES)
		return false;
	return (legal[from] | (zeroed_on_map ? legal_if_zeroed[from] : 0)) >> to & 1;
}

const char *block_state_name(enum block_state state)
{
	return state < BLOCK_STATES ? state_names[state] : "unknown";
}

struct block_word block_unpack(uint64_t raw)
{
	return (struct block_word){
		.state = (enum block_state)(raw & STATE_MASK),
		.generation = (uint16_t)(raw >> GENERATION_SHIFT),
		.owner = {
			.vm = (uint16_t)(raw >> VM_SHIFT),
			.region = (raw >> REGION_SHIFT) & 1,
			.fixed = (raw >> FIXED_SHIFT) & 1,
			.slot = (uint32_t)(raw >> SLOT_SHIFT) & TABLE_SLOT_MAX,
		},
	};
}

static inline uint64_t pack_owner(struct block_owner o)
{
	return (uint64_t)(o.region & 1) << REGION_SHIFT | (uint64_t)o.vm << VM_SHIFT |
	       (uint64_t)(o.slot & TABLE_SLOT_MAX) << SLOT_SHIFT | (uint64_t)o.fixed << FIXED_SHIFT;
}

uint64_t block_pack(const struct block_word *w)
{
	return (uint64_t)w->state | pack_owner(w->owner) | (uint64_t)w->generation << GENERATION_SHIFT;
}

/* A block that leaves CLEAN, or is moved into, begins a new generation. */
static inline uint64_t next_word(uint64_t seen, enum block_state to, struct block_owner owner)
{
	uint64_t new = (seen & ~(GENERATION_ONE - 1)) | (uint64_t)to;

	if ((seen & STATE_MASK) == BLOCK_CLEAN || to == BLOCK_MOVING)
		new += GENERATION_ONE;
	if (to == BLOCK_LENT || to == BLOCK_MOVING)
		new |= pack_owner(owner);
	return new;
}

/* Only its writer changes a tally, so this needs no locked instruction. */
static inline void add(_Atomic uint32_t *count, uint32_t n)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static __attribute__((noinline, noreturn)) void refuse_move(uint32_t block, enum block_state from,
							    enum block_state to)
{
	ml_err("block %u: illegal move from %s to %s", block, block_state_name(from),
	       block_state_name(to));
	abort();
}

int table_move(struct table *t, unsigned int writer, uint32_t block, uint64_t seen,
	       enum block_state to, struct block_owner owner)
{
	enum block_state from = (enum block_state)(seen & STATE_MASK);
	struct table_tally *tally = &t->tally[writer];

	if (block >= t->blocks || !block_move_legal(from, to, t->zeroed_on_map))
		refuse_move(block, from, to);
	ml_step("block table");
	if (!atomic_compare_exchange_strong_explicit(&t->words[block], &seen,
						     next_word(seen, to, owner),
						     memory_order_acq_rel, memory_order_acquire))
		return -EAGAIN;
	add(&tally->count[from], -1U);
	add(&tally->count[to], 1);
	return 0;
}

void table_admit(struct table *t, unsigned int writer)
{
	unsigned int seen = atomic_load(&t->writers);

	while (seen <= writer && !atomic_compare_exchange_weak(&t->writers, &seen, writer + 1))
		;
}

uint32_t table_count(const struct table *t, enum block_state state)
{
	unsigned int writers = atomic_load_explicit(&t->writers, memory_order_acquire);
	uint32_t n = 0;

	for (unsigned int w = 0; w < writers; w++)
		n += atomic_load_explicit(&t->tally[w].count[state], memory_order_relaxed);
	/* Less than none: one came into the state by a writer looked at before, and left it by a later one. */
	return n > TABLE_BLOCKS_MAX ? 0 : n;
}

void table_set_counts(struct table *t, const uint32_t count[BLOCK_STATES])
{
	memset(t->tally, 0, sizeof(*t->tally) * TABLE_WRITERS_MAX);
	for (int s = 0; s < BLOCK_STATES; s++)
		atomic_store_explicit(&t->tally[0].count[s], count[s], memory_order_relaxed);
	table_admit(t, 0);
}

static size_t table_bytes(uint32_t blocks)
{
	return TABLE_HEADER_BYTES + (size_t)blocks * sizeof(uint64_t);
}

/* What to make a table of. */
struct table_source {
	const struct table_header *header;	/* of the file before, or NULL */
	const uint64_t *words;
};

static bool written_zeroed(const struct table_header *h)
{
	return h->version == 1 || h->zeroed_on_map;
}

/*
 * Loans of version 1 say nothing of kinds, so they stay free to move. For another backend
 * nothing that is not LENT means what it did: CLEAN was what would be zeroed when mapped;
 * nobody has a ring, or moves anything.
 */
static uint64_t convert(uint64_t raw, const struct table_header *from, bool zeroed_on_map)
{
	if (from->version == 1) {
		if ((raw & STATE_MASK) > BLOCK_RETIRED)
			return STATE_MASK;	/* unknown then, unknown now */
		raw = (raw & ((1ULL << FIXED_SHIFT) - 1)) |
		      raw >> V1_GENERATION_SHIFT << GENERATION_SHIFT;
	}
	if (written_zeroed(from) != zeroed_on_map &&
	    (block_state_of(raw) == BLOCK_CLEAN || block_state_of(raw) == BLOCK_OFFERED ||
	     block_state_of(raw) == BLOCK_MOVING))
		raw = (raw & ~(GENERATION_ONE - 1)) | BLOCK_DIRTY;
	return raw;
}

/* A new file is complete before it has its name, so that a crash leaves all or nothing. */
static int make_file(int dirfd, const char *name, uint32_t blocks, bool zeroed_on_map,
		     const char *boot_id, const struct table_source *from)
{
	uint32_t given = from->header ? from->header->blocks : 0;
	struct table_header *h;
	struct ml_map map = { 0 };
	uint64_t *words;
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
	h->zeroed_on_map = zeroed_on_map;
	snprintf(h->boot_id, sizeof(h->boot_id), "%s", boot_id);
	words = (void *)((char *)map.data + TABLE_HEADER_BYTES);
	for (uint32_t b = 0; b < given && b < blocks; b++)
		words[b] = convert(from->words[b], from->header, zeroed_on_map);
	ml_map_close(&map);
	ml_step("block table file");
	return renameat(dirfd, temp, dirfd, name) < 0 ? -errno : 0;
}

/* The least number of blocks a pool must have to hold all that is not free. */
static uint32_t least_blocks(const uint64_t *words, uint32_t blocks)
{
	while (blocks) {
		enum block_state s = block_unpack(words[blocks - 1]).state;

		if (s != BLOCK_DIRTY && s != BLOCK_ZEROING && s != BLOCK_CLEAN)
			break;
		blocks--;
	}
	return blocks;
}

static bool header_ok(const struct table_header *h, size_t size)
{
	return h->magic == TABLE_MAGIC && h->version >= 1 && h->version <= TABLE_VERSION &&
	       size == table_bytes(h->blocks) && memchr(h->boot_id, '\0', sizeof(h->boot_id));
}

/*
 * The machine lost power after the file had got its name, and before what was stored into
 * it reached the medium: the name does not wait for it, for a table is worth nothing after
 * another boot.
 */
static bool header_never_written(const struct table_header *h)
{
	return !h->magic && !h->version && !h->blocks;
}

/* Check an existing file; make it anew where its size, version, boot or backend differ. */
static int settle_file(int dirfd, const char *name, uint32_t blocks, bool zeroed_on_map,
		       const char *boot_id, bool *old_boot, uint32_t *need)
{
	struct table_source from = { 0 };
	struct ml_map map = { 0 };
	int ret;

	ret = ml_map_open(dirfd, name, TABLE_HEADER_BYTES, &map);
	if (ret == -ENOENT)
		return make_file(dirfd, name, blocks, zeroed_on_map, boot_id, &from);
	if (ret < 0)
		return ret;
	from.header = map.data;
	from.words = (const void *)((char *)map.data + TABLE_HEADER_BYTES);
	if (!header_never_written(from.header) && !header_ok(from.header, map.size)) {
		ret = -EUCLEAN;
	} else if (header_never_written(from.header) || strcmp(from.header->boot_id, boot_id) != 0) {
		*old_boot = true;
		from.header = NULL;
		ret = make_file(dirfd, name, blocks, zeroed_on_map, boot_id, &from);
	} else if (from.header->blocks != blocks || from.header->version != TABLE_VERSION ||
		   written_zeroed(from.header) != zeroed_on_map) {
		*need = least_blocks(from.words, from.header->blocks);
		ret = *need > blocks ? -EBUSY :
		      make_file(dirfd, name, blocks, zeroed_on_map, boot_id, &from);
	}
	ml_map_close(&map);
	return ret;
}

int table_open(struct table *t, int dirfd, const char *name, uint32_t blocks,
	       bool zeroed_on_map, const char *boot_id, bool *old_boot, uint32_t *need)
{
	int ret;

	memset(t, 0, sizeof(*t));
	*old_boot = false;
	if (!blocks || blocks > TABLE_BLOCKS_MAX)
		return -EINVAL;
	ret = settle_file(dirfd, name, blocks, zeroed_on_map, boot_id, old_boot, need);
	if (ret < 0)
		return ret;
	t->tally = aligned_alloc(_Alignof(struct table_tally),
				 sizeof(*t->tally) * TABLE_WRITERS_MAX);
	if (!t->tally)
		return -ENOMEM;
	memset(t->tally, 0, sizeof(*t->tally) * TABLE_WRITERS_MAX);
	ret = ml_map_open(dirfd, name, table_bytes(blocks), &t->map);
	if (ret < 0) {
		table_close(t);
		return ret;
	}
	t->words = (void *)((char *)t->map.data + TABLE_HEADER_BYTES);
	t->blocks = blocks;
	t->zeroed_on_map = zeroed_on_map;
	return 0;
}

int table_look(int dirfd, const char *name, struct ml_why *why)
{
	struct ml_map map = { 0 };
	const struct table_header *h;
	const uint64_t *words;
	int ret = ml_map_look(dirfd, name, TABLE_HEADER_BYTES, &map);

	if (ret < 0)
		return ml_refuse(why, ret, "cannot be opened, or is too short: %s", strerror(-ret));
	h = map.data;
	words = (const void *)((const char *)map.data + TABLE_HEADER_BYTES);
	if (!header_never_written(h) && !header_ok(h, map.size))
		ret = ml_refuse(why, -EUCLEAN,
				"is no block table, of another length than it says, or of a version above %d",
				TABLE_VERSION);
	for (uint32_t b = 0; ret == 0 && b < h->blocks; b++) {
		if (block_state_of(words[b]) >= BLOCK_STATES)
			ret = ml_refuse(why, -EUCLEAN, "has block %u in a state that cannot be", b);
	}
	ml_map_close(&map);
	return ret;
}

void table_close(struct table *t)
{
	ml_map_close(&t->map);
	free(t->tally);
	t->tally = NULL;
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
