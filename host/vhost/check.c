// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one place where a guest's request is checked: see check.h. The order of
 * the checks: type, count, lengths, each extent by itself, then all together.
 */
#include "check.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct checker {
	const struct check_env *env;
	struct check_request *out;
	struct ml_why *why;
};

/* What is wrong, as the guest gets it and in words. */
#define broken(c, reason, ...) \
	((enum memlease_broken)ml_refuse((c)->why, (int)(reason), __VA_ARGS__))

static const char *region_words(enum memlease_region region)
{
	return region == MEMLEASE_REGION_BOOT ? "boot memory" : "the window";
}

static const char *type_name(enum memlease_request_type type)
{
	switch (type) {
	case MEMLEASE_REQ_BORROW:
		return "BORROW";
	case MEMLEASE_REQ_RETURN:
		return "RETURN";
	case MEMLEASE_REQ_REPORT:
		return "REPORT";
	case MEMLEASE_REQ_STATS:
		return "STATS";
	case MEMLEASE_REQ_QUERY:
		return "QUERY";
	}
	return "?";
}

size_t check_response_bytes(enum memlease_request_type type, uint32_t count)
{
	if (type == MEMLEASE_REQ_STATS)
		return sizeof(struct memlease_response);
	if (type == MEMLEASE_REQ_QUERY)
		return sizeof(struct memlease_response) + count * sizeof(struct memlease_stat);
	return sizeof(struct memlease_response) + count * sizeof(struct memlease_answer);
}

static enum memlease_broken check_type(const struct checker *c, uint16_t type, uint32_t reserved)
{
	uint64_t need = 0;

	if (type < MEMLEASE_REQ_BORROW || type > MEMLEASE_REQ_QUERY)
		return broken(c, MEMLEASE_BROKEN_TYPE, "request type %u is unknown", type);
	if (type == MEMLEASE_REQ_REPORT)
		need = 1ULL << MEMLEASE_F_REPORTING;
	if (type == MEMLEASE_REQ_STATS)
		need = 1ULL << MEMLEASE_F_STATS;
	if (type == MEMLEASE_REQ_QUERY)
		need = 1ULL << MEMLEASE_F_QUERY;
	if (need & ~c->env->features)
		return broken(c, MEMLEASE_BROKEN_TYPE,
			      "%s was sent, but its feature (0x%" PRIx64 ") was not negotiated",
			      type_name(type), need);
	if (reserved)
		return broken(c, MEMLEASE_BROKEN_TYPE,
			      "the reserved field of a %s is 0x%x, not 0", type_name(type), reserved);
	c->out->type = type;
	return MEMLEASE_BROKEN_NOT;
}

static enum memlease_broken check_size(const struct checker *c, uint16_t count)
{
	enum memlease_request_type type = c->out->type;
	uint32_t most = type == MEMLEASE_REQ_STATS || type == MEMLEASE_REQ_QUERY ?
			MEMLEASE_MAX_STATS : MEMLEASE_MAX_EXTENTS;
	uint64_t items = type == MEMLEASE_REQ_QUERY ? 0 : count;
	uint64_t want = sizeof(struct memlease_request) + items * sizeof(struct memlease_extent);
	size_t room = check_response_bytes(c->out->type, count);

	_Static_assert(sizeof(struct memlease_stat) == sizeof(struct memlease_extent), "one size");
	if (count == 0 || count > most)
		return broken(c, MEMLEASE_BROKEN_COUNT, "a %s has %u items; 1 to %u are possible",
			      type_name(c->out->type), count, most);
	if (c->env->read_bytes != want)
		return broken(c, MEMLEASE_BROKEN_LENGTH,
			      "a %s of %u items has %" PRIu64 " bytes, not %" PRIu64,
			      type_name(c->out->type), count, c->env->read_bytes, want);
	if (c->env->write_bytes < room)
		return broken(c, MEMLEASE_BROKEN_LENGTH,
			      "a %s leaves %" PRIu64 " bytes for its response of %zu",
			      type_name(c->out->type), c->env->write_bytes, room);
	c->out->count = count;
	return MEMLEASE_BROKEN_NOT;
}

