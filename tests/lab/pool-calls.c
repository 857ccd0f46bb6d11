// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-calls BASE BYTES: what a process can ask of the kernel for a window that it has
 * mapped: advice, locking, moving, pinning, the eyes of /proc and of a debugger,
 * tracking of writes, a core dump. Each is refused or does nothing, the contents stay,
 * and the daemon can take its blocks back at any time. All of it for huge entries and
 * for single pages.
 */
#include "pool.h"

#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SLOTS 8
#define PATTERN 0x6d656d6c65617365ULL
#define CORE "/tmp/core"
#define CORE_MOST (1L << 20)	/* bytes; two blocks are behind the window */

/* Where this is built they may not be known. */
#define ADVICE_SOFT_OFFLINE 101
#define ADVICE_COLLAPSE 25
#define ADVICE_GUARD 102
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define TRACK_ASYNC (1 << 15)		/* UFFD_FEATURE_WP_ASYNC */
#define TRACK_UNPOPULATED (1 << 13)	/* UFFD_FEATURE_WP_UNPOPULATED */

static uint32_t window;
static int window_fd;
static char *mem;		/* the mapping that is tried: slots 0 and 1 are resident, the rest vacant */
static char *beside;		/* another, with which nothing is done: it shows what the blocks hold */
static const char *how;

static bool refused(long rc, const char *what)
{
	return ok(rc < 0, "%s: %s is refused (%s)", how, what, rc < 0 ? strerror(errno) : "it was not");
}

static void intact(const char *after)
{
	uint64_t value[2] = { 0, 0 }, zero = 1;
	bool read = !lab_read(mem, &value[0]) && !lab_read(mem + LAB_BLOCK + 4096, &value[1]) &&
		    !lab_read(mem + 5 * LAB_BLOCK, &zero);

	ok(read && value[0] == PATTERN && value[1] == PATTERN + 1 && !zero &&
	   *(volatile uint64_t *)beside == PATTERN, "%s: all is there after %s", how, after);
}

static void test_advice(void)
{
	static const struct { int advice; const char *name; } never[] = {
		{ MADV_DONTNEED, "MADV_DONTNEED" }, { MADV_FREE, "MADV_FREE" }, { MADV_REMOVE, "MADV_REMOVE" },
		{ MADV_COLD, "MADV_COLD" }, { MADV_PAGEOUT, "MADV_PAGEOUT" }, { MADV_DODUMP, "MADV_DODUMP" },
		{ MADV_DOFORK, "MADV_DOFORK" }, { MADV_WIPEONFORK, "MADV_WIPEONFORK" },
		{ MADV_HWPOISON, "MADV_HWPOISON" }, { ADVICE_SOFT_OFFLINE, "MADV_SOFT_OFFLINE" },
		{ ADVICE_COLLAPSE, "MADV_COLLAPSE" }, { ADVICE_GUARD, "MADV_GUARD_INSTALL" },
		{ ADVICE_POPULATE_READ, "MADV_POPULATE_READ" }, { ADVICE_POPULATE_WRITE, "MADV_POPULATE_WRITE" },
		{ ADVICE_DONTNEED_LOCKED, "MADV_DONTNEED_LOCKED" },
	};
	static const int idle[] = { MADV_WILLNEED, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_RANDOM, MADV_SEQUENTIAL,
				    MADV_NORMAL, MADV_KEEPONFORK };

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		refused(madvise(mem, 2 * LAB_BLOCK, never[i].advice), never[i].name);
	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
		madvise(mem, 2 * LAB_BLOCK, idle[i]);
	intact("advice");
}

static void test_locking(void)
{
	unsigned long nodes = 1;
	unsigned char present[2 * LAB_BLOCK / 4096];
	void *page = mem;
	int status = 0;

	mlock(mem, 2 * LAB_BLOCK);
	mlockall(MCL_CURRENT);
	munlockall();
	mincore(mem, 2 * LAB_BLOCK, present);
	refused(msync(mem, 2 * LAB_BLOCK, MS_SYNC), "msync");
	syscall(SYS_mbind, mem, 2 * LAB_BLOCK, 2 /* MPOL_BIND */, &nodes, 8, 2 /* MPOL_MF_MOVE */);
	syscall(SYS_move_pages, 0, 1, &page, &(int){ 0 }, &status, 2);
	ok(status < 0, "%s: no page is moved (%s)", how, strerror(-status));
	intact("locking and moving");
}

