// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a well-behaved QEMU and guest: handshake, every
 * request, events, config changes and reset. What ends and begins again is in
 * test_vhost_again.c, touches are in test_vhost_touch.c.
 */
#include "test_vhost_rig.h"

#include "../../host/lend/lender.h"

struct config_msg {
	uint32_t offset, size, flags;
	struct memlease_config config;
} __attribute__((packed));

static struct memlease_config get_config(struct guest *g)
{
	struct config_msg c = { .size = sizeof(c.config) };

	assert_true(send_msg(g, VHOST_USER_GET_CONFIG, 0, &c, sizeof(c), NULL, 0));
	get_reply(g, VHOST_USER_GET_CONFIG, &c, sizeof(c));
	assert_int_equal(c.size, sizeof(c.config));
	return c.config;
}

static void config_space_is_read(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_config c = get_config(g);
	struct config_msg set = { .size = sizeof(set.config) };

	(void)state;
	assert_int_equal(le32toh(c.version), MEMLEASE_ABI_VERSION);
	assert_int_equal(le32toh(c.flags), 0);
	assert_int_equal(le64toh(c.block_bytes), BLOCK);
	assert_int_equal(le64toh(c.window_bytes), RIG_WINDOW * BLOCK);
	assert_int_equal(le64toh(c.limit_blocks), RIG_WINDOW);
	assert_true(le64toh(c.target_blocks) == MEMLEASE_NO_TARGET);
	assert_int_equal(le16toh(c.max_extents), MEMLEASE_MAX_EXTENTS);
	/* Writing is refused, and the connection stays. */
	assert_int_equal(send_acked(g, VHOST_USER_SET_CONFIG, &set, sizeof(set), NULL, 0), 1);
	assert_int_equal(le32toh(get_config(g).version), MEMLEASE_ABI_VERSION);
	guest_free(g);
	rig_free(r);
}

static void socket_is_private(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_define(r, "a");
	struct stat st;

	(void)state;
	assert_int_equal(stat(g->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(vhost_vm_listen(r->server, g->vm, g->path), -EALREADY);
	vhost_vm_forget(g->vm);
	assert_int_equal(stat(g->path, &st), -1);
	assert_int_equal(r->dropped, 1);
	/* What is there and is no socket stays. */
	assert_int_equal(mkdir(g->path, 0700), 0);
	assert_int_equal(vhost_vm_listen(r->server, g->vm, g->path), -EEXIST);
	assert_null(lend_vm_user(g->vm));
	guest_free(g);
	rig_free(r);
}

static void window_is_borrowed_reported_returned(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e[2] = {
		{ MEMLEASE_REGION_WINDOW, 4, 8 }, { MEMLEASE_REGION_WINDOW, 2, 0 },
	};
	struct rig_response resp;

	(void)state;
	assert_true(ask(g, MEMLEASE_REQ_BORROW, 2, e, &resp));
	assert_int_equal(le16toh(resp.head.status), MEMLEASE_DONE);
	assert_int_equal(le32toh(resp.head.done_blocks), 6);
	assert_int_equal(le32toh(resp.a[0].done), 4);
	assert_int_equal(le32toh(resp.a[1].done), 2);
	assert_true(called(g, 0));
	assert_true(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 8, 4));
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 7, 1));

	assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_WINDOW, 9), 0);
	g->window[9 * BLOCK + 5] = 7;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_REPORT, MEMLEASE_REGION_WINDOW, 8, 4), 4);
	assert_false(lend_resident(g->vm, MEMLEASE_REGION_WINDOW, 9));
	assert_true(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 8, 4));
	assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_WINDOW, 9), 0);
	assert_int_equal(g->window[9 * BLOCK + 5], 0);

	assert_int_equal(ask_one(g, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 9, 1), 1);
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 9, 1));
	/* Twice has the effect of once. */
	assert_int_equal(ask_one(g, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 9, 1), 1);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 8, 1), 1);
	lender_validate(r->lender);
	guest_free(g);
	rig_free(r);
}

