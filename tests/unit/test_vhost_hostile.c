// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a hostile guest and a hostile QEMU. Each case does
 * one wrong thing to VM "bad" and asserts what it costs: a guest's violation breaks
 * the device with a reason and a text that names the value, and reset mends it;
 * a violation of vhost-user costs the connection, with a line in the log. VM
 * "good" on the same server goes on after each.
 */
#include "test_vhost_rig.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

struct pair {
	struct rig *r;
	struct guest *bad, *good;
};

static struct pair pair_new(void)
{
	struct pair p = { .r = rig_new(256) };

	p.bad = guest_new(p.r, "bad");
	p.good = guest_new(p.r, "good");
	rig_spin(p.r);
	return p;
}

static void assert_good_goes_on(struct pair *p)
{
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_BORROW, 1, 3, 2), 2);
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_REPORT, 1, 3, 2), 2);
	assert_int_equal(ask_one(p->good, MEMLEASE_REQ_RETURN, 1, 3, 2), 2);
	assert_int_equal(broken_reason(p->good), MEMLEASE_BROKEN_NOT);
	lender_validate(p->r->lender);
}

static void pair_free(struct pair *p)
{
	guest_free(p->bad);
	guest_free(p->good);
	rig_free(p->r);
}

/* The device of "bad" is broken so, looks at nothing more, and is mended by reset. */
static void assert_broken(struct pair *p, const char *what, enum memlease_broken reason,
			  const char *text)
{
	struct guest *g = p->bad;
	struct vm_status s;

	rig_spin(p->r);
	lend_vm_status(g->vm, &s);
	if (s.broken != reason || !strstr(s.broken_text, text))
		fail_msg("%s: broken %d \"%s\", not %d \"%s\"", what, s.broken, s.broken_text,
			 reason, text);
	assert_int_equal(p->r->broken, 1);
	assert_good_goes_on(p);
	/* The queue is dead: an honest request changes nothing. */
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), -1);
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, 1));
	assert_int_equal(p->r->broken, 1);

	guest_stop(g, NULL);
	assert_true(send_msg(g, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	rig_spin(p->r);
	assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_NOT);
	memset(at(g, BLOCK), 0, BLOCK);
	memset(g->avail, 0, sizeof(g->avail));
	memset(g->seen, 0, sizeof(g->seen));
	guest_start(g, RIG_FEATURES);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_good_goes_on(p);
}

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