static void test_pinning(void)
{
	struct iovec mine = { mem, 4096 }, other;
	char parameters[120] = "", copy[4096];
	int pipes[2], ring, self = open("/proc/self/mem", O_RDWR);

	other = (struct iovec){ copy, sizeof(copy) };
	if (pipe(pipes))
		lab_die("pipe");
	refused(vmsplice(pipes[1], &mine, 1, 0), "vmsplice");
	refused(process_vm_readv(getpid(), &other, 1, &mine, 1, 0), "process_vm_readv");
	refused(process_vm_writev(getpid(), &other, 1, &mine, 1, 0), "process_vm_writev");
	refused(pread(self, copy, 8, (off_t)(uintptr_t)mem), "reading /proc/self/mem");
	refused(pwrite(self, copy, 8, (off_t)(uintptr_t)mem), "writing /proc/self/mem");
	refused(syscall(SYS_futex, mem, FUTEX_WAKE, 1, NULL, NULL, 0), "a futex that is shared");
	ring = syscall(SYS_io_uring_setup, 1, parameters);
	if (ring >= 0) {
		refused(syscall(SYS_io_uring_register, ring, 0 /* IORING_REGISTER_BUFFERS */, &mine, 1),
			"a fixed buffer of io_uring");
		close(ring);
	}
	ok(write(pipes[1], mem, 4096) == 4096 && read(pipes[0], mem, 4096) == 4096,
	   "%s: plain reading and writing are not", how);
	close(pipes[0]);
	close(pipes[1]);
	close(self);
	intact("pinning");
}