static void limit_is_answered_with_a_reason(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e = { MEMLEASE_REGION_WINDOW, 10, 0 };
	struct rig_response resp;
	struct ml_why why = { "" };

	(void)state;
	assert_int_equal(lend_set_limit(g->vm, RIG_BOOT + 6, &why), 0);
	assert_true(ask(g, MEMLEASE_REQ_BORROW, 1, &e, &resp));
	assert_int_equal(le16toh(resp.head.status), MEMLEASE_PARTLY);
	assert_int_equal(le32toh(resp.a[0].done), 6);
	assert_int_equal(le32toh(resp.a[0].reason), MEMLEASE_WHY_LIMIT);
	e.first = 20;
	assert_true(ask(g, MEMLEASE_REQ_BORROW, 1, &e, &resp));
	assert_int_equal(le16toh(resp.head.status), MEMLEASE_REFUSED);
	assert_int_equal(le32toh(resp.a[0].done), 0);
	guest_free(g);
	rig_free(r);
}

static void boot_memory_is_reported_by_address(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e[2] = {
		{ MEMLEASE_REGION_BOOT, 1, 3 },			/* just below the hole */
		{ MEMLEASE_REGION_BOOT, 12, RIG_HIGH_SLOT },	/* all above it */
	};
	struct rig_response resp;

	(void)state;
	assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_BOOT, 5), 0);
	assert_true(ask(g, MEMLEASE_REQ_REPORT, 2, e, &resp));
	assert_int_equal(le32toh(resp.head.done_blocks), 13);
	/* 4 GiB is where slot 4 of the file is. */
	assert_false(lend_resident(g->vm, MEMLEASE_REGION_BOOT, 3));
	assert_false(lend_resident(g->vm, MEMLEASE_REGION_BOOT, 5));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_BOOT, 1));
	lender_validate(r->lender);
	guest_free(g);
	rig_free(r);
}

static void statistics_arrive(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct {
		struct memlease_request head;
		struct memlease_stat s[2];
	} req = {
		{ htole16(MEMLEASE_REQ_STATS), htole16(2), 0, htole64(5) },
		{ { htole16(MEMLEASE_STAT_FREE_BYTES), { 0 }, htole64(12345) },
		  { htole16(999), { 0 }, htole64(1) } },
	};
	struct memlease_response resp;
	struct vm_status s;

	(void)state;
	offer(g, 0, place_request(g, 0, &req, sizeof(req), sizeof(resp)));
	kick(g, 0);
	rig_spin(r);
	assert_int_equal(take_used(g, 0, NULL), sizeof(resp));
	memcpy(&resp, response_at(g, 0), sizeof(resp));
	assert_int_equal(le16toh(resp.status), MEMLEASE_DONE);
	assert_int_equal(le16toh(resp.count), 0);
	assert_int_equal(le64toh(resp.cookie), 5);
	lend_vm_status(g->vm, &s);
	assert_int_equal(s.guest_stat[MEMLEASE_STAT_FREE_BYTES], 12345);
	assert_int_equal(s.guest_stat_valid, 1u << MEMLEASE_STAT_FREE_BYTES);
	guest_free(g);
	rig_free(r);
}

static void query(struct guest *g, uint16_t count, struct rig_figures *out)
{
	struct memlease_request q = { htole16(MEMLEASE_REQ_QUERY), htole16(count), 0, htole64(8) };
	uint32_t room = (uint32_t)(sizeof(out->head) + count * sizeof(*out->s));

	offer(g, 0, place_request(g, 0, &q, sizeof(q), room));
	memset((uint8_t *)(uintptr_t)response_at(g, 0), 0xee, room + 16);
	kick(g, 0);
	rig_spin(g->rig);
	assert_int_equal(take_used(g, 0, NULL), room);
	memcpy(out, response_at(g, 0), room);
	assert_int_equal(response_at(g, 0)[room], 0xee);
	assert_int_equal(le16toh(out->head.status), MEMLEASE_DONE);
	assert_int_equal(le64toh(out->head.cookie), 8);
}