/* An extent by itself; inside its region by number, not yet translated. */
static enum memlease_broken check_extent(const struct checker *c,
					 const struct memlease_extent *e)
{
	enum memlease_request_type type = c->out->type;
	uint64_t blocks;

	if (e->count == 0)
		return broken(c, MEMLEASE_BROKEN_COUNT, "a %s has an empty extent at slot %" PRIu64,
			      type_name(type), (uint64_t)e->first);
	if (e->region >= MEMLEASE_REGION_COUNT)
		return broken(c, MEMLEASE_BROKEN_RANGE, "a %s names region %u, which is unknown",
			      type_name(type), e->region);
	if (e->region == MEMLEASE_REGION_BOOT) {
		if (type != MEMLEASE_REQ_REPORT)
			return broken(c, MEMLEASE_BROKEN_RANGE, "a %s names boot memory",
				      type_name(type));
		return MEMLEASE_BROKEN_NOT;
	}
	blocks = lend_region_blocks(c->env->vm, MEMLEASE_REGION_WINDOW);
	if (e->first >= blocks || e->count > blocks - e->first)
		return broken(c, MEMLEASE_BROKEN_RANGE,
			      "a %s names %u slots from %" PRIu64 " of the window, which has %" PRIu64,
			      type_name(type), e->count, (uint64_t)e->first, blocks);
	return MEMLEASE_BROKEN_NOT;
}

static int by_place(const void *a, const void *b)
{
	const struct memlease_extent *x = a, *y = b;

	if (x->region != y->region)
		return x->region < y->region ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return 0;
}

static enum memlease_broken check_overlap(const struct checker *c,
					  const struct memlease_extent *extents)
{
	struct memlease_extent sorted[MEMLEASE_MAX_EXTENTS];

	memcpy(sorted, extents, c->out->count * sizeof(*sorted));
	qsort(sorted, c->out->count, sizeof(*sorted), by_place);
	for (uint32_t i = 1; i < c->out->count; i++) {
		const struct memlease_extent *a = &sorted[i - 1], *b = &sorted[i];

		if (a->region == b->region && b->first - a->first < a->count)
			return broken(c, MEMLEASE_BROKEN_OVERLAP,
				      "a %s names slot %" PRIu64 " of %s twice",
				      type_name(c->out->type), (uint64_t)b->first,
				      region_words(b->region));
	}
	return MEMLEASE_BROKEN_NOT;
}

/* Guest-physical boot memory has holes, its file has none. Bounded: no overlaps, so CHECK_PIECES_MAX holds. */
static enum memlease_broken check_translate(const struct checker *c, uint32_t i,
					    const struct memlease_extent *e)
{
	uint64_t first = e->first, left = e->count;

	while (left > 0) {
		struct check_piece p = { i, { e->region, first, left } };

		if (e->region == MEMLEASE_REGION_BOOT &&
		    gmem_boot_run(c->env->gmem, first, left, &p.run) < 0)
			return broken(c, MEMLEASE_BROKEN_RANGE,
				      "a %s names slot %" PRIu64 " of boot memory, where there is none",
				      type_name(c->out->type), first);
		assert(c->out->pieces < CHECK_PIECES_MAX);
		c->out->piece[c->out->pieces++] = p;
		first += p.run.count;
		left -= p.run.count;
	}
	return MEMLEASE_BROKEN_NOT;
}

