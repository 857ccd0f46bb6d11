// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-daemon: what REPORT and touches cost the daemon itself, without a guest:
 * the rig of the unit tests is the driver, a thread of this process the vCPU. Each
 * stands beside what the kernel alone takes for the same on the same file system:
 * punching holes of so many blocks at a time, and plain page faults. Median and best
 * round, in microseconds a block of 2 MiB: on a machine that does other things too, only
 * the second means something. Needs root, for a tmpfs with huge pages of its own.
 */
#define RIG_WINDOW 512
#include "../unit/test_vhost_rig.h"

#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "../unit/scratch.h"

#define ROUNDS 7
#define POOL_BLOCKS (RIG_WINDOW + 2 * RIG_BOOT)
#define PER_REQUEST 32		/* extents, as Linux reports them */
#define PER_EXTENT 2		/* blocks: pages of 4 MiB */

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void tell(const char *what, double us[ROUNDS])
{
	/* The first round has the host give this machine the memory. */
	qsort(us + 1, ROUNDS - 1, sizeof(*us), by_size);
	printf("%-44s %8.2f %8.2f\n", what, us[1 + (ROUNDS - 1) / 2] / RIG_WINDOW,
	       us[1] / RIG_WINDOW);
}

static void write_all(uint8_t *window)
{
	for (uint64_t i = 0; i < RIG_WINDOW; i++)
		*(volatile uint8_t *)(window + i * BLOCK) = 1;
}

/* --- the kernel alone --- */

static void bench_punch(struct guest *g, uint64_t run)
{
	double us[ROUNDS];
	char what[64];

	for (int r = 0; r < ROUNDS; r++) {
		double began;

		write_all(g->window);
		began = now_us();
		for (uint64_t i = 0; i < RIG_WINDOW; i += run)
			assert_int_equal(fallocate(g->window_fd,
						   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						   (off_t)(i * BLOCK), (off_t)(run * BLOCK)), 0);
		us[r] = now_us() - began;
	}
	snprintf(what, sizeof(what), "kernel: punch, %llu at a time", (unsigned long long)run);
	tell(what, us);
}

static void bench_fault(struct guest *g)
{
	double us[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		us[r] = -now_us();
		write_all(g->window);
		us[r] += now_us();
		assert_int_equal(fallocate(g->window_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					   RIG_WINDOW * BLOCK), 0);
	}
	tell("kernel: page fault, without a daemon", us);
}

/* --- through the daemon --- */

static void hand_over(struct guest *g)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register window = {
		.range = { (uintptr_t)g->window, RIG_WINDOW * BLOCK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct memlease_vhost_uffd l = {
		.version = MEMLEASE_ABI_VERSION,
		.count = 2,
		.regions = {
			{ MEMLEASE_REGION_BOOT, 0, 0, (uintptr_t)g->boot, RIG_BOOT * BLOCK },
			{ MEMLEASE_REGION_WINDOW, 0, RIG_WINDOW_GPA, (uintptr_t)g->window,
			  RIG_WINDOW * BLOCK },
		},
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &window), 0);
	assert_int_equal(send_acked(g, MEMLEASE_VHOST_SET_UFFD, &l, sizeof(l), &fd, 1), 0);
	close(fd);
}

struct vcpu {
	uint8_t *window;
	double us;
	bool done;
};

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	double began = now_us();

	write_all(v->window);
	v->us = now_us() - began;
	__atomic_store_n(&v->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static double touch_all(struct guest *g)
{
	struct vcpu v = { .window = g->window };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, vcpu_main, &v), 0);
	while (!__atomic_load_n(&v.done, __ATOMIC_ACQUIRE))
		assert_true(sd_event_run(g->rig->event, 1000) >= 0);
	pthread_join(thread, NULL);
	return v.us;
}

/* From the highest address down, as Linux has them on its lists. */
static double report_all(struct guest *g)
{
	struct memlease_extent e[PER_REQUEST];
	struct rig_response resp;
	double began = now_us();

	for (uint64_t at = RIG_WINDOW; at;) {
		for (int i = 0; i < PER_REQUEST; i++) {
			at -= PER_EXTENT;
			e[i] = (struct memlease_extent){ MEMLEASE_REGION_WINDOW, PER_EXTENT, at };
		}
		assert_true(ask(g, MEMLEASE_REQ_REPORT, PER_REQUEST, e, &resp));
		assert_int_equal(le32toh(resp.head.done_blocks), PER_REQUEST * PER_EXTENT);
	}
	return now_us() - began;
}

static void bench_daemon(struct guest *g)
{
	double touch[ROUNDS], report[ROUNDS];

	hand_over(g);
	assert_int_equal(ask_one(g, MEMLEASE_REQ_BORROW, MEMLEASE_REGION_WINDOW, 0, RIG_WINDOW),
			 RIG_WINDOW);
	for (int r = 0; r < ROUNDS; r++) {
		touch[r] = touch_all(g);
		report[r] = report_all(g);
	}
	tell("daemon: touch, from fault to running on", touch);
	tell("daemon: REPORT, from request to answer", report);
}

int main(void)
{
	struct scratch s;
	struct guest *g;
	struct rig *r;

	if (scratch_make(&s, (POOL_BLOCKS + 64) * 2) < 0 || !s.huge) {
		fprintf(stderr, "bench-daemon: cannot mount a tmpfs with huge=always: run it as root\n");
		return 1;
	}
	setenv("MEMLEASE_TEST_TMPFS", s.pool, 1);
	r = rig_new(POOL_BLOCKS);
	g = guest_new(r, "a");
	printf("%-44s %8s %8s\n", "us a block of 2 MiB", "median", "best");
	for (uint64_t run = 1; run <= 64; run *= 4)
		bench_punch(g, run);
	bench_fault(g);
	bench_daemon(g);
	guest_free(g);
	rig_free(r);
	scratch_remove(&s);
	return 0;
}
