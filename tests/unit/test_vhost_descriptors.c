// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vhost-user back-end with a hostile QEMU, whose descriptors are not what they seem or
 * change later. It harms its own VM only: VM "good" on the same server goes on.
 */
#include "test_vhost_pair.h"

#include "../../host/vhost/peerfd.h"

#include <dirent.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

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
	assert_int_equal(ask_one(p.bad, MEMLEASE_REQ_BORROW, 1, 0, 1), 1);
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

static int count_fds(void)
{
	struct dirent *e;
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		n++;
	closedir(dir);
	return n;
}

#define FORKS 20

static void *fork_main(void *unused)
{
	/* Not by the library, which would hold locks that the event loop needs. */
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		syscall(SYS_exit_group, 0);
	waitpid(pid, NULL, 0);
	return unused;
}

/* A userfaultfd can be made such that whoever reads it gets descriptors. */
static void uffd_that_forks(void **state)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), before;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct memlease_vhost_uffd l = { MEMLEASE_ABI_VERSION, 2, { { 0 } } };
	pthread_t thread;
	struct pair p;

	(void)state;
	assert_true(uffd >= 0);
	if (ioctl(uffd, UFFDIO_API, &api) < 0) {
		close(uffd);
		skip();		/* it takes CAP_SYS_PTRACE */
	}
	p = pair_new();
	l.regions[0] = (struct memlease_vhost_region){ 0, 0, 0, (uintptr_t)p.bad->boot,
						       RIG_BOOT * BLOCK };
	l.regions[1] = (struct memlease_vhost_region){ 1, 0, RIG_WINDOW_GPA,
						       (uintptr_t)p.bad->window,
						       RIG_WINDOW * BLOCK };
	reg.range = (struct uffdio_range){ l.regions[0].hva, l.regions[0].bytes };
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(send_acked(p.bad, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &uffd, 1), 0);
	before = count_fds();
	for (int i = 0; i < FORKS; i++) {
		pthread_create(&thread, NULL, fork_main, NULL);
		while (pthread_tryjoin_np(thread, NULL))
			sd_event_run(p.r->event, 1000);
	}
	assert_true(count_fds() < before + FORKS / 2);	/* the ledger's thread opens some, too */
	assert_good_goes_on(&p);
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

struct storm {
	pthread_t target;
	bool stop;
};

static void on_storm(int signal)
{
	(void)signal;
}

static void *storm_main(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		pthread_kill(s->target, SIGUSR2);
	return NULL;
}

/*
 * A signal that comes while a userfaultfd is read that has nothing to tell: the read is interrupted
 * though it would not have blocked, and nobody is to blame.
 */
static void uffd_is_interrupted(void **state)
{
	const struct sigaction action = { .sa_handler = on_storm };
	struct storm storm = { .target = pthread_self() };
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	uint64_t end = now_ms() + 10000;
	unsigned int interrupted = 0;
	struct uffd_msg msg;
	pthread_t thread;

	(void)state;
	assert_true(uffd >= 0);
	assert_int_equal(ioctl(uffd, UFFDIO_API, &api), 0);
	assert_int_equal(peerfd_init(), 0);
	assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
	pthread_create(&thread, NULL, storm_main, &storm);
	while (interrupted < 20 && now_ms() < end) {
		ssize_t n = peerfd_read(uffd, &msg, sizeof(msg));

		if (n != -EAGAIN)
			assert_int_equal(n, -EINTR);
		interrupted += n == -EINTR;
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	/* One that would block is known as such all the same. */
	assert_int_equal(fcntl(uffd, F_SETFL, 0), 0);
	assert_int_equal(peerfd_read(uffd, &msg, sizeof(msg)), -EDEADLK);
	close(uffd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_descriptor_blocks),
		cmocka_unit_test(uffd_blocks),
		cmocka_unit_test(uffd_is_interrupted),
		cmocka_unit_test(touch_of_a_vacant_slot_ends_the_vm),
		cmocka_unit_test(touch_elsewhere_is_left_alone),
		cmocka_unit_test(uffd_that_forks),
		cmocka_unit_test(descriptors_do_not_leak),
	};

	return cmocka_run_group_tests_name("vhost_descriptors", tests, NULL, NULL);
}
