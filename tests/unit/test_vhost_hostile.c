// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a hostile guest: rings, requests, floods, and files
 * that are cut. Each case does one wrong thing to VM "bad" and asserts what it
 * costs: its device breaks with a reason and a text that names the value, and reset
 * mends it. VM "good" on the same server goes on after each.
 */
#include "../../host/base/quiet.h"
#include "test_vhost_pair.h"

/* --- rings ----------------------------------------------------------------------- */

#define BUF RIG_BUFFER_GPA
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

struct ring_case {
	const char *what;
	struct vring_desc d[3];		/* of the ring, from 0 on; head is 0 */
	struct vring_desc t[3];		/* of an indirect table at RIG_TABLE_GPA */
	const char *text;
};

static const struct ring_case ring_cases[] = {
	{ "loop of one", { { BUF, 16, NEXT, 0 } }, { { 0 } }, "loop" },
	{ "loop of two", { { BUF, 16, NEXT, 1 }, { BUF, 16, NEXT, 0 } }, { { 0 } }, "loop" },
	{ "next outside", { { BUF, 16, NEXT, 64 } }, { { 0 } }, "names as next one 0x40" },
	{ "next far outside", { { BUF, 16, NEXT, 0xffff } }, { { 0 } }, "0xffff" },
	{ "empty", { { BUF, 0, 0, 0 } }, { { 0 } }, "is empty" },
	{ "unknown flag", { { BUF, 16, 8, 0 } }, { { 0 } }, "unknown flags 0x8" },
	{ "readable behind writable",
	  { { BUF, 16, NEXT | WRITE, 1 }, { BUF, 16, 0, 0 } }, { { 0 } }, "readable after" },
	{ "in the hole", { { 0xa0000, 16, 0, 0 } }, { { 0 } }, "0xa0000" },
	{ "across the hole", { { 0x9fff8, 16, 0, 0 } }, { { 0 } }, "0x9fff8" },
	{ "behind low memory", { { RIG_LOW * BLOCK - 8, 16, 0, 0 } }, { { 0 } }, "boot memory" },
	{ "behind all memory", { { 1ULL << 40, 16, 0, 0 } }, { { 0 } }, "0x10000000000" },
	{ "wrap-around", { { UINT64_MAX - 7, 16, 0, 0 } }, { { 0 } }, "0xfffffffffffffff8" },
	{ "longer than memory", { { BUF, UINT32_MAX, 0, 0 } }, { { 0 } }, "0x400000" },
	{ "in the window", { { RIG_WINDOW_GPA, 16, 0, 0 } }, { { 0 } }, "0x1000000000" },
	{ "indirect and next", { { RIG_TABLE_GPA, 16, INDIRECT | NEXT, 1 } }, { { 0 } },
	  "indirect and has a next" },
	{ "indirect, odd length", { { RIG_TABLE_GPA, 17, INDIRECT, 0 } }, { { 0 } },
	  "bad length 0x11" },
	{ "indirect, empty", { { RIG_TABLE_GPA, 0, INDIRECT, 0 } }, { { 0 } }, "bad length 0x0" },
	{ "indirect, huge", { { RIG_TABLE_GPA, 257 * 16, INDIRECT, 0 } }, { { 0 } },
	  "bad length 0x1010" },
	{ "indirect in the window", { { RIG_WINDOW_GPA, 16, INDIRECT, 0 } }, { { 0 } },
	  "outside boot memory" },
	{ "indirect in indirect", { { RIG_TABLE_GPA, 32, INDIRECT, 0 } },
	  { { RIG_TABLE_GPA, 16, INDIRECT, 0 } }, "inside an indirect table" },
	{ "loop in an indirect table", { { RIG_TABLE_GPA, 32, INDIRECT, 0 } },
	  { { BUF, 16, NEXT, 1 }, { BUF, 16, NEXT, 1 } }, "loop in a table of size 0x2" },
	{ "next outside an indirect table", { { RIG_TABLE_GPA, 32, INDIRECT, 0 } },
	  { { BUF, 16, NEXT, 2 } }, "indirect descriptor 0 names as next one 0x2" },
};

