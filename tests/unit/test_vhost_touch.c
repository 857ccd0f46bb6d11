// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Touches through a real userfaultfd, by real threads: served, waiting for a
 * block, waiting across a daemon's death; and what becomes of a VM whose QEMU
 * ends, as a real process.
 */
#include "test_vhost_rig.h"

#include "../../host/vhost/quiet.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int open_uffd(struct guest *g)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register boot = {
		.range = { (uintptr_t)g->boot, RIG_BOOT * BLOCK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_register window = {
		.range = { (uintptr_t)g->window, RIG_WINDOW * BLOCK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &boot), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &window), 0);
	return fd;
}

static struct memlease_vhost_uffd layout(const struct guest *g)
{
	return (struct memlease_vhost_uffd){
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ MEMLEASE_REGION_BOOT, 0, 0, (uintptr_t)g->boot, RIG_BOOT * BLOCK },
			{ MEMLEASE_REGION_WINDOW, 0, RIG_WINDOW_GPA, (uintptr_t)g->window,
			  RIG_WINDOW * BLOCK },
		},
	};
}

/* A thread of QEMU that writes one byte and says so. */
struct toucher {
	pthread_t thread;
	uint8_t *at;
	int done;
};

static void *toucher_main(void *arg)
{
	struct toucher *t = arg;

	*(volatile uint8_t *)t->at = 99;
	__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void touch_start(struct toucher *t, uint8_t *where)
{
	t->at = where;
	t->done = 0;
	assert_int_equal(pthread_create(&t->thread, NULL, toucher_main, t), 0);
}

/* Turn the loop until the thread is through, at most for ms. */
static bool touch_finish(struct rig *r, struct toucher *t, int ms)
{
	for (int i = 0; i < ms && !__atomic_load_n(&t->done, __ATOMIC_ACQUIRE); i++)
		assert_true(sd_event_run(r->event, 1000) >= 0);
	if (!__atomic_load_n(&t->done, __ATOMIC_ACQUIRE))
		return false;
	pthread_join(t->thread, NULL);
	return true;
}

static void touches_are_served(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_vhost_uffd l = layout(g);
	int uffd = open_uffd(g);
	struct toucher t;

	(void)state;
	assert_int_equal(send_acked(g, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_int_equal(r->stored, 1);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 4), 4);
	touch_start(&t, g->window + BLOCK + 4097);
	assert_true(touch_finish(r, &t, 2000));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_WINDOW, 1));
	touch_start(&t, g->boot + 9 * BLOCK);
	assert_true(touch_finish(r, &t, 2000));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_BOOT, 9));
	/* Without a connection, too. */
	guest_disconnect(g);
	touch_start(&t, g->boot + 10 * BLOCK);
	assert_true(touch_finish(r, &t, 2000));
	lender_validate(r->lender);
	close(uffd);
	guest_free(g);
	rig_free(r);
}

/* QEMU can send as many as it likes; the service manager does not get them all. */
static void few_descriptors_are_stored(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_vhost_uffd l = layout(g);
	int uffd = open_uffd(g);
	struct toucher t;

	(void)state;
	for (int i = 0; i < 3 * ML_QUIET_LINES; i++)
		assert_int_equal(send_acked(g, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_int_equal(r->stored, ML_QUIET_LINES);
	/* The last one is served, stored or not. */
	touch_start(&t, g->boot + 9 * BLOCK);
	assert_true(touch_finish(r, &t, 2000));
	close(uffd);
	guest_free(g);
	rig_free(r);
}

static void touch_waits_for_a_block(void **state)
{
	/* Rings and buffers take RIG_LOW blocks each; one block is left. */
	struct rig *r = rig_new(2 * RIG_LOW + 1);
	struct guest *g = guest_new(r, "a"), *other = guest_new(r, "b");
	struct memlease_vhost_uffd l = layout(g);
	int uffd = open_uffd(g);
	struct pool_status p;
	struct toucher t;

	(void)state;
	assert_int_equal(send_acked(g, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, 1, 0, 4), 4);
	assert_int_equal(lend_touch(other->vm, MEMLEASE_REGION_BOOT, 4), 0);
	touch_start(&t, g->window);
	assert_false(touch_finish(r, &t, 50));
	lender_status(r->lender, &p);
	assert_int_equal(p.waiting, 1);
	/* Another VM reports. */
	assert_int_equal(ask_one(other, MEMLEASE_REQ_REPORT, 0, RIG_HIGH_SLOT, 1), 1);
	assert_true(touch_finish(r, &t, 2000));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_WINDOW, 0));
	lender_validate(r->lender);
	close(uffd);
	guest_free(g);
	guest_free(other);
	rig_free(r);
}