static void test_proc(void)
{
	static const char *const eyes[] = { "smaps", "smaps_rollup", "numa_maps", "maps" };
	char path[64], text[4096];
	uint64_t entry = ~0ULL;
	ssize_t got = 1;
	int fd;

	for (size_t i = 0; i < sizeof(eyes) / sizeof(eyes[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", eyes[i]);
		fd = open(path, O_RDONLY);
		for (got = 1; fd >= 0 && got > 0;)
			got = read(fd, text, sizeof(text));
		ok(!got, "%s: %s can be read", how, path);
		close(fd);
	}
	fd = open("/proc/self/pagemap", O_RDONLY);
	ok(pread(fd, &entry, 8, (uintptr_t)mem / 4096 * 8) == 8, "%s: so can its pagemap (%#llx)", how,
	   (unsigned long long)entry);
	close(fd);
	for (int i = 1; i <= 5; i++) {
		fd = open("/proc/self/clear_refs", O_WRONLY);
		dprintf(fd, "%d", i);
		close(fd);
	}
	intact("/proc");
}

/* A write by the kernel, by a way that cannot give up the memory map's lock. */
static void *write_by_futex(void *at)
{
	static int own;

	return (void *)(intptr_t)(syscall(SYS_futex, &own, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1, at,
					  FUTEX_OP(FUTEX_OP_SET, 77, FUTEX_OP_CMP_EQ, 0)) < 0 ? errno : 0);
}

static void test_futex(void)
{
	struct memlease_touch t = {};
	pthread_t thread;
	uint32_t block;
	void *result;

	lab_forget_touches();
	ok((intptr_t)write_by_futex(mem + 5 * LAB_BLOCK) == EFAULT, "%s: the kernel's own write is refused where it must be",
	   how);
	ok(lab_await(MEMLEASE_TOUCH_VIOLATION, &t) && t.slot == 5, "and is told");
	lab_commit(window, 6, 1);
	pthread_create(&thread, NULL, write_by_futex, mem + 6 * LAB_BLOCK);
	lab_nap(300);
	ok(lab_slot(window, 6) == MEMLEASE_SLOT_COMMITTED, "where there is no block it waits");
	*(uint32_t *)lab_block(72) = 0;
	lab_supply(72);
	pthread_join(thread, &result);
	ok(!result && *(uint32_t *)(mem + 6 * LAB_BLOCK) == 77, "until there is one");
	is(lab_change(MEMLEASE_POOL_COMMIT, window, 6, 1, 0, &block), 1, "which is taken back");
}

/* Tracking of writes that asks no one. What it does to its process is that one's affair: the child is killed. */
static void track(bool unpopulated)
{
	struct uffdio_api api = { .api = UFFD_API, .features = TRACK_ASYNC | (unpopulated ? TRACK_UNPOPULATED : 0) };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	char *map = mem;
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	mem = mmap(map, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, window_fd, 0);
	reg.range.start = wp.range.start = (uintptr_t)mem;
	reg.range.len = wp.range.len = SLOTS * LAB_BLOCK;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		_exit(1);
	if (!unpopulated)
		lab_write(mem + 8, 1);
	for (int i = 0; i < 100; i++) {
		if (ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
			_exit(2);
		for (int s = 0; s < SLOTS; s++)
			lab_write(mem + s * LAB_BLOCK + 16, i);
		mprotect(mem, SLOTS * LAB_BLOCK, PROT_READ);
		mprotect(mem, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE);
	}
	_exit(0);
}

static void test_tracking(bool unpopulated)
{
	uint32_t blocks[SLOTS];
	int status = 0, taken = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		track(unpopulated);
	for (int i = 0; i < 50; i++) {
		taken += lab_change(MEMLEASE_POOL_UNMAP, window, 1, 1, 0, blocks) == 1 &&
			 !lab_map(window, 1, blocks[0]);
		lab_nap(10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(taken == 50, "%s: a block is taken and given 50 times while its writes are tracked (%d, %#x)", how, taken, status);
	intact("tracking");
}

static void test_dump(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat st = {};
	int fd = open("/proc/sys/kernel/core_pattern", O_WRONLY), status;
	pid_t pid;

	dprintf(fd, CORE "\n");
	close(fd);
	unlink(CORE);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		char *map = mmap(mem, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, window_fd, 0);
		uint64_t value;

		if (lab_read(map, &value) || value != PATTERN)
			_exit(1);
		setrlimit(RLIMIT_CORE, &limit);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WCOREDUMP(status) && !stat(CORE, &st), "%s: a process dumps core", how);
	ok(st.st_blocks > 0 && st.st_blocks * 512 < CORE_MOST, "without the window (%ld KiB)", (long)st.st_blocks / 2);
	unlink(CORE);
	intact("it");
}

static void test_all(const char *name)
{
	how = name;
	intact("mapping");
	test_advice();
	test_locking();
	test_pinning();
	test_proc();
	test_futex();
	test_tracking(false);
	test_tracking(true);
	test_dump();
}

int main(int argc, char **argv)
{
	uint32_t blocks[SLOTS];
	char *huge, *place;

	if (argc != 3)
		lab_die("usage: pool-calls BASE BYTES");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	window = lab_create("calls", SLOTS);
	window_fd = lab_open_window("calls");
	lab_commit(window, 0, 2);
	for (int i = 0; i < 2; i++) {
		memset(lab_block(70 + i), 0, LAB_BLOCK);
		*(uint64_t *)(lab_block(70 + i) + 4096 * i) = PATTERN + i;
		lab_map(window, i, 70 + i);
	}
	beside = lab_map_window(window_fd, SLOTS);
	huge = mem = lab_map_window(window_fd, SLOTS);
	test_all("huge");
	place = mmap(NULL, (SLOTS + 2) * LAB_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	place = (char *)(((uintptr_t)place + LAB_BLOCK) & ~(LAB_BLOCK - 1)) + 4096;
	mem = mmap(place, SLOTS * LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, window_fd, 0);
	test_all("single pages");
	is(lab_change(MEMLEASE_POOL_UNMAP, window, 0, SLOTS, 0, blocks), 2, "both blocks are taken");
	ok(blocks[0] == 70 && blocks[1] == 71, "and are those that were given");
	ok(*(uint64_t *)lab_block(70) == PATTERN && *(uint64_t *)(lab_block(71) + 4096) == PATTERN + 1,
	   "in which the daemon finds what was there");
	munmap(beside, SLOTS * LAB_BLOCK);
	munmap(huge, SLOTS * LAB_BLOCK);
	munmap(mem, SLOTS * LAB_BLOCK);
	close(window_fd);
	is(lab_remove(window, SLOTS), 0, "the window goes");
	return lab_failures ? 1 : 0;
}