static void malformed_rings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ring_cases) / sizeof(*ring_cases); i++) {
		const struct ring_case *c = &ring_cases[i];
		struct pair p = pair_new();

		memcpy(desc_of(p.bad, 0, 0), c->d, sizeof(c->d));
		memcpy(at(p.bad, RIG_TABLE_GPA), c->t, sizeof(c->t));
		offer(p.bad, 0, 0);
		kick(p.bad, 0);
		assert_broken(&p, c->what, MEMLEASE_BROKEN_RING, c->text);
		pair_free(&p);
	}
}

/* Each part is short enough, the whole is not. */
static void chain_longer_than_allowed(void **state)
{
	struct pair p = pair_new();
	struct vring_desc *t = (void *)at(p.bad, RIG_TABLE_GPA);

	(void)state;
	for (unsigned int i = 0; i < 32; i++)
		set_desc(p.bad, 0, i, BUF + i, 1, NEXT, (uint16_t)(i + 1));
	set_desc(p.bad, 0, 32, RIG_TABLE_GPA, 256 * sizeof(*t), INDIRECT, 0);
	for (uint16_t i = 0; i < 256; i++)
		t[i] = (struct vring_desc){ BUF + i, 1, i < 255 ? NEXT : 0, i + 1 };
	offer(p.bad, 0, 0);
	kick(p.bad, 0);
	assert_broken(&p, "long", MEMLEASE_BROKEN_RING, "longer than 0x100");
	pair_free(&p);
}