/* A queue whose buffers have no block waits, breaks nothing, and goes on. */
static void queue_waits_for_a_block(void **state)
{
	struct rig *r = rig_new(2 * RIG_LOW);
	struct guest *g = guest_new(r, "a"), *other = guest_new(r, "b");
	struct memlease_extent e = { MEMLEASE_REGION_WINDOW, 1, 0 };
	struct rig_request req;
	uint32_t size = build(&req, MEMLEASE_REQ_BORROW, 1, &e);

	(void)state;
	place_request(g, 0, &req, size, 24);
	/* The response goes to slot 3, which the other one gets in the meantime. */
	set_desc(g, 0, 1, 3 * BLOCK, 24, VRING_DESC_F_WRITE, 0);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_REPORT, 0, 3, 1), 1);
	assert_int_equal(lend_touch(other->vm, MEMLEASE_REGION_BOOT, 4), 0);
	place_request(g, 0, &req, size, 24);
	set_desc(g, 0, 1, 3 * BLOCK, 24, VRING_DESC_F_WRITE, 0);
	offer(g, 0, 0);
	kick(g, 0);
	rig_spin(r);
	assert_int_equal(take_used(g, 0, NULL), -1);
	assert_int_equal(broken_reason(g), MEMLEASE_BROKEN_NOT);
	assert_int_equal(ask_one(other, MEMLEASE_REQ_REPORT, 0, RIG_HIGH_SLOT, 1), 1);
	rig_spin(r);
	assert_int_equal(take_used(g, 0, NULL), 24);
	assert_true(lend_committed(g->vm, MEMLEASE_REGION_WINDOW, 0, 1));
	lender_validate(r->lender);
	guest_free(g);
	guest_free(other);
	rig_free(r);
}

/* The old daemon read the touch and died: the next one has it come up again. */
static void new_daemon_serves_old_touches(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_new(r, "a");
	struct memlease_vhost_uffd l = layout(g);
	int uffd = open_uffd(g), kept;
	struct uffd_msg msg;
	struct toucher t;

	(void)state;
	assert_int_equal(send_acked(g, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	kept = r->stored_fd;
	rig_stop(r);
	close(g->fd);
	close(g->backend);
	g->fd = g->backend = -1;
	touch_start(&t, g->boot + 9 * BLOCK);
	for (int i = 0; i < 2000 && read(kept, &msg, sizeof(msg)) != sizeof(msg); i++)
		usleep(1000);
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
	rig_start(r);
	g->vm = lend_vm_find(r->lender, "a");
	assert_int_equal(vhost_vm_listen(r->server, g->vm, g->path), 0);
	assert_int_equal(vhost_vm_adopt_uffd(g->vm, kept), 0);
	r->stored_fd = -1;
	assert_true(touch_finish(r, &t, 2000));
	assert_true(lend_resident(g->vm, MEMLEASE_REGION_BOOT, 9));
	/* What is no userfaultfd is not adopted. */
	assert_int_equal(vhost_vm_adopt_uffd(g->vm, open("/dev/null", O_RDONLY | O_CLOEXEC)),
			 -EINVAL);
	assert_int_equal(r->dropped, 1);
	close(uffd);
	guest_free(g);
	rig_free(r);
}

/* --- processes ---------------------------------------------------------------------- */

static void wait_for_end(struct rig *r)
{
	for (int i = 0; i < 3000 && !r->ended; i++)
		assert_true(sd_event_run(r->event, 1000) >= 0);
}

/* A child that is QEMU: connects, hangs up when told to, and waits for its end. */
static pid_t fork_qemu(struct guest *g, int hang_up)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t n;
	pid_t pid;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	pid = fork();
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			_exit(1);
		while (read(hang_up, &n, sizeof(n)) < 0)
			usleep(1000);
		close(fd);
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void kick_call(struct guest *g)
{
	uint64_t one = 1;

	assert_int_equal(write(g->call[0], &one, sizeof(one)), sizeof(one));
}

static void vm_ends_with_its_process(void **state)
{
	struct rig *r = rig_new(64);
	struct guest *g = guest_define(r, "a");
	pid_t pid = fork_qemu(g, g->call[0]);
	struct pool_status p;
	struct vm_status s = { 0 };
	struct stat st;

	(void)state;
	for (int i = 0; i < 2000 && s.state != VM_RUNNING; i++) {
		assert_true(sd_event_run(r->event, 1000) >= 0);
		lend_vm_status(g->vm, &s);
	}
	assert_int_equal(s.pid, pid);
	/* Nobody else can take its place, not even when it is not connected. */
	kick_call(g);
	for (int i = 0; i < 2000 && s.state != VM_DETACHED; i++) {
		assert_true(sd_event_run(r->event, 1000) >= 0);
		lend_vm_status(g->vm, &s);
	}
	assert_int_equal(s.state, VM_DETACHED);
	guest_connect_only(g);
	assert_true(connection_closed(g));
	lend_vm_status(g->vm, &s);
	assert_int_equal(s.pid, pid);
	assert_int_equal(lend_touch(g->vm, MEMLEASE_REGION_BOOT, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	wait_for_end(r);
	assert_int_equal(r->ended, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_null(lend_vm_find(r->lender, "a"));
	assert_int_equal(stat(g->path, &st), -1);
	assert_int_equal(r->dropped, 1);
	lender_status(r->lender, &p);
	assert_int_equal(p.free_blocks, 64);
	guest_free(g);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(touches_are_served),
		cmocka_unit_test(few_descriptors_are_stored),
		cmocka_unit_test(touch_waits_for_a_block),
		cmocka_unit_test(queue_waits_for_a_block),
		cmocka_unit_test(new_daemon_serves_old_touches),
		cmocka_unit_test(vm_ends_with_its_process),
	};

	return cmocka_run_group_tests_name("vhost_touch", tests, NULL, NULL);
}