/* The guest sees what the meter counts; what the device does not know is 0. */
static void figures_are_the_meters(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct vm_status before, after;
	struct rig_figures f;
	uint64_t ns;

	(void)state;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 7), 7);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_WINDOW, i), 0);
	lend_vm_status(g->vm, &before);
	query(g, 8, &f);
	lend_vm_status(g->vm, &after);
	assert_int_equal(le16toh(f.head.count), MEMLEASE_QUERY_COUNT);
	for (uint16_t i = 0; i < 8; i++) {
		assert_int_equal(le16toh(f.s[i].tag), i < MEMLEASE_QUERY_COUNT ? i + 1 : 0);
		assert_int_equal(f.s[i].reserved[0] | f.s[i].reserved[1] | f.s[i].reserved[2], 0);
	}
	assert_int_equal(le64toh(f.s[0].value), after.resident_blocks);
	assert_int_equal(le64toh(f.s[1].value), after.boot_resident_blocks);
	assert_int_equal(after.resident_blocks - after.boot_resident_blocks, 3);
	ns = le64toh(f.s[2].value);
	assert_true(ns >= (uint64_t)before.resident_block_ns);
	assert_true(ns <= (uint64_t)after.resident_block_ns && ns > 0);
	assert_int_equal(le64toh(f.s[3].value), RIG_BOOT + 7);
	assert_int_equal(f.s[4].value, 0);
	assert_int_equal(f.s[7].value, 0);
	/* Fewer than there are. */
	query(g, 1, &f);
	assert_int_equal(le16toh(f.head.count), 1);
	assert_int_equal(le64toh(f.s[0].value), after.resident_blocks);
	guest_free(g);
	rig_free(r);
}

/* A request cut into single bytes of an indirect table's descriptors, more often than the ring is long. */
static void boundaries_carry_no_meaning(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e = { MEMLEASE_REGION_WINDOW, 1, 0 };
	struct rig_request req;
	uint32_t size = build(&req, MEMLEASE_REQ_BORROW, 1, &e);
	struct vring_desc table[64];

	(void)state;
	for (int round = 0; round < 3 * RIG_NUM; round++) {
		unsigned int n = 0;

		memcpy(at(g, RIG_BUFFER_GPA), &req, size);
		for (uint32_t i = 0; i < size; i++, n++)
			table[n] = (struct vring_desc){ RIG_BUFFER_GPA + i, 1, VRING_DESC_F_NEXT,
							n + 1 };
		for (uint32_t i = 0; i < 24; i++, n++)
			table[n] = (struct vring_desc){
				RIG_BUFFER_GPA + 4096 + i, 1,
				VRING_DESC_F_WRITE | (i < 23 ? VRING_DESC_F_NEXT : 0), n + 1,
			};
		memcpy(at(g, RIG_TABLE_GPA), table, n * sizeof(*table));
		set_desc(g, 0, 9, RIG_TABLE_GPA, n * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
		offer(g, 0, 9);
		kick(g, 0);
		rig_spin(r);
		assert_int_equal(take_used(g, 0, NULL), 24);
		assert_true(called(g, 0));
	}
	assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_NOT);
	guest_free(g);
	rig_free(r);
}

static void many_requests_one_kick(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e = { MEMLEASE_REGION_WINDOW, 1, 0 };
	struct rig_request req;
	uint32_t size, head;

	(void)state;
	for (unsigned int i = 0; i < RIG_NUM / 2; i++) {
		e.first = i % RIG_WINDOW;
		size = build(&req, MEMLEASE_REQ_BORROW, 1, &e);
		offer(g, 0, place_request(g, i, &req, size, 24));
	}
	kick(g, 0);
	rig_spin(r);
	for (unsigned int i = 0; i < RIG_NUM / 2; i++) {
		assert_int_equal(take_used(g, 0, &head), 24);
		assert_int_equal(head, i * 2);
	}
	assert_int_equal(take_used(g, 0, &head), -1);
	guest_free(g);
	rig_free(r);
}

static void notifications_are_suppressed(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");

	(void)state;
	rig_spin(r);
	called(g, 0);
	*avail_word(g, 0, 0) = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_false(called(g, 0));
	*avail_word(g, 0, 0) = 0;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	assert_true(called(g, 0));
	guest_free(g);
	rig_free(r);
}

static void event_index_is_obeyed(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_define(r, "a");
	uint16_t *used_event, *avail_event;

	(void)state;
	touch_rings(g);
	guest_connect_only(g);
	guest_negotiate(g);
	guest_start(g, RIG_FEATURES | 1ULL << VIRTIO_RING_F_EVENT_IDX);
	rig_spin(r);
	called(g, 0);
	used_event = avail_word(g, 0, 2 + RIG_NUM);
	avail_event = used_word(g, 0, 2 + 4 * RIG_NUM);
	*used_event = htole16(2);	/* tell when entry 2 is used */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
		assert_int_equal(called(g, 0), i == 2);
		assert_int_equal(le16toh(*avail_event), i + 1);
	}
	guest_free(g);
	rig_free(r);
}