/* After a reset the queue is started without a size: the device breaks, which err is told. */
static void start_half_set_up(struct pair *p, int err)
{
	guest_stop(p->bad, NULL);
	assert_true(send_msg(p->bad, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	send_u64(p->bad, VHOST_USER_SET_FEATURES, RIG_FEATURES & ~(1ULL << VHOST_USER_F_PROTOCOL_FEATURES));
	send_file(p->bad, VHOST_USER_SET_VRING_ERR, 0, err);
	send_file(p->bad, VHOST_USER_SET_VRING_KICK, 0, p->bad->kick[0]);
	rig_spin(p->r);
}

static void queues_started_half_set_up(void **state)
{
	struct pair p = pair_new();
	uint64_t n;
	int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	start_half_set_up(&p, err);
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	close(err);
	assert_broken(&p, "no address", MEMLEASE_BROKEN_RING, "queue 0 was started without a size");
	pair_free(&p);

	p = pair_new();
	guest_stop(p.bad, NULL);
	send_u64(p.bad, VHOST_USER_SET_FEATURES, 1ULL << VHOST_USER_F_PROTOCOL_FEATURES);
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_broken(&p, "legacy", MEMLEASE_BROKEN_RING, "without VIRTIO_F_VERSION_1");
	pair_free(&p);
}

/* QEMU has nothing to do with a queue's error but to log it. */
static void breaks_again_and_again(void **state)
{
	struct pair p = pair_new();
	uint64_t n = 0;
	int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	for (int i = 0; i < 3 * ML_QUIET_LINES; i++) {
		start_half_set_up(&p, err);
	}
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, ML_QUIET_LINES);
	close(err);
	pair_free(&p);
}

static void bad_indices(void **state)
{
	struct pair p = pair_new();

	(void)state;
	offer(p.bad, 0, RIG_NUM);
	kick(p.bad, 0);
	assert_broken(&p, "head outside", MEMLEASE_BROKEN_RING, "descriptor 64 of 64");
	pair_free(&p);

	p = pair_new();
	*avail_word(p.bad, 0, 1) = htole16(RIG_NUM + 1);
	kick(p.bad, 0);
	assert_broken(&p, "index jumps", MEMLEASE_BROKEN_RING, "available index is 65");
	pair_free(&p);

	p = pair_new();
	*avail_word(p.bad, 0, 1) = htole16(UINT16_MAX);
	kick(p.bad, 0);
	assert_broken(&p, "index goes back", MEMLEASE_BROKEN_RING, "65535");
	pair_free(&p);
}

static void bad_event_buffers(void **state)
{
	struct pair p = pair_new();

	(void)state;
	set_desc(p.bad, 1, 0, BUF, 23, WRITE, 0);
	offer(p.bad, 1, 0);
	kick(p.bad, 1);
	lend_report_now(p.bad->vm);
	assert_broken(&p, "too short", MEMLEASE_BROKEN_RING, "queue 1: an event buffer has 23");
	pair_free(&p);

	p = pair_new();
	set_desc(p.bad, 1, 0, BUF, 24, 0, 0);
	offer(p.bad, 1, 0);
	kick(p.bad, 1);
	lend_report_now(p.bad->vm);
	assert_broken(&p, "readable", MEMLEASE_BROKEN_RING, "24 readable");
	pair_free(&p);
}

/* Start the device that assert_broken() has mended with these features. */
static void start_again(struct pair *p, uint64_t features)
{
	assert_int_equal(ask_one(p->bad, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 0, 1), 1);
	guest_stop(p->bad, NULL);
	guest_start(p->bad, features);
	p->r->broken = 0;
}

static void not_negotiated(void **state)
{
	struct pair p = { .r = rig_new(256) };
	struct rig_request req;
	struct memlease_extent e = { 1, 1, 0 };

	(void)state;
	p.bad = guest_define(p.r, "bad");
	p.good = guest_new(p.r, "good");
	touch_rings(p.bad);
	guest_connect_only(p.bad);
	guest_negotiate(p.bad);
	guest_start(p.bad, 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES);
	offer(p.bad, 0, place_request(p.bad, 0, &req, build(&req, MEMLEASE_REQ_REPORT, 1, &e), 24));
	kick(p.bad, 0);
	assert_broken(&p, "REPORT", MEMLEASE_BROKEN_TYPE, "REPORT was sent, but its feature");
	start_again(&p, RIG_FEATURES & ~(1ULL << MEMLEASE_F_QUERY));
	build(&req, MEMLEASE_REQ_QUERY, 1, &e);
	offer(p.bad, 0, place_request(p.bad, 0, &req, sizeof(req.head), 64));
	kick(p.bad, 0);
	assert_broken(&p, "QUERY", MEMLEASE_BROKEN_TYPE, "QUERY was sent, but its feature");
	start_again(&p, 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES);
	set_desc(p.bad, 0, 0, RIG_TABLE_GPA, 16, INDIRECT, 0);
	offer(p.bad, 0, 0);
	kick(p.bad, 0);
	rig_spin(p.r);
	assert_int_equal(broken_reason(p.bad), MEMLEASE_BROKEN_RING);
	assert_non_null(strstr(p.r->last_text, "not negotiated"));
	pair_free(&p);
}

static void rings_in_the_window(void **state)
{
	struct pair p = pair_new();

	(void)state;
	guest_stop(p.bad, NULL);
	send_addr(p.bad, 0, p.bad->window, p.bad->window + 0x8000, p.bad->window + 0x4000);
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_broken(&p, "window", MEMLEASE_BROKEN_RING, "does not lie in boot memory");
	pair_free(&p);

	p = pair_new();
	guest_stop(p.bad, NULL);
	send_addr(p.bad, 0, at(p.bad, BLOCK), at(p.bad, BLOCK),
		  (void *)(uintptr_t)(UINTPTR_MAX - 1));
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_broken(&p, "wraps", MEMLEASE_BROKEN_RING, "available ring");
	pair_free(&p);
}

/* --- requests ---------------------------------------------------------------------- */

struct request_case {
	const char *what;
	uint16_t type, count;
	int size;		/* bytes; 0: as it should be */
	uint32_t room;		/* bytes for the response */
	struct memlease_extent e[3];
	enum memlease_broken reason;
	const char *text;
};

#define B MEMLEASE_REQ_BORROW
#define T MEMLEASE_REQ_RETURN
#define R MEMLEASE_REQ_REPORT
#define S MEMLEASE_REQ_STATS
#define Q MEMLEASE_REQ_QUERY
#define W MEMLEASE_REGION_WINDOW
#define H RIG_HIGH_SLOT

static const struct request_case request_cases[] = {
	{ "type 0", 0, 1, 0, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_TYPE, "type 0" },
	{ "type 6", 6, 1, 0, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_TYPE, "type 6" },
	{ "type 65535", 65535, 1, 0, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_TYPE, "65535" },
	{ "one byte", B, 1, 1, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "has 1 bytes" },
	{ "half a head", B, 1, 15, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "has 15 bytes" },
	{ "no extents", B, 1, 16, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "16 bytes, not 32" },
	{ "half an extent", B, 1, 31, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "31 bytes" },
	{ "a byte more", B, 1, 33, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "33 bytes" },
	{ "an extent more", B, 1, 48, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "48 bytes" },
	{ "no room", B, 1, 0, 23, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH, "leaves 23 bytes" },
	{ "no room for answers", B, 2, 0, 16, { { W, 1, 0 }, { W, 1, 1 } },
	  MEMLEASE_BROKEN_LENGTH, "response of 32" },
	{ "count 0", B, 0, 0, 24, { { 0, 0, 0 } }, MEMLEASE_BROKEN_COUNT, "has 0 items" },
	{ "count 129", B, 129, 0, 2048, { { W, 1, 0 } }, MEMLEASE_BROKEN_COUNT, "has 129 items" },
	{ "count 65535", B, 65535, 64, 2048, { { W, 1, 0 } }, MEMLEASE_BROKEN_COUNT, "65535" },
	{ "a query for nothing", Q, 0, 16, 64, { { 0, 0, 0 } }, MEMLEASE_BROKEN_COUNT, "QUERY has 0" },
	{ "33 figures", Q, 33, 16, 2048, { { 0, 0, 0 } }, MEMLEASE_BROKEN_COUNT, "33 items" },
	{ "65535 figures", Q, 65535, 16, 2048, { { 0, 0, 0 } }, MEMLEASE_BROKEN_COUNT, "65535" },
	{ "no room for figures", Q, 2, 16, 47, { { 0, 0, 0 } }, MEMLEASE_BROKEN_LENGTH,
	  "leaves 47 bytes for its response of 48" },
	{ "a query with an extent", Q, 1, 32, 64, { { W, 1, 0 } }, MEMLEASE_BROKEN_LENGTH,
	  "32 bytes, not 16" },
	{ "half a query", Q, 1, 8, 64, { { 0, 0, 0 } }, MEMLEASE_BROKEN_LENGTH, "has 8 bytes" },
	{ "33 statistics", S, 33, 0, 24, { { 0, 0, 0 } }, MEMLEASE_BROKEN_COUNT, "33 items" },
	{ "empty extent", B, 1, 0, 24, { { W, 0, 3 } }, MEMLEASE_BROKEN_COUNT, "empty extent" },
	{ "unknown region", B, 1, 0, 24, { { 2, 1, 0 } }, MEMLEASE_BROKEN_RANGE, "region 2" },
	{ "region -1", R, 1, 0, 24, { { UINT32_MAX, 1, 0 } }, MEMLEASE_BROKEN_RANGE, "4294967295" },
	{ "boot borrowed", B, 1, 0, 24, { { 0, 1, 3 } }, MEMLEASE_BROKEN_RANGE, "names boot" },
	{ "boot returned", T, 1, 0, 24, { { 0, 1, 3 } }, MEMLEASE_BROKEN_RANGE, "names boot" },
	{ "behind the window", B, 1, 0, 24, { { W, 1, RIG_WINDOW } }, MEMLEASE_BROKEN_RANGE,
	  "1 slots from 32" },
	{ "across its end", T, 1, 0, 24, { { W, 2, RIG_WINDOW - 1 } }, MEMLEASE_BROKEN_RANGE,
	  "2 slots from 31" },
	{ "wrap-around", R, 1, 0, 24, { { W, 2, UINT64_MAX } }, MEMLEASE_BROKEN_RANGE,
	  "18446744073709551615" },
	{ "wrap-around by count", R, 1, 0, 24, { { W, UINT32_MAX, 1 } }, MEMLEASE_BROKEN_RANGE,
	  "4294967295 slots" },
	{ "boot slot with the hole", R, 1, 0, 24, { { 0, 1, 0 } }, MEMLEASE_BROKEN_RANGE,
	  "slot 0 of boot memory" },
	{ "across low memory's end", R, 1, 0, 24, { { 0, 2, 3 } }, MEMLEASE_BROKEN_RANGE,
	  "slot 4 of boot memory" },
	{ "behind boot memory", R, 1, 0, 24, { { 0, 1, H + 12 } }, MEMLEASE_BROKEN_RANGE,
	  "where there is none" },
	{ "boot wrap-around", R, 1, 0, 24, { { 0, 1, 1ULL << 43 } }, MEMLEASE_BROKEN_RANGE,
	  "8796093022208" },
	{ "boot slot -1", R, 1, 0, 24, { { 0, 1, UINT64_MAX } }, MEMLEASE_BROKEN_RANGE,
	  "18446744073709551615" },
	{ "the same twice", B, 2, 0, 64, { { W, 1, 5 }, { W, 1, 5 } }, MEMLEASE_BROKEN_OVERLAP,
	  "slot 5 of the window twice" },
	{ "overlap out of order", T, 3, 0, 64, { { W, 4, 20 }, { W, 1, 0 }, { W, 9, 12 } },
	  MEMLEASE_BROKEN_OVERLAP, "slot 20" },
	{ "one inside another", R, 2, 0, 64, { { 0, 5, H }, { 0, 1, H + 2 } },
	  MEMLEASE_BROKEN_OVERLAP, "of boot memory twice" },
	{ "REPORT before BORROW", R, 1, 0, 24, { { W, 1, 7 } }, MEMLEASE_BROKEN_ORDER,
	  "slot 7 of the window" },
	{ "ring reported", R, 1, 0, 24, { { 0, 1, 1 } }, MEMLEASE_BROKEN_BUSY, "slot 1 of boot" },
	{ "request reported", R, 1, 0, 24, { { 0, 1, 2 } }, MEMLEASE_BROKEN_BUSY,
	  "slot 2 of boot memory, which holds" },
	{ "both in a run", R, 2, 0, 64, { { 0, 3, H }, { 0, 3, 1 } }, MEMLEASE_BROKEN_BUSY,
	  "holds a ring" },
};

static void send_request_case(struct guest *g, const struct request_case *c)
{
	struct rig_request r;
	uint8_t bytes[4096] = { 0 };
	uint32_t size = build(&r, c->type, c->count < 3 ? c->count : 3, c->e);

	r.head.count = htole16(c->count);
	memcpy(bytes, &r, size);
	size = (uint32_t)(sizeof(r.head) + c->count * sizeof(*c->e));
	if (c->size)
		size = (uint32_t)c->size;
	assert_true(size <= sizeof(bytes));
	memcpy(at(g, BUF + 4096), bytes, size);
	set_desc(g, 0, 0, BUF + 4096, size, NEXT, 1);
	set_desc(g, 0, 1, BUF, c->room, WRITE, 0);
	offer(g, 0, 0);
	kick(g, 0);
}

static void bad_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(request_cases) / sizeof(*request_cases); i++) {
		struct pair p = pair_new();

		send_request_case(p.bad, &request_cases[i]);
		assert_broken(&p, request_cases[i].what, request_cases[i].reason,
			      request_cases[i].text);
		pair_free(&p);
	}
}