static void queues_started_half_set_up(void **state)
{
	struct pair p = pair_new();
	uint64_t n;
	int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	guest_stop(p.bad, NULL);
	assert_true(send_msg(p.bad, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	send_u64(p.bad, VHOST_USER_SET_FEATURES, RIG_FEATURES & ~(1ULL << VHOST_USER_F_PROTOCOL_FEATURES));
	send_file(p.bad, VHOST_USER_SET_VRING_ERR, 0, err);
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	rig_spin(p.r);
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
	guest_stop(p.bad, NULL);
	guest_start(p.bad, 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES);
	p.r->broken = 0;
	set_desc(p.bad, 0, 0, RIG_TABLE_GPA, 16, INDIRECT, 0);
	offer(p.bad, 0, 0);
	kick(p.bad, 0);
	rig_spin(p.r);
	assert_int_equal(broken_reason(p.bad), MEMLEASE_BROKEN_RING);
	assert_non_null(strstr(p.r->last_text, "not negotiated"));
	assert_good_goes_on(&p);
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
#define W MEMLEASE_REGION_WINDOW
#define H RIG_HIGH_SLOT

static const struct request_case request_cases[] = {
	{ "type 0", 0, 1, 0, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_TYPE, "type 0" },
	{ "type 5", 5, 1, 0, 24, { { W, 1, 0 } }, MEMLEASE_BROKEN_TYPE, "type 5" },
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
		uint32_t size = build(&r, i % 2 ? R : B, 1, &e);

		offer(p.bad, 0, place_request(p.bad, i, &r, size, 24));
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

/* --- messages ------------------------------------------------------------------------ */

/* What goes to standard error while it is caught. */
static int caught_fd = -1, stderr_fd;

static void catch_log(void)
{
	fflush(stderr);
	ml_log_set_level(ML_LOG_INFO);
	caught_fd = memfd_create("log", MFD_CLOEXEC);
	stderr_fd = dup(2);
	assert_true(caught_fd >= 0 && stderr_fd >= 0);
	assert_true(dup2(caught_fd, 2) == 2);
}

static void release_log(char *text, size_t size)
{
	ssize_t n;

	fflush(stderr);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	n = pread(caught_fd, text, size - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	close(caught_fd);
	ml_log_set_level(ML_LOG_ERR);
}

/* The connection is closed with a line that says why; the VM stays, and QEMU may come again. */
static void assert_cut_off(struct pair *p, const char *what, const char *text)
{
	char log[4096];
	bool closed = connection_closed(p->bad);
	struct vm_status s;

	release_log(log, sizeof(log));
	if (!closed || !strstr(log, text) || !strstr(log, "bad"))
		fail_msg("%s: closed %d, log \"%s\", not \"%s\"", what, closed, log, text);
	lend_vm_status(p->bad->vm, &s);
	assert_int_equal(s.state, VM_DETACHED);
	assert_int_equal(s.broken, MEMLEASE_BROKEN_NOT);
	assert_good_goes_on(p);
	guest_disconnect(p->bad);
	guest_connect_only(p->bad);
	guest_negotiate(p->bad);
	guest_start(p->bad, RIG_FEATURES);
	assert_int_equal(ask_one(p->bad, B, 1, 0, 1), 1);
}

struct message_case {
	const char *what;
	uint32_t request, flags, size, sent;	/* sent: bytes of payload really sent; UINT32_MAX: size */
	uint64_t word[2];			/* the payload's first */
	int fds;
	const char *text;
};

#define ALL UINT32_MAX

static const struct message_case message_cases[] = {
	{ "version 0", 1, 0, 0, ALL, { 0 }, 0, "flags 0x0" },
	{ "version 2", 1, 2, 0, ALL, { 0 }, 0, "flags 0x2" },
	{ "a reply", 1, 5, 0, ALL, { 0 }, 0, "flags 0x5" },
	{ "unknown flags", 1, 0x101, 0, ALL, { 0 }, 0, "flags 0x101" },
	{ "huge", 5, 1, UINT32_MAX, 0, { 0 }, 0, "4294967295 bytes" },
	{ "513 bytes", 5, 1, 513, 0, { 0 }, 0, "513 bytes" },
	{ "unknown", 77, 1, 0, ALL, { 0 }, 0, "message 77 is unknown" },
	{ "number 0", 0, 1, 0, ALL, { 0 }, 0, "message 0 is unknown" },
	{ "GET_FEATURES with payload", 1, 1, 8, ALL, { 0 }, 0, "GET_FEATURES has 8 bytes" },
	{ "SET_FEATURES without", 2, 1, 0, ALL, { 0 }, 0, "SET_FEATURES has 0 bytes" },
	{ "SET_FEATURES short", 2, 1, 7, ALL, { 0 }, 0, "has 7 bytes" },
	{ "SET_FEATURES, not offered", 2, 1, 8, ALL, { 1ULL << 63 }, 0, "not offered" },
	{ "SET_FEATURES, eager", 2, 1, 8, ALL, { 1 }, 0, "features 0x1" },
	{ "SET_FEATURES with a descriptor", 2, 1, 8, ALL, { 0 }, 1, "has 1 descriptors, not 0" },
	{ "protocol features, not offered", 16, 1, 8, ALL, { 1ULL << 12 }, 0, "0x1000" },
	{ "memory table without count", 5, 1, 4, ALL, { 0 }, 0, "has 4 bytes" },
	{ "memory table, count too large", 5, 1, 8, ALL, { 9 }, 0, "of 9 regions" },
	{ "memory table, count -1", 5, 1, 8, ALL, { UINT32_MAX }, 0, "4294967295 regions" },
	{ "memory table, no descriptors", 5, 1, 40, ALL, { 1 }, 0, "0 descriptors" },
	{ "memory table, too many", 5, 1, 40, ALL, { 1 }, 2, "2 descriptors" },
	{ "memory table, short", 5, 1, 39, ALL, { 1 }, 1, "39 bytes" },
	{ "nine descriptors", 5, 1, 40, ALL, { 1 }, 9, "more than 8 descriptors" },
	{ "twenty descriptors", 1, 1, 0, ALL, { 0 }, 20, "more than 8 descriptors" },
	{ "NUM of queue 2", 8, 1, 8, ALL, { 2 | 64ULL << 32 }, 0, "queue 2" },
	{ "NUM of queue -1", 8, 1, 8, ALL, { UINT64_MAX }, 0, "queue 4294967295" },
	{ "NUM while it runs", 8, 1, 8, ALL, { 64ULL << 32 }, 0, "while it runs" },
	{ "ADDR while it runs", 9, 1, 40, ALL, { 0 }, 0, "while it runs" },
	{ "BASE while it runs", 10, 1, 8, ALL, { 0 }, 0, "while it runs" },
	{ "GET_VRING_BASE of queue 9", 11, 1, 8, ALL, { 9 }, 0, "queue 9" },
	{ "kick without descriptor", 12, 1, 8, ALL, { 0 }, 0, "has 0 descriptors, not 1" },
	{ "kick with two", 12, 1, 8, ALL, { 0 }, 2, "has 2 descriptors" },
	{ "kick with a file", 12, 1, 8, ALL, { 0 }, 1, "not an eventfd" },
	{ "kick of queue 255", 12, 1, 8, ALL, { 255 | 256 }, 0, "queue 255" },
	{ "kick with NOFD and one", 12, 1, 8, ALL, { 256 }, 1, "has 1 descriptors, not 0" },
	{ "kick with unknown bits", 12, 1, 8, ALL, { 512 }, 0, "unknown bits" },
	{ "call with a file", 13, 1, 8, ALL, { 0 }, 1, "not an eventfd" },
	{ "err with a file", 14, 1, 8, ALL, { 1 }, 1, "not an eventfd" },
	{ "ENABLE of queue 2", 18, 1, 8, ALL, { 2 | 1ULL << 32 }, 0, "queue 2" },
	{ "ENABLE 2", 18, 1, 8, ALL, { 2ULL << 32 }, 0, "switched to 2" },
	{ "back-end channel, none", 21, 1, 0, ALL, { 0 }, 0, "has 0 descriptors, not 1" },
	{ "back-end channel, a file", 21, 1, 0, ALL, { 0 }, 1, "not a stream socket" },
	{ "config, too long", 24, 1, 12 + 257, ALL, { 257ULL << 32 }, 0, "269 bytes" },
	{ "config, wraps", 24, 1, 12, ALL, { 257 }, 0, "at 257, 0 bytes" },
	{ "config, size -1", 24, 1, 12, ALL, { UINT64_MAX }, 0, "4294967295 bytes" },
	{ "config, lies", 24, 1, 12, ALL, { 8ULL << 32 }, 0, "8 bytes, in a message of 12" },
	{ "set config", 25, 1, 12, ALL, { 0 }, 0, "read-only" },
	{ "uffd, none", MEMLEASE_VHOST_SET_UFFD, 1, 72, ALL, { 0 }, 0, "has 0 descriptors" },
	{ "uffd, short", MEMLEASE_VHOST_SET_UFFD, 1, 71, ALL, { 0 }, 1, "71 bytes" },
	{ "uffd, version 2", MEMLEASE_VHOST_SET_UFFD, 1, 72, ALL, { 2 | 2ULL << 32 }, 1,
	  "version 2" },
	{ "log base", 6, 1, 16, ALL, { 0 }, 0, "message 6 is unknown" },
};

/* The same to queues that are stopped. */
static const struct message_case stopped_cases[] = {
	{ "NUM 0", 8, 1, 8, ALL, { 0 }, 0, "cannot have 0 descriptors" },
	{ "NUM 65", 8, 1, 8, ALL, { 65ULL << 32 }, 0, "cannot have 65 descriptors" },
	{ "NUM 2048", 8, 1, 8, ALL, { 2048ULL << 32 }, 0, "cannot have 2048 descriptors" },
	{ "NUM -1", 8, 1, 8, ALL, { UINT64_MAX << 32 }, 0, "4294967295 descriptors" },
	{ "ADDR with logging", 9, 1, 40, ALL, { 1ULL << 32 }, 0, "logging" },
	{ "ADDR not aligned", 9, 1, 40, ALL, { 0, 8 }, 0, "not aligned" },
	{ "ADDR of queue 2", 9, 1, 40, ALL, { 2 }, 0, "queue 2" },
	{ "BASE 65536", 10, 1, 8, ALL, { 65536ULL << 32 }, 0, "index 65536" },
	{ "BASE of queue 2", 10, 1, 8, ALL, { 2 }, 0, "queue 2" },
};

static void run_message_cases(const struct message_case *cases, size_t count, bool stopped)
{
	for (size_t i = 0; i < count; i++) {
		const struct message_case *c = &cases[i];
		struct message_header h = { c->request, c->flags, c->size };
		struct pair p = pair_new();
		uint8_t bytes[1024] = { 0 };
		int fds[32];

		memcpy(bytes, &h, sizeof(h));
		memcpy(bytes + sizeof(h), c->word, sizeof(c->word));
		for (int f = 0; f < c->fds; f++)
			fds[f] = p.bad->boot_fd;
		if (stopped)
			guest_stop(p.bad, NULL);
		catch_log();
		send_raw(p.bad->fd, bytes, sizeof(h) + (c->sent == ALL ? c->size : c->sent), fds,
			 (unsigned int)c->fds);
		assert_cut_off(&p, c->what, c->text);
		pair_free(&p);
	}
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void bad_messages(void **state)
{
	(void)state;
	run_message_cases(message_cases, COUNT(message_cases), false);
	run_message_cases(stopped_cases, COUNT(stopped_cases), true);
}

static void stream_ends_inside_a_message(void **state)
{
	(void)state;
	for (size_t len = 1; len < 20; len += 6) {
		struct pair p = pair_new();
		struct message_header h = { VHOST_USER_SET_FEATURES, MESSAGE_VERSION, 8 };
		uint8_t bytes[20] = { 0 };

		memcpy(bytes, &h, sizeof(h));
		assert_true(send_raw(p.bad->fd, bytes, len, NULL, 0));
		rig_spin(p.r);
		catch_log();
		shutdown(p.bad->fd, SHUT_WR);
		assert_cut_off(&p, "cut", "ends inside a message");
		pair_free(&p);
	}
}

static void message_may_dribble(void **state)
{
	struct pair p = pair_new();
	struct message_header h = { VHOST_USER_SET_MEM_TABLE,
				    MESSAGE_VERSION | MESSAGE_NEED_REPLY, 0 };
	struct rig_table t;
	uint8_t bytes[300];
	int fds[8];
	uint64_t ack;

	(void)state;
	guest_table(p.bad, &t, fds);
	h.size = table_bytes(&t);
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), &t, h.size);
	/* The descriptors come with different bytes, even. */
	for (size_t i = 0; i < sizeof(h) + h.size; i++) {
		assert_true(send_raw(p.bad->fd, bytes + i, 1, &fds[i % 8], i < 4 ? 1 : 0));
		assert_good_goes_on(&p);
	}
	get_reply(p.bad, VHOST_USER_SET_MEM_TABLE, &ack, sizeof(ack));
	assert_int_equal(ack, 0);
	assert_int_equal(ask_one(p.bad, B, 1, 0, 1), 1);
	pair_free(&p);
}

static void replies_that_nobody_reads(void **state)
{
	struct pair p = pair_new();
	struct message_header h = { VHOST_USER_GET_FEATURES, MESSAGE_VERSION, 0 };
	int i, size = 1;

	(void)state;
	setsockopt(p.bad->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	catch_log();
	for (i = 0; i < 200000; i++) {
		if (!send_raw(p.bad->fd, &h, sizeof(h), NULL, 0)) {
			if (errno == EPIPE || errno == ECONNRESET)
				break;
			rig_spin(p.r);
		}
	}
	assert_true(i < 200000);
	assert_cut_off(&p, "unread", "reads no replies");
	pair_free(&p);
}

/* --- memory tables ---------------------------------------------------------------------- */

struct table_case {
	const char *what;
	unsigned int entry;
	uint64_t gpa, bytes, user, off;	/* added to what is right */
	const char *text;
};

static const struct table_case table_cases[] = {
	{ "offset behind the file", 2, 0, 0, 0, 12 * BLOCK, "lie outside the file" },
	{ "longer than the file", 2, 0, 1, 0, 0, "lie outside the file" },
	{ "offset wraps", 2, 0, 0, 0, UINT64_MAX - 6 * BLOCK, "lie outside the file" },
	{ "size wraps", 2, 0, -(13 * BLOCK), 0, 0, "lie outside the file" },
	{ "size 0", 3, 0, -(RIG_WINDOW * BLOCK), 0, 0, "0x0 bytes" },
	{ "gpa wraps", 2, -(4 * GIB + BLOCK), 0, 0, 0, "wrap around" },
	{ "gpa overlaps", 2, -(4 * GIB), 0, 0, 0, "overlaps" },
	{ "user overlaps", 3, 0, 0, 0, 0, "overlaps" },
	{ "file overlaps", 1, 6 * BLOCK - 0xc0000, 0, 64 * GIB, -0xc0000ULL, "overlaps" },
	{ "not congruent", 2, 4096, 0, 0, 0, "not the same place in a 2 MiB block" },
};

static void bad_memory_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table_cases) / sizeof(*table_cases); i++) {
		const struct table_case *c = &table_cases[i];
		struct pair p = pair_new();
		struct rig_table t;
		char log[4096];
		uint64_t ack;
		int fds[8];

		guest_stop(p.bad, NULL);
		guest_table(p.bad, &t, fds);
		t.r[c->entry].gpa += c->gpa;
		t.r[c->entry].bytes += c->bytes;
		t.r[c->entry].user += c->user;
		t.r[c->entry].off += c->off;
		if (strcmp(c->what, "user overlaps") == 0)
			t.r[3].user = t.r[2].user;
		catch_log();
		ack = guest_send_table(p.bad, &t, fds);
		release_log(log, sizeof(log));
		if (ack != 1 || !strstr(log, c->text))
			fail_msg("%s: %d, \"%s\" is not in \"%s\"", c->what, (int)ack, c->text, log);
		/* Without a table the rings have no place. */
		send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
		assert_broken(&p, c->what, MEMLEASE_BROKEN_RING, "does not lie in boot memory");
		pair_free(&p);
	}
}

static void foreign_memory_is_left_out(void **state)
{
	struct pair p = pair_new();
	struct rig_table t;
	char log[4096];
	int fds[8];

	(void)state;
	/* The other VM's files, a memfd, a pipe: nothing that this VM may have. */
	guest_stop(p.bad, NULL);
	guest_table(p.bad, &t, fds);
	fds[0] = fds[1] = p.good->boot_fd;
	fds[2] = memfd_create("x", MFD_CLOEXEC);
	fds[3] = p.bad->kick[0];
	catch_log();
	assert_int_equal(guest_send_table(p.bad, &t, fds), 1);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "none of 4 regions is this VM's boot memory"));
	close(fds[2]);
	guest_table(p.bad, &t, fds);
	fds[3] = p.good->window_fd;
	assert_int_equal(guest_send_table(p.bad, &t, fds), 0);
	send_file(p.bad, VHOST_USER_SET_VRING_KICK, 0, p.bad->kick[0]);
	assert_int_equal(ask_one(p.bad, B, 1, 0, 1), 1);
	assert_good_goes_on(&p);
	pair_free(&p);
}

