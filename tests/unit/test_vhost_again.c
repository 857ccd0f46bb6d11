// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a well-behaved QEMU whose queues stop, whose connection ends
 * and begins again, or that meets a new daemon.
 */
#include "test_vhost_rig.h"

static void stop_gives_the_base(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	uint16_t base[2];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	guest_stop(g, base);
	assert_int_equal(base[0], 3);
	assert_int_equal(base[1], 0);
	guest_free(g);
	rig_free(r);
}

/* What was offered while nobody was there is handled by the next connection, from the used index on. */
static void reconnect_goes_on(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_extent e = { MEMLEASE_REGION_WINDOW, 2, 4 };
	struct rig_request req;
	struct vm_status s;

	(void)state;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 4), 4);
	guest_disconnect(g);
	lend_vm_status(g->vm, &s);
	assert_int_equal(s.state, VM_DETACHED);
	assert_int_equal(s.window_committed_blocks, 4);
	offer(g, 0, place_request(g, 1, &req, build(&req, MEMLEASE_REQ_BORROW, 1, &e), 24));
	kick(g, 0);
	called(g, 0);
	guest_connect_only(g);
	guest_negotiate(g);
	guest_start(g, RIG_FEATURES);
	rig_spin(r);
	assert_int_equal(take_used(g, 0, NULL), 24);
	assert_true(called(g, 0));
	assert_true(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, 6));
	guest_free(g);
	rig_free(r);
}

static void second_connection_is_refused(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct guest other = { .rig = r, .vm = g->vm };

	(void)state;
	memcpy(other.path, g->path, sizeof(other.path));
	guest_connect_only(&other);
	assert_true(connection_closed(&other));
	close(other.fd);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
	/* One that hung up is no hindrance, even before the loop has seen it. */
	close(g->fd);
	guest_connect_only(&other);
	assert_int_equal(ask_u64(&other, VHOST_USER_GET_FEATURES) & RIG_FEATURES, RIG_FEATURES);
	close(other.fd);
	g->fd = -1;
	guest_free(g);
	rig_free(r);
}

static void new_daemon_goes_on(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");

	(void)state;
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 4), 4);
	assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_WINDOW, 1), 0);
	g->window[BLOCK] = 42;
	rig_stop(r);
	close(g->fd);
	close(g->backend);
	rig_start(r);
	g->vm = lend_vm_find(r->lender, "a");
	assert_non_null(g->vm);
	assert_int_equal(vhost_vm_listen(r->server, g->vm, g->path), 0);
	guest_connect_only(g);
	guest_negotiate(g);
	guest_start(g, RIG_FEATURES);
	/* The new daemon cannot know what QEMU was last told. */
	assert_true(config_change_told(g));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_WINDOW, 1));
	assert_int_equal(g->window[BLOCK], 42);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_RETURN, 1, 0, 4), 4);
	lender_validate(r->lender);
	guest_free(g);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stop_gives_the_base),
		cmocka_unit_test(reconnect_goes_on),
		cmocka_unit_test(second_connection_is_refused),
		cmocka_unit_test(new_daemon_goes_on),
	};

	return cmocka_run_group_tests_name("vhost_again", tests, NULL, NULL);
}