static void reserved_field(void **state)
{
	struct pair p = pair_new();
	struct memlease_extent e = { W, 1, 0 };
	struct rig_request r;
	uint32_t size = build(&r, B, 1, &e);

	(void)state;
	r.head.reserved = htole32(0x55);
	offer(p.bad, 0, place_request(p.bad, 0, &r, size, 24));
	kick(p.bad, 0);
	assert_broken(&p, "reserved", MEMLEASE_BROKEN_TYPE, "0x55");
	pair_free(&p);
}

/* An indirect table, too, cannot be reported by the request that stands in it. */
static void indirect_table_reported(void **state)
{
	struct pair p = pair_new();
	struct memlease_extent e = { 0, 1, 3 };
	struct rig_request r;
	uint32_t size = build(&r, R, 1, &e);
	struct vring_desc *t = (void *)at(p.bad, 3 * BLOCK);

	(void)state;
	memcpy(at(p.bad, BUF), &r, size);
	t[0] = (struct vring_desc){ BUF, size, NEXT, 1 };
	t[1] = (struct vring_desc){ BUF + 4096, 24, WRITE, 0 };
	set_desc(p.bad, 0, 0, 3 * BLOCK, 32, INDIRECT, 0);
	offer(p.bad, 0, 0);
	kick(p.bad, 0);
	assert_broken(&p, "table", MEMLEASE_BROKEN_BUSY, "slot 3");
	pair_free(&p);
}