/* --- descriptors that change ---------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* QEMU fills the call descriptor and makes it blocking: a notification would wait for ever. */
static void call_descriptor_blocks(void **state)
{
	struct pair p = pair_new();
	uint64_t full = UINT64_MAX - 1, before;

	(void)state;
	called(p.bad, 0);
	assert_int_equal(write(p.bad->call[0], &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(p.bad->call[0], F_SETFL, 0), 0);
	before = now_ms();
	assert_int_equal(ask_one(p.bad, B, 1, 0, 1), 1);
	assert_true(now_ms() - before < 1000);
	assert_good_goes_on(&p);
	pair_free(&p);
}

static void *touch_main(void *where)
{
	*(volatile uint8_t *)where = 1;
	return NULL;
}

static void uffd_blocks(void **state)
{
	struct pair p = pair_new();
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct memlease_vhost_uffd l = {
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ 0, 0, 0, (uintptr_t)p.bad->boot, RIG_BOOT * BLOCK },
			{ 1, 0, RIG_WINDOW_GPA, (uintptr_t)p.bad->window, RIG_WINDOW * BLOCK },
		},
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)p.bad->boot, RIG_BOOT * BLOCK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct memlease_vhost_uffd wrong;
	pthread_t thread;
	char log[4096];

	(void)state;
	assert_true(uffd >= 0);
	assert_int_equal(ioctl(uffd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_int_equal(fcntl(uffd, F_SETFL, 0), 0);
	catch_log();
	pthread_create(&thread, NULL, touch_main, p.bad->boot + 9 * BLOCK);
	for (int i = 0; i < 50; i++)
		sd_event_run(p.r->event, 1000);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "userfaultfd cannot be read: QEMU made it blocking"));
	assert_good_goes_on(&p);
	/* Handed over again, it serves what waits. */
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	for (int i = 0; i < 2000 && !lend_resident(p.bad->vm, MEMLEASE_REGION_BOOT, 9); i++)
		sd_event_run(p.r->event, 1000);
	pthread_join(thread, NULL);
	/* Layouts that cannot be, and descriptors that are something else, are refused. */
	for (int i = 0; i < 10; i++) {
		int fd = i == 9 ? p.bad->kick[0] : uffd;

		wrong = l;
		wrong.count += i == 0;
		wrong.regions[0].region += i == 1;
		wrong.regions[0].gpa += i == 2 ? BLOCK : 0;
		wrong.regions[0].hva += i == 3;
		wrong.regions[1].bytes += i == 4 ? BLOCK : 0;
		wrong.regions[1].bytes -= i == 5 ? BLOCK : 0;
		wrong.regions[1].gpa = i == 6 ? -BLOCK : wrong.regions[1].gpa;
		wrong.regions[1].hva = i == 7 ? l.regions[0].hva + BLOCK : wrong.regions[1].hva;
		wrong.regions[1].reserved += i == 8;
		if (send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &wrong, sizeof(wrong), &fd, 1) != 1)
			fail_msg("layout %d was not refused", i);
	}
	/* Again as it should be. */
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_good_goes_on(&p);
	close(uffd);
	pair_free(&p);
}