/* Offer an event buffer at slot `i` of the event queue. */
static void offer_event(struct guest *g, uint16_t i)
{
	set_desc(g, 1, i, RIG_BUFFER_GPA + BLOCK / 4 + i * 64u, sizeof(struct memlease_event),
		 VRING_DESC_F_WRITE, 0);
	offer(g, 1, i);
	kick(g, 1);
	rig_spin(g->rig);
}

static bool take_event(struct guest *g, struct memlease_event *e)
{
	uint32_t head;

	rig_spin(g->rig);
	if (take_used(g, 1, &head) != sizeof(*e))
		return false;
	memcpy(e, at(g, RIG_BUFFER_GPA + BLOCK / 4 + head * 64u), sizeof(*e));
	return true;
}

static void target_reaches_the_guest(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_event e;
	struct ml_why why = { "" };

	(void)state;
	while (config_change_told(g))
		;
	offer_event(g, 0);
	assert_int_equal(lend_set_target(g->vm, RIG_BOOT + 3, 5000, &why), 0);
	assert_true(take_event(g, &e));
	assert_int_equal(le16toh(e.type), MEMLEASE_EV_TARGET);
	assert_int_equal(le64toh(e.a), 3);
	assert_int_equal(le64toh(e.b), 5000);
	assert_true(called(g, 1));
	assert_true(config_change_told(g));
	assert_int_equal(le64toh(get_config(g).target_blocks), 3);
	assert_int_equal(le32toh(get_config(g).target_deadline_ms), 5000);
	guest_free(g);
	rig_free(r);
}

static void waiting_events_are_merged_but_none_retired_is_lost(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_event e;

	(void)state;
	/* No buffer is there. */
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_RETIRED, MEMLEASE_REGION_BOOT, 5, 2);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_TARGET, 1, 10, 100);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_REPORT_NOW, 0, 0, 0);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_REPORT_NOW, 0, 0, 0);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_TARGET, 2, 7, 200);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_RETIRED, MEMLEASE_REGION_WINDOW, 30, 2);
	vhost_on_guest_event(NULL, g->vm, MEMLEASE_EV_RETIRED, MEMLEASE_REGION_WINDOW, 1, 1);
	rig_spin(r);
	for (uint16_t i = 0; i < 8; i++)
		offer_event(g, i);
	/* Boot slot 5 of the file is the second above 4 GiB. */
	assert_true(take_event(g, &e));
	assert_int_equal(le16toh(e.type), MEMLEASE_EV_RETIRED);
	assert_int_equal(le16toh(e.region), MEMLEASE_REGION_BOOT);
	assert_int_equal(le64toh(e.a), RIG_HIGH_SLOT + 1);
	assert_int_equal(le64toh(e.b), 2);
	assert_true(take_event(g, &e));
	assert_int_equal(le16toh(e.region), MEMLEASE_REGION_WINDOW);
	assert_int_equal(le64toh(e.a), 1);
	assert_true(take_event(g, &e));
	assert_int_equal(le64toh(e.a), 30);
	assert_int_equal(le64toh(e.b), 2);
	assert_true(take_event(g, &e));
	assert_int_equal(le16toh(e.type), MEMLEASE_EV_TARGET);
	assert_int_equal(le32toh(e.seq), 2);
	assert_int_equal(le64toh(e.a), 7);
	assert_true(take_event(g, &e));
	assert_int_equal(le16toh(e.type), MEMLEASE_EV_REPORT_NOW);
	assert_false(take_event(g, &e));
	guest_free(g);
	rig_free(r);
}

/* While a window is emptied in slices, its VM's messages and queues wait; others do not. */
static void large_reset_holds_back_its_own_vm_only(void **state)
{
	struct rig *r = rig_new(128);
	struct guest *g = guest_new(r, "a"), *other = guest_new(r, "b");
	struct message_header h;
	int slices = 0;

	(void)state;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 16), 16);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_WINDOW, i), 0);
	r->lender->slice_blocks = 4;
	assert_true(send_msg(g, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	assert_true(send_msg(g, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0));
	rig_spin(r);
	assert_true(lend_resetting(g->vm));
	assert_int_equal(recv(g->fd, &h, sizeof(h), MSG_DONTWAIT), -1);
	assert_int_equal(ask_one(other, MEMLEASE_REQ_BORROW, 1, 0, 4), 4);
	/* Even if it is a new connection's. */
	guest_disconnect(g);
	guest_connect_only(g);
	assert_true(send_msg(g, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0));
	for (; lender_has_work(r->lender); slices++) {
		rig_spin(r);
		assert_int_equal(recv(g->fd, &h, sizeof(h), MSG_DONTWAIT), -1);
		assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_BOOT, 1), 0);
		lender_work(r->lender);
	}
	assert_int_equal(slices, 3);
	r->lender->slice_blocks = LEND_SLICE_BLOCKS;
	rig_spin(r);
	assert_int_equal(recv(g->fd, &h, sizeof(h), MSG_DONTWAIT), sizeof(h));
	assert_int_equal(h.request, VHOST_USER_GET_FEATURES);
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, 1));
	lender_validate(r->lender);
	guest_free(g);
	guest_free(other);
	rig_free(r);
}