/* A ring is no less a ring before its queue has been enabled. */
static void ring_of_a_queue_that_is_not_enabled(void **state)
{
	struct pair p = pair_new();

	(void)state;
	guest_stop(p.bad, NULL);
	send_addr(p.bad, 1, at(p.bad, 3 * BLOCK), at(p.bad, 3 * BLOCK + RIG_USED),
		  at(p.bad, 3 * BLOCK + RIG_AVAIL));
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_int_equal(ask_one(p.bad, R, 0, 3, 1), -1);
	assert_broken(&p, "event ring", MEMLEASE_BROKEN_BUSY, "slot 3");
	pair_free(&p);
}

/* --- floods and cut files -------------------------------------------------------------- */

/* A guest that never lets its queue become empty gets its turns, and no more. */
static void flood_starves_nobody(void **state)
{
	struct pair p = pair_new();
	struct memlease_extent e = { W, RIG_WINDOW, 0 };
	struct rig_request r;
	struct rig_response resp;
	int turns;

	(void)state;
	for (unsigned int i = 0; i < RIG_NUM / 2; i++) {
		uint32_t size = build(&r, i % 3 == 2 ? Q : i % 3 ? R : B, 1, &e);

		offer(p.bad, 0, place_request(p.bad, i, &r, i % 3 == 2 ? sizeof(r.head) : size,
					      32));
	}
	kick(p.bad, 0);
	e = (struct memlease_extent){ W, 1, 0 };
	offer(p.good, 0, place_request(p.good, 0, &r, build(&r, B, 1, &e), sizeof(resp)));
	kick(p.good, 0);
	for (turns = 0; take_used(p.good, 0, NULL) < 0; turns++) {
		assert_true(turns < 20);
		assert_true(sd_event_run(p.r->event, 0) > 0);
		/* Whatever the device did in this turn, there is more. */
		while (take_used(p.bad, 0, NULL) >= 0)
			offer(p.bad, 0, (uint16_t)(p.bad->seen[0] % (RIG_NUM / 2) * 2));
	}
	rig_spin(p.r);
	assert_int_equal(broken_reason(p.bad), MEMLEASE_BROKEN_NOT);
	assert_good_goes_on(&p);
	pair_free(&p);
}

