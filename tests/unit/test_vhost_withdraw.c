// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Withdrawing: of driver and device one has the request, and the other knows. The word
 * between them is the guest's memory, so anything may stand there.
 */
#include "test_vhost_rig.h"

#define FEATURES (RIG_FEATURES | 1ULL << MEMLEASE_F_WITHDRAW)

static const struct memlease_extent two[2] = { { MEMLEASE_REGION_WINDOW, 2, 4 },
					       { MEMLEASE_REGION_WINDOW, 3, 8 } };

static struct guest *guest_with(struct rig *r, uint64_t features)
{
	struct guest *g = guest_define(r, "a");

	touch_rings(g);
	guest_connect_only(g);
	guest_negotiate(g);
	guest_start(g, features);
	return g;
}

static uint32_t *word_of(const struct guest *g)
{
	return (uint32_t *)(void *)(at(g, RIG_BUFFER_GPA + RIG_BUFFER_STRIDE / 2 + 256) +
				    offsetof(struct memlease_response, done_blocks));
}

/* A BORROW of both extents, with this word; the answer. */
static void borrow(struct guest *g, uint32_t word, struct rig_response *out)
{
	*word_of(g) = htole32(word);
	assert_true(ask(g, MEMLEASE_REQ_BORROW, 2, two, out));
}

static bool has_them(const struct guest *g)
{
	return lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 4, 2) &&
	       lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 8, 3);
}

static void withdrawn_is_not_carried_out(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_with(r, FEATURES);
	struct rig_response got;

	(void)state;
	borrow(g, MEMLEASE_WITHDRAWN, &got);
	assert_int_equal(le16toh(got.head.status), MEMLEASE_REFUSED);
	assert_int_equal(le32toh(got.head.done_blocks), 0);
	assert_int_equal(le16toh(got.head.count), 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(le32toh(got.a[i].done), 0);
		assert_int_equal(le32toh(got.a[i].reason), MEMLEASE_WHY_WITHDRAWN);
	}
	assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 4, 1));
	/* The next is another matter. */
	borrow(g, MEMLEASE_OPEN, &got);
	assert_int_equal(le32toh(got.head.done_blocks), 5);
	assert_true(has_them(g));
	guest_free(g);
	rig_free(r);
}

/* A block must be waited for, or the daemon was killed: by then it had begun. */
static void begun_is_carried_out(void **state)
{
	static const uint32_t words[] = { MEMLEASE_OPEN, MEMLEASE_BEGUN, 5, 2, 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct rig *r = rig_new(64);
		struct guest *g = guest_with(r, FEATURES);
		struct rig_response got;

		borrow(g, words[i], &got);
		assert_int_equal(le16toh(got.head.status), MEMLEASE_DONE);
		assert_int_equal(le32toh(got.head.done_blocks), 5);
		assert_true(has_them(g));
		guest_free(g);
		rig_free(r);
	}
}

/* A driver that tries to withdraw comes in time or too late: it knows which, and so it is. */
static void one_of_both_has_it(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_with(r, FEATURES);
	struct memlease_extent all = { MEMLEASE_REGION_WINDOW, RIG_WINDOW, 0 };
	struct rig_request req;
	struct rig_response got;

	(void)state;
	for (int go = 0; go < 50; go++) {
		uint32_t open = htole32(MEMLEASE_OPEN);
		bool won;

		*word_of(g) = open;
		offer(g, 0, place_request(g, 0, &req, build(&req, MEMLEASE_REQ_BORROW, 1, &all), sizeof(got)));
		kick(g, 0);
		if (go % 2)
			rig_spin(r);
		won = __atomic_compare_exchange_n(word_of(g), &open, htole32(MEMLEASE_WITHDRAWN), false,
						  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		assert_int_equal(won, go % 2 == 0);
		rig_spin(r);
		assert_true(take_used(g, 0, NULL) > 0);
		assert_int_equal(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, RIG_WINDOW), !won);
		if (!won)
			assert_int_equal(ask_one(g, MEMLEASE_REQ_RETURN, MEMLEASE_REGION_WINDOW, 0, RIG_WINDOW), RIG_WINDOW);
	}
	guest_free(g);
	rig_free(r);
}

static void without_the_feature_the_word_means_nothing(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_with(r, RIG_FEATURES);
	struct rig_response got;

	(void)state;
	borrow(g, MEMLEASE_WITHDRAWN, &got);
	assert_int_equal(le32toh(got.head.done_blocks), 5);
	assert_true(has_them(g));
	guest_free(g);
	rig_free(r);
}

/* The word lies across two descriptors, or not at a multiple of 4. */
static void word_out_of_place(void **state)
{
	static const uint32_t at_bytes[] = { 5, 6, 7 };
	struct rig_request req;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct rig *r = rig_new(64);
		struct guest *g = guest_with(r, FEATURES);
		uint32_t size = build(&req, MEMLEASE_REQ_BORROW, 1, two), first = at_bytes[i];
		uint64_t room = RIG_BUFFER_GPA + RIG_BUFFER_STRIDE / 2;

		place_request(g, 0, &req, size, 24);
		set_desc(g, 0, 1, room, first, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
		set_desc(g, 0, 2, room + 64, 24 - first, VRING_DESC_F_WRITE, 0);
		offer(g, 0, 0);
		kick(g, 0);
		rig_spin(r);
		assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_LENGTH);
		assert_false(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 4, 1));
		guest_free(g);
		rig_free(r);
	}
	{
		struct rig *r = rig_new(64);
		struct guest *g = guest_with(r, FEATURES);
		uint32_t size = build(&req, MEMLEASE_REQ_BORROW, 1, two);

		place_request(g, 0, &req, size, 24);
		set_desc(g, 0, 1, RIG_BUFFER_GPA + RIG_BUFFER_STRIDE / 2 + 2, 24, VRING_DESC_F_WRITE, 0);
		offer(g, 0, 0);
		kick(g, 0);
		rig_spin(r);
		assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_LENGTH);
		guest_free(g);
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(withdrawn_is_not_carried_out),
		cmocka_unit_test(begun_is_carried_out),
		cmocka_unit_test(one_of_both_has_it),
		cmocka_unit_test(without_the_feature_the_word_means_nothing),
		cmocka_unit_test(word_out_of_place),
	};

	return cmocka_run_group_tests_name("vhost_withdraw", tests, NULL, NULL);
}