static void reset_returns_the_window(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct vm_status s;

	(void)state;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 8), 8);
	guest_stop(g, NULL);
	assert_true(send_msg(g, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0));
	rig_spin(r);
	lend_vm_status(g->vm, &s);
	assert_int_equal(s.window_committed_blocks, 0);
	/* Nothing is looked at until it is set up again. */
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 8), -1);
	memset(at(g, BLOCK), 0, BLOCK);
	memset(g->avail, 0, sizeof(g->avail));
	memset(g->seen, 0, sizeof(g->seen));
	guest_start(g, RIG_FEATURES);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 8), 8);
	guest_free(g);
	rig_free(r);
}

#define SLOW_NS 3000000		/* that each look at the clock takes */
#define SLOW_PIECES 16

static uint64_t slow_boot_ns(void *ctx)
{
	uint64_t *late = ctx;

	return ml_boot_ns(&ml_clock_real) + (*late += SLOW_NS);
}

static int64_t slow_wall_ms(void *ctx)
{
	(void)ctx;
	return ml_wall_ms(&ml_clock_real);
}

/* A source that has to wait for one QEMU: a request of many pieces does not keep the others that long. */
static void slow_pieces_leave_others_their_turns(void **state)
{
	uint64_t late = 0;
	const struct ml_clock slow = { slow_boot_ns, slow_wall_ms, &late };
	struct memlease_extent e[SLOW_PIECES];
	struct rig_request request;
	struct rig *r;
	struct guest *a, *b;
	uint32_t size;
	int turns = 0, other = 0;

	(void)state;
	rig_clock = &slow;
	r = rig_new(64);
	a = guest_new(r, "a");
	b = guest_new(r, "b");
	assert_int_equal(ask_one(a, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, 32), 32);
	for (uint32_t i = 0; i < SLOW_PIECES; i++)
		e[i] = (struct memlease_extent){ MEMLEASE_REGION_WINDOW, 1, 2 * i };
	size = build(&request, MEMLEASE_REQ_REPORT, SLOW_PIECES, e);
	offer(a, 0, place_request(a, 1, &request, size, sizeof(struct rig_response)));
	kick(a, 0);
	size = build(&request, MEMLEASE_REQ_BORROW, 1, e);
	offer(b, 0, place_request(b, 1, &request, size, sizeof(struct rig_response)));
	kick(b, 0);
	while (take_used(a, 0, NULL) < 0) {
		assert_true(++turns < 10000);
		assert_true(sd_event_run(r->event, 1000) >= 0);
		if (!other && take_used(b, 0, NULL) >= 0)
			other = turns;
	}
	rig_clock = &ml_clock_real;
	assert_true(turns > SLOW_PIECES);
	assert_true(other && other < turns);
	guest_free(b);
	guest_free(a);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_space_is_read),
		cmocka_unit_test(socket_is_private),
		cmocka_unit_test(window_is_borrowed_reported_returned),
		cmocka_unit_test(limit_is_answered_with_a_reason),
		cmocka_unit_test(boot_memory_is_reported_by_address),
		cmocka_unit_test(statistics_arrive),
		cmocka_unit_test(figures_are_the_meters),
		cmocka_unit_test(boundaries_carry_no_meaning),
		cmocka_unit_test(many_requests_one_kick),
		cmocka_unit_test(notifications_are_suppressed),
		cmocka_unit_test(event_index_is_obeyed),
		cmocka_unit_test(target_reaches_the_guest),
		cmocka_unit_test(waiting_events_are_merged_but_none_retired_is_lost),
		cmocka_unit_test(reset_returns_the_window),
		cmocka_unit_test(slow_pieces_leave_others_their_turns),
		cmocka_unit_test(large_reset_holds_back_its_own_vm_only),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