/* One turn does not carry out a whole large request, but all of it in the end. */
static void large_request_takes_turns(void **state)
{
	struct pair p = pair_new();
	struct memlease_extent e[MEMLEASE_MAX_EXTENTS];
	struct rig_response resp;

	(void)state;
	for (int i = 0; i < RIG_WINDOW; i++)
		e[i] = (struct memlease_extent){ W, 1, (uint64_t)i };
	assert_true(ask(p.bad, B, RIG_WINDOW, e, &resp));
	assert_int_equal(le32toh(resp.head.done_blocks), RIG_WINDOW);
	for (int i = 0; i < 12; i++)
		e[RIG_WINDOW + i] = (struct memlease_extent){ 0, 1, H + (uint64_t)i };
	assert_true(ask(p.bad, R, RIG_WINDOW + 12, e, &resp));
	assert_int_equal(le32toh(resp.head.done_blocks), RIG_WINDOW + 12);
	assert_int_equal(le16toh(resp.head.count), RIG_WINDOW + 12);
	assert_good_goes_on(&p);
	pair_free(&p);
}

static void file_is_cut_under_the_ring(void **state)
{
	static const uint64_t left[] = { 0, BLOCK, BLOCK + 4096, 2 * BLOCK };

	(void)state;
	for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
		struct pair p = pair_new();
		struct memlease_extent e = { W, 1, 0 };
		struct rig_request r;

		offer(p.bad, 0, place_request(p.bad, 0, &r, build(&r, B, 1, &e), 24));
		kick(p.bad, 0);
		assert_int_equal(ftruncate(p.bad->boot_fd, (off_t)left[i]), 0);
		rig_spin(p.r);
		assert_int_equal(broken_reason(p.bad), MEMLEASE_BROKEN_RING);
		assert_non_null(strstr(p.r->last_text, "cannot be re"));
		assert_false(lend_committed(p.bad->vm, MEMLEASE_REGION_WINDOW, 0, 1));
		assert_int_equal(ask_one(p.good, B, 1, 3, 2), 2);
		pair_free(&p);
	}
}