static int open_uffd(void *range, uint64_t bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)range, bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -1;
	return fd;
}

static struct memlease_vhost_uffd layout_of(const struct guest *g)
{
	return (struct memlease_vhost_uffd){
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ 0, 0, 0, (uintptr_t)g->boot, RIG_BOOT * BLOCK },
			{ 1, 0, RIG_WINDOW_GPA, (uintptr_t)g->window, RIG_WINDOW * BLOCK },
		},
	};
}

/* QEMU in a process of its own: hands over its userfaultfd, and touches what the guest never borrowed. */
static void vacant_toucher_main(const struct guest *g)
{
	struct memlease_vhost_uffd l = layout_of(g);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct guest self = *g;
	int uffd = open_uffd(g->window, RIG_WINDOW * BLOCK);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	self.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (uffd < 0 || connect(self.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		_exit(1);
	send_msg(&self, MEMLEASE_VHOST_SET_UFFD, 0, &l, sizeof(l), &uffd, 1);
	*(volatile uint8_t *)(g->window + 5 * BLOCK + 77) = 1;
	_exit(2);
}

static void touch_of_a_vacant_slot_ends_the_vm(void **state)
{
	struct rig *r = rig_new(256);
	struct pair p = { r, guest_define(r, "bad"), guest_new(r, "good") };
	struct pool_status before, after;
	int status;
	pid_t pid;

	(void)state;
	lender_status(r->lender, &before);
	pid = fork();
	if (pid == 0)
		vacant_toucher_main(p.bad);
	assert_true(pid > 0);
	for (int i = 0; i < 5000 && !r->ended; i++)
		assert_true(sd_event_run(r->event, 1000) >= 0);
	assert_int_equal(r->ended, 1);
	assert_int_equal(r->stopped, 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_null(lend_vm_find(r->lender, "bad"));
	lender_status(r->lender, &after);
	assert_int_equal(after.free_blocks, before.free_blocks);
	assert_good_goes_on(&p);
	pair_free(&p);
}

/* QEMU registers memory of its own: nobody serves that, and nobody else is hurt. */
static void touch_elsewhere_is_left_alone(void **state)
{
	struct pair p = pair_new();
	struct memlease_vhost_uffd l = layout_of(p.bad);
	uint8_t *own = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_range range = { (uintptr_t)own, BLOCK };
	int uffd = open_uffd(own, BLOCK);
	pthread_t thread;
	char log[4096];

	(void)state;
	assert_true(uffd >= 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	catch_log();
	pthread_create(&thread, NULL, touch_main, own);
	for (int i = 0; i < 50; i++)
		sd_event_run(p.r->event, 1000);
	release_log(log, sizeof(log));
	assert_non_null(strstr(log, "neither boot memory nor window"));
	assert_good_goes_on(&p);
	assert_int_equal(ioctl(uffd, UFFDIO_UNREGISTER, &range), 0);
	pthread_join(thread, NULL);
	munmap(own, BLOCK);
	close(uffd);
	pair_free(&p);
}

/* Descriptors do not pile up, whatever comes with messages. */
static void descriptors_do_not_leak(void **state)
{
	struct pair p = pair_new();
	int fds[8], before = dup(0), after;

	(void)state;
	close(before);
	for (int i = 0; i < 8; i++)
		fds[i] = p.bad->boot_fd;
	ml_log_set_level(ML_LOG_ERR);
	for (int i = 0; i < 20; i++) {
		send_msg(p.bad, VHOST_USER_GET_FEATURES, 0, NULL, 0, fds, 8);
		assert_true(connection_closed(p.bad));
		guest_disconnect(p.bad);
		sd_event_run(p.r->event, 0);
		usleep(1000);
		guest_connect_only(p.bad);
		for (int n = 0; n < 2000; n++) {
			struct vm_status s;

			lend_vm_status(p.bad->vm, &s);
			if (s.state == VM_RUNNING)
				break;
			sd_event_run(p.r->event, 1000);	/* the socket's rate limit */
		}
	}
	usleep(20000);	/* the closing thread */
	after = dup(0);
	close(after);
	assert_true(after <= before + 2);
	assert_good_goes_on(&p);
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_rings),
		cmocka_unit_test(chain_longer_than_allowed),
		cmocka_unit_test(queues_started_half_set_up),
		cmocka_unit_test(bad_indices),
		cmocka_unit_test(bad_event_buffers),
		cmocka_unit_test(not_negotiated),
		cmocka_unit_test(rings_in_the_window),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(reserved_field),
		cmocka_unit_test(indirect_table_reported),
		cmocka_unit_test(flood_starves_nobody),
		cmocka_unit_test(large_request_takes_turns),
		cmocka_unit_test(file_is_cut_under_the_ring),
		cmocka_unit_test(file_is_cut_under_the_answer),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(stream_ends_inside_a_message),
		cmocka_unit_test(message_may_dribble),
		cmocka_unit_test(replies_that_nobody_reads),
		cmocka_unit_test(bad_memory_tables),
		cmocka_unit_test(foreign_memory_is_left_out),
		cmocka_unit_test(call_descriptor_blocks),
		cmocka_unit_test(uffd_blocks),
		cmocka_unit_test(touch_of_a_vacant_slot_ends_the_vm),
		cmocka_unit_test(touch_elsewhere_is_left_alone),
		cmocka_unit_test(descriptors_do_not_leak),
	};

	return cmocka_run_group_tests_name("vhost_hostile", tests, NULL, NULL);
}