static int by_first(const void *a, const void *b)
{
	const struct gmem_run *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* A slot of the sorted runs that has a byte of the span? Sets *slot. */
static bool runs_meet(const struct gmem_run *runs, size_t count, struct gmem_span span,
		      uint64_t *slot)
{
	uint64_t first = span.off / MEMLEASE_BLOCK_BYTES;
	uint64_t last = (span.off + span.len - 1) / MEMLEASE_BLOCK_BYTES;
	size_t low = 0, high = count;

	/* The first run that ends behind first. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (runs[mid].first + runs[mid].count <= first)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == count || runs[low].first > last)
		return false;
	*slot = runs[low].first > first ? runs[low].first : first;
	return true;
}

static enum memlease_broken check_busy(const struct checker *c)
{
	struct gmem_run runs[CHECK_PIECES_MAX];
	size_t count = 0;
	uint64_t slot;

	for (uint32_t i = 0; i < c->out->pieces; i++)
		if (c->out->piece[i].run.region == MEMLEASE_REGION_BOOT)
			runs[count++] = c->out->piece[i].run;
	if (count == 0)
		return MEMLEASE_BROKEN_NOT;
	qsort(runs, count, sizeof(*runs), by_first);
	for (size_t i = 0; i < c->env->busy_count; i++) {
		if (!runs_meet(runs, count, c->env->busy[i], &slot))
			continue;
		if (gmem_boot_slot(c->env->gmem, slot, &slot) < 0)
			slot = UINT64_MAX;
		return broken(c, MEMLEASE_BROKEN_BUSY,
			      "a REPORT names slot %" PRIu64
			      " of boot memory, which holds a ring or the request itself", slot);
	}
	return MEMLEASE_BROKEN_NOT;
}

static enum memlease_broken check_committed(const struct checker *c)
{
	for (uint32_t i = 0; i < c->out->pieces; i++) {
		const struct gmem_run *r = &c->out->piece[i].run;
		uint64_t slot = r->first;

		if (lend_committed(c->env->vm, r->region, r->first, r->count))
			continue;
		while (slot < r->first + r->count - 1 &&
		       lend_committed(c->env->vm, r->region, slot, 1))
			slot++;
		return broken(c, MEMLEASE_BROKEN_ORDER,
			      "a REPORT names slot %" PRIu64 " of %s, which was not borrowed", slot,
			      region_words(r->region));
	}
	return MEMLEASE_BROKEN_NOT;
}

static enum memlease_broken check_extents(const struct checker *c, const uint8_t *bytes)
{
	struct memlease_extent e[MEMLEASE_MAX_EXTENTS];
	enum memlease_broken b;

	for (uint32_t i = 0; i < c->out->count; i++) {
		memcpy(&e[i], bytes + i * sizeof(*e), sizeof(*e));
		e[i].region = le32toh(e[i].region);
		e[i].count = le32toh(e[i].count);
		e[i].first = le64toh(e[i].first);
		b = check_extent(c, &e[i]);
		if (b)
			return b;
		c->out->asked[i] = e[i].count;
	}
	b = check_overlap(c, e);
	for (uint32_t i = 0; !b && i < c->out->count; i++)
		b = check_translate(c, i, &e[i]);
	if (!b && c->out->type == MEMLEASE_REQ_REPORT)
		b = check_busy(c);
	if (!b && c->out->type == MEMLEASE_REQ_REPORT)
		b = check_committed(c);
	return b;
}

static void take_stats(const struct checker *c, const uint8_t *bytes)
{
	for (uint32_t i = 0; i < c->out->count; i++) {
		struct memlease_stat s;

		memcpy(&s, bytes + i * sizeof(s), sizeof(s));
		c->out->stat[i].tag = le16toh(s.tag);
		c->out->stat[i].value = le64toh(s.value);
	}
}

enum memlease_broken check_request(const struct check_env *env, const void *bytes,
				   struct check_request *out, struct ml_why *why)
{
	const struct checker c = { env, out, why };
	const uint8_t *items = (const uint8_t *)bytes + sizeof(struct memlease_request);
	struct memlease_request head;
	enum memlease_broken b;

	out->pieces = 0;
	if (env->read_bytes < sizeof(head))
		return broken(&c, MEMLEASE_BROKEN_LENGTH,
			      "a request has %" PRIu64 " bytes, not %zu",
			      env->read_bytes, sizeof(head));
	memcpy(&head, bytes, sizeof(head));
	out->cookie = le64toh(head.cookie);
	b = check_type(&c, le16toh(head.type), le32toh(head.reserved));
	if (!b)
		b = check_size(&c, le16toh(head.count));
	if (b)
		return b;
	if (out->type == MEMLEASE_REQ_STATS)
		take_stats(&c, items);
	else if (out->type != MEMLEASE_REQ_QUERY)
		b = check_extents(&c, items);
	return b;
}