/* The request is carried out, and then its answer has no place. */
static void file_is_cut_under_the_answer(void **state)
{
	struct pair p = pair_new();
	struct memlease_extent e = { W, 1, 6 };
	struct rig_request r;

	(void)state;
	place_request(p.bad, 0, &r, build(&r, B, 1, &e), 24);
	memcpy(at(p.bad, BUF), &r, 32);
	set_desc(p.bad, 0, 0, BUF, 32, NEXT, 1);
	set_desc(p.bad, 0, 1, 3 * BLOCK, 24, WRITE, 0);
	assert_int_equal(ftruncate(p.bad->boot_fd, 3 * BLOCK), 0);
	offer(p.bad, 0, 0);
	kick(p.bad, 0);
	rig_spin(p.r);
	assert_true(lend_committed(p.bad->vm, MEMLEASE_REGION_WINDOW, 6, 1));
	assert_broken(&p, "answer", MEMLEASE_BROKEN_RING, "cannot be reached");
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_rings),
		cmocka_unit_test(chain_longer_than_allowed),
		cmocka_unit_test(queues_started_half_set_up),
		cmocka_unit_test(breaks_again_and_again),
		cmocka_unit_test(bad_indices),
		cmocka_unit_test(bad_event_buffers),
		cmocka_unit_test(not_negotiated),
		cmocka_unit_test(rings_in_the_window),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(reserved_field),
		cmocka_unit_test(indirect_table_reported),
		cmocka_unit_test(ring_of_a_queue_that_is_not_enabled),
		cmocka_unit_test(flood_starves_nobody),
		cmocka_unit_test(large_request_takes_turns),
		cmocka_unit_test(file_is_cut_under_the_ring),
		cmocka_unit_test(file_is_cut_under_the_answer),
	};

	return cmocka_run_group_tests_name("vhost_hostile", tests, NULL, NULL);
}
