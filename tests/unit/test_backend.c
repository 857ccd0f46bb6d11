// SPDX-License-Identifier: GPL-2.0-or-later
/* pool/backend_file.c, the backend `file`, on a real tmpfs, and hugetlbfs where there is any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/vfs.h>

#include "../../proto/memlease_abi.h"
#include "../../host/pool/backend.h"
#include "scratch.h"

#define BLOCK MEMLEASE_BLOCK_BYTES
#define BLOCKS 16

static uint32_t taken;	/* stays 0: numbers only count here */

struct fixture {
	struct scratch scratch;
	struct backend *b;
	struct backend_region r;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_make(&f->scratch, 2 * BLOCKS), 0);
	assert_int_equal(backend_file_open(&f->b, f->scratch.pool, BLOCKS), 0);
	assert_int_equal(f->b->ops->create(f->b, "r", 64), 0);
	assert_int_equal(f->b->ops->open(f->b, "r", 64, &f->r), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->b->ops->close(&f->r);
	f->b->ops->free(f->b);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

static uint64_t resident(struct fixture *f)
{
	uint64_t bytes = 99;

	assert_int_equal(f->b->ops->resident_bytes(&f->r, &bytes), 0);
	return bytes / BLOCK;
}

static void regions(void **state)
{
	struct fixture *f = *state;
	struct backend_region other;
	struct stat st;

	assert_int_equal(f->b->ops->create(f->b, "r", 64), -EEXIST);
	assert_int_equal(f->b->ops->open(f->b, "x", 64, &other), -ENOENT);
	assert_int_equal(stat(f->r.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 64 * BLOCK);
	assert_int_equal(f->r.path[0], '/');
	assert_int_equal(resident(f), 0);
	assert_int_equal(f->b->ops->remove(f->b, "r"), 0);
	assert_int_equal(f->b->ops->remove(f->b, "r"), -ENOENT);
}

static void a_cut_file_is_made_whole(void **state)
{
	struct fixture *f = *state;
	struct backend_region other;
	struct stat st;

	assert_int_equal(truncate(f->r.path, (off_t)BLOCK), 0);
	assert_int_equal(f->b->ops->open(f->b, "r", 64, &other), 0);
	assert_int_equal(fstat(other.fd, &st), 0);
	assert_int_equal(st.st_size, 64 * BLOCK);
	f->b->ops->close(&other);
}

static void map_and_unmap(void **state)
{
	struct fixture *f = *state;
	unsigned char *p = mmap(NULL, 64 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, f->r.fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	for (uint64_t s = 3; s < 8; s++)
		assert_int_equal(f->b->ops->map(&f->r, s, 0), 0);
	assert_int_equal(resident(f), 5);
	memset(p + 3 * BLOCK, 0x5a, 5 * BLOCK);
	assert_int_equal(f->b->ops->map(&f->r, 4, 0), 0);	/* again: keeps its contents */
	assert_int_equal(p[4 * BLOCK], 0x5a);
	assert_int_equal(resident(f), 5);
	assert_int_equal(f->b->ops->unmap(&f->r, 4, 3, NULL, &taken), 0);
	assert_int_equal(resident(f), 2);
	assert_int_equal(f->b->ops->unmap(&f->r, 4, 3, NULL, &taken), 0);
	assert_int_equal(p[3 * BLOCK], 0x5a);
	assert_int_equal(p[7 * BLOCK + BLOCK - 1], 0x5a);
	assert_int_equal(f->b->ops->map(&f->r, 5, 0), 0);
	for (size_t i = 0; i < BLOCK; i++)
		assert_int_equal(p[5 * BLOCK + i], 0);
	munmap(p, 64 * BLOCK);
}

static void a_full_file_system(void **state)
{
	struct fixture *f = *state;
	uint64_t s = 0;
	int ret;

	if (!f->scratch.mounted) {
		print_message("skipped: needs a tmpfs of its own, and root to mount it\n");
		skip();
	}
	while ((ret = f->b->ops->map(&f->r, s, 0)) == 0)
		s++;
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(s, BLOCKS);
	assert_int_equal(f->b->ops->unmap(&f->r, s, 1, NULL, &taken), 0);
	assert_int_equal(resident(f), BLOCKS);
	assert_int_equal(f->b->ops->unmap(&f->r, 0, 1, NULL, &taken), 0);
	assert_int_equal(f->b->ops->map(&f->r, s, 0), 0);
}

static void scan_finds_what_is_there(void **state)
{
	struct fixture *f = *state;
	uint8_t present[64];
	int fd = f->r.fd;

	assert_int_equal(f->b->ops->map(&f->r, 0, 0), 0);
	assert_int_equal(f->b->ops->map(&f->r, 63, 0), 0);
	/* One byte makes a slot resident, in part or whole. */
	assert_int_equal(pwrite(fd, "x", 1, (off_t)(10 * BLOCK + 5)), 1);
	memset(present, 7, sizeof(present));
	assert_int_equal(f->b->ops->scan(&f->r, 0, 64, present), 0);
	assert_int_equal(present[10], 1);
	assert_int_equal(present[11], 0);
	if (f->b->scan_sees_all) {
		assert_int_equal(present[0], 1);
		assert_int_equal(present[63], 1);
	}
	memset(present, 7, sizeof(present));
	assert_int_equal(f->b->ops->scan(&f->r, 5, 6, present), 0);
	assert_int_equal(present[5], 1);
	assert_int_equal(present[0], 0);
	assert_int_equal(present[6], 7);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void signals_do_not_disturb(void **state)
{
	struct fixture *f = *state;
	struct sigaction sa = { .sa_handler = on_alarm };	/* no SA_RESTART */
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int round = 0; round < 100000 && alarms < 50; round++) {
		for (uint64_t s = 0; s < 8; s++)
			assert_int_equal(f->b->ops->map(&f->r, s, 0), 0);
		assert_int_equal(f->b->ops->unmap(&f->r, 0, 8, NULL, &taken), 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	assert_true(alarms > 0);
	assert_int_equal(resident(f), 0);
}

static void unfit_directories(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;
	struct statfs fs;

	assert_int_equal(backend_file_open(&b, "/nowhere", BLOCKS), -ENOENT);
	assert_int_equal(backend_file_open(&b, "/proc", BLOCKS), -EINVAL);
	if (f->scratch.mounted)
		assert_int_equal(backend_file_open(&b, f->scratch.pool, BLOCKS + 1), -ENOSPC);
	assert_int_equal(statfs(f->scratch.pool, &fs), 0);
	assert_int_equal(fs.f_type, TMPFS_MAGIC);
}

static void unsafe_kernels(void **state)
{
	(void)state;
	assert_true(backend_file_kernel_unsafe("7.0.0"));
	assert_true(backend_file_kernel_unsafe("7.0.12-1-amd64"));
	assert_true(backend_file_kernel_unsafe("7.1"));
	assert_true(backend_file_kernel_unsafe("7.1.8-cloud-amd64"));
	assert_false(backend_file_kernel_unsafe("7.1.9"));
	assert_false(backend_file_kernel_unsafe("7.2.0-rc1"));
	assert_false(backend_file_kernel_unsafe("6.12.95+deb13"));
	assert_false(backend_file_kernel_unsafe("6.1.0-40-amd64"));
	assert_false(backend_file_kernel_unsafe("strange"));
}

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* Pages of the machine's hugetlb pool: more or fewer by this; as far as the kernel will. */
static void huge_pages_change(int by)
{
	FILE *f = fopen(HUGE_PAGES, "r+");
	int pages;

	if (!f)
		return;
	if (fscanf(f, "%d", &pages) == 1) {
		rewind(f);
		fprintf(f, "%d\n", pages + by);
	}
	fclose(f);
}

static void hugetlbfs(void **state)
{
	struct scratch s;
	struct backend *b;
	struct backend_region r;
	uint64_t bytes;
	uint8_t present;

	(void)state;
	assert_int_equal(scratch_make(&s, 4), 0);
	if (!s.mounted || mount("none", s.pool, "hugetlbfs", 0, "pagesize=2M") < 0) {
		print_message("skipped: cannot mount a hugetlbfs\n");
		scratch_remove(&s);
		skip();
	}
	huge_pages_change(2);
	if (backend_file_open(&b, s.pool, 2) == -ENOSPC) {
		print_message("skipped: the kernel finds no 2 huge pages (nr_hugepages)\n");
		huge_pages_change(-2);
		umount2(s.pool, MNT_DETACH);
		scratch_remove(&s);
		skip();
	}
	assert_int_equal(b->ops->create(b, "h", 4), 0);
	assert_int_equal(b->ops->open(b, "h", 4, &r), 0);
	assert_int_equal(b->ops->map(&r, 2, 0), 0);
	assert_int_equal(b->ops->resident_bytes(&r, &bytes), 0);
	assert_int_equal(bytes, BLOCK);
	assert_int_equal(b->ops->scan(&r, 0, 1, &present), -EOPNOTSUPP);
	assert_int_equal(b->ops->unmap(&r, 0, 4, NULL, &taken), 0);
	assert_int_equal(b->ops->resident_bytes(&r, &bytes), 0);
	assert_int_equal(bytes, 0);
	b->ops->close(&r);
	b->ops->free(b);
	umount2(s.pool, MNT_DETACH);
	scratch_remove(&s);
	huge_pages_change(-2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(regions), T(a_cut_file_is_made_whole), T(map_and_unmap), T(a_full_file_system),
		T(scan_finds_what_is_there), T(signals_do_not_disturb), T(unfit_directories),
		cmocka_unit_test(unsafe_kernels), cmocka_unit_test(hugetlbfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
