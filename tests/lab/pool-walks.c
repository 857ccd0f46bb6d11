// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-walks BASE BYTES [NAME]: every call by which a process has the kernel look through a
 * window that it has mapped and touched, one after the other (or the one of this name), each
 * in a process of its own: memory policy and migration, advice of every value, to oneself and
 * through a pidfd, locking, moving, the eyes of /proc, tracking of writes, merging, debuggers,
 * perf, and what can be asked of the file. A call may be refused, do nothing, or end its own
 * process by a signal that is its due; the kernel must live (the lab's stops at a warning),
 * the process must come to its end, and daemon and other mappings must find all as it was.
 * All of it for huge entries and for single pages.
 */
#include "pool.h"

#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SLOTS 8
#define PATTERN 0x6d656d6c65617365ULL
#define LIMIT_S 60		/* of one call, in an emulated machine */
#define BYTES (SLOTS * LAB_BLOCK)
#define PAGE 4096UL

/* Where this is built they may not be known; the numbers are the same everywhere. */
#define CALL_SET_HOME_NODE 450
#define CALL_CACHESTAT 451
#define CALL_MSEAL 462
#define CALL_PROCESS_MADVISE 440
#define CALL_PIDFD_OPEN 434
#define CALL_MEMFD_SECRET 447
#define MOVE_WITHOUT_UNMAP 4	/* MREMAP_DONTUNMAP */
#define MERGE_MEMORY 67		/* PR_SET_MEMORY_MERGE */
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct scan)
#define WP_ASYNC (1 << 15)	/* UFFD_FEATURE_WP_ASYNC */
#define UFFD_MOVE_CALL _IOWR(0xAA, 5, struct uffd_move)
#define UFFD_POISON_CALL _IOWR(0xAA, 8, struct uffd_fill)

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};

struct uffd_fill {
	uint64_t start, len, mode;
	int64_t filled;
};

enum { STRICT = 1, MOVE = 2, MOVE_ALL = 4 };	/* MPOL_MF_ */

static uint32_t window;
static int window_fd;
static char *mem;		/* slots 0 and 1 are resident, the rest vacant */
static const char *how;

static void read_all(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY);

	while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
		;
	close(fd);
}

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return done;
}

/* --- memory policy and migration --------------------------------------------------- */

static void policies(unsigned int flags)
{
	unsigned long node0 = 1;

	/* MPOL_DEFAULT to MPOL_WEIGHTED_INTERLEAVE, of all, of a part, and beyond the window. */
	for (int mode = 0; mode <= 6; mode++) {
		syscall(SYS_mbind, mem, BYTES, mode, mode ? &node0 : NULL, mode ? 64 : 0, flags);
		syscall(SYS_mbind, mem + LAB_BLOCK, LAB_BLOCK, mode, mode ? &node0 : NULL, mode ? 64 : 0, flags);
		syscall(SYS_mbind, mem + 5 * PAGE, PAGE, mode, mode ? &node0 : NULL, mode ? 64 : 0, flags);
		syscall(SYS_mbind, mem - LAB_BLOCK, BYTES + 2 * LAB_BLOCK, mode, mode ? &node0 : NULL, mode ? 64 : 0,
			flags);
	}
}

static void mbind_strict(void) { policies(STRICT); }
static void mbind_move(void) { policies(MOVE); }
static void mbind_move_all(void) { policies(MOVE_ALL); }
static void mbind_strict_move(void) { policies(STRICT | MOVE); }
static void mbind_strict_all(void) { policies(STRICT | MOVE | MOVE_ALL); }

/* As QEMU does for a memory backend with a policy: that must go on working. */
static void mbind_works(void)
{
	unsigned long node0 = 1;

	if (syscall(SYS_mbind, mem, BYTES, 2 /* MPOL_BIND */, &node0, 64, STRICT | MOVE))
		_exit(9);
}

static void home_node(void)
{
	unsigned long node0 = 1;

	syscall(SYS_mbind, mem, BYTES, 2, &node0, 64, 0);
	syscall(CALL_SET_HOME_NODE, mem, BYTES, 0UL, 0UL);
	syscall(CALL_SET_HOME_NODE, mem + PAGE, PAGE, 0UL, 0UL);
}

static void policy_read(void)
{
	int mode;
	unsigned long nodes;

	syscall(SYS_get_mempolicy, &mode, &nodes, 64UL, mem, 2UL /* MPOL_F_ADDR */);
	syscall(SYS_get_mempolicy, &mode, NULL, 0UL, mem, 3UL /* MPOL_F_NODE | MPOL_F_ADDR */);
}

static void migrate(void)
{
	unsigned long from[] = { 1, 2, 3 }, to[] = { 2, 1, 1 };

	for (int i = 0; i < 3; i++)
		syscall(SYS_migrate_pages, 0, 64UL, &from[i], &to[i]);
}

static void move_pages(void)
{
	void *pages[] = { mem, mem + PAGE, mem + LAB_BLOCK, mem + 5 * LAB_BLOCK, mem + 7 * LAB_BLOCK };
	int nodes[5] = { 0 }, status[5];

	for (int flags = 0; flags <= 7; flags++) {
		syscall(SYS_move_pages, 0, 5UL, pages, NULL, status, flags);
		syscall(SYS_move_pages, 0, 5UL, pages, nodes, status, flags);
	}
}

/* The kernel's own balancing between nodes looks at a process every second or so. */
static void balancing(void)
{
	unsigned long node0 = 1;
	double end = lab_seconds() + 3;
	uint64_t value;

	write_to("/proc/sys/kernel/numa_balancing", "1");
	syscall(SYS_set_mempolicy, 2 | 1 << 13 /* MPOL_BIND | MPOL_F_NUMA_BALANCING */, &node0, 64UL);
	while (lab_seconds() < end)
		lab_read(mem, &value);
}

/* --- advice ------------------------------------------------------------------------ */

static void advice(void)
{
	for (int value = 0; value <= 30; value++) {
		madvise(mem, BYTES, value);
		madvise(mem + PAGE, PAGE, value);
	}
	for (int value = 100; value <= 105; value++)
		madvise(mem, 2 * LAB_BLOCK, value);
}

static void advice_by_pidfd(void)
{
	struct iovec parts[2] = { { mem, BYTES }, { mem + PAGE, 3 * PAGE } };
	int pidfd = syscall(CALL_PIDFD_OPEN, getpid(), 0);

	for (int value = 0; value <= 105; value++)
		syscall(CALL_PROCESS_MADVISE, pidfd, parts, 2UL, value, 0U);
}

static void merging(void)
{
	prctl(MERGE_MEMORY, 1, 0, 0, 0);
	write_to("/sys/kernel/mm/ksm/run", "1");
	madvise(mem, BYTES, MADV_MERGEABLE);
	lab_nap(1000);
	madvise(mem, BYTES, MADV_UNMERGEABLE);
	write_to("/sys/kernel/mm/ksm/run", "2");
	prctl(MERGE_MEMORY, 0, 0, 0, 0);
}

static void collapsing(void)
{
	write_to("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "10");
	madvise(mem, BYTES, MADV_HUGEPAGE);
	lab_nap(1000);
	madvise(mem, BYTES, 25 /* MADV_COLLAPSE */);
	madvise(mem, BYTES, MADV_NOHUGEPAGE);
}

/* The kernel looks for pages that it could do without, by LRU generations where it has them. */
static void reclaim(void)
{
	write_to("/sys/kernel/mm/lru_gen/enabled", "7");
	write_to("/proc/sys/vm/drop_caches", "3");
	write_to("/proc/sys/vm/compact_memory", "1");
	write_to("/sys/fs/cgroup/memory.reclaim", "4M");
	for (int generation = 0; generation < 6; generation++) {
		char text[40];

		snprintf(text, sizeof(text), "+ 1 0 %d 1 1\n", generation);
		write_to("/sys/kernel/debug/lru_gen", text);
	}
}

/* --- locking, protecting, moving ---------------------------------------------------- */

static void locking(void)
{
	unsigned char present[BYTES / PAGE];

	mlock(mem, BYTES);
	syscall(SYS_mlock2, mem, BYTES, 1 /* MLOCK_ONFAULT */);
	munlock(mem, BYTES);
	mlockall(MCL_CURRENT);
	mlockall(MCL_CURRENT | MCL_FUTURE | 4 /* MCL_ONFAULT */);
	munlockall();
	mincore(mem, BYTES, present);
	for (int flags = 0; flags <= 7; flags++)
		msync(mem, BYTES, flags);
}

static void sealing(void)
{
	if (!syscall(CALL_MSEAL, mem, BYTES, 0UL) && !munmap(mem, LAB_BLOCK))
		_exit(9);
	madvise(mem, BYTES, MADV_DONTNEED);
	mprotect(mem, BYTES, PROT_READ);
}

static void protecting(void)
{
	static const int kinds[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_WRITE, PROT_READ | PROT_WRITE };
	uint64_t value;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		mprotect(mem, BYTES, kinds[i]);
		lab_read(mem, &value);
		mprotect(mem + PAGE, PAGE, kinds[i]);
		mprotect(mem + LAB_BLOCK, LAB_BLOCK, kinds[i]);
		syscall(SYS_pkey_mprotect, mem, BYTES, kinds[i], -1);
		lab_read(mem + LAB_BLOCK, &value);
	}
	mprotect(mem, BYTES, PROT_READ | PROT_WRITE);
}

static void moving(void)
{
	char *place = mmap(NULL, 4 * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t value;
	char *now;

	mremap(mem, BYTES, BYTES, MREMAP_MAYMOVE | MOVE_WITHOUT_UNMAP);
	mremap(mem, BYTES, 2 * BYTES, MREMAP_MAYMOVE);
	mremap(mem, 0, BYTES, MREMAP_MAYMOVE);
	now = mremap(mem, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place + PAGE);
	now = now == MAP_FAILED ? mem : now;
	lab_read(now, &value);
	mem = mremap(now, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, now + 2 * BYTES);
	mem = mem == MAP_FAILED ? now : mem;
	syscall(SYS_remap_file_pages, mem, LAB_BLOCK, 0, LAB_BLOCK / PAGE, 0);
	syscall(SYS_remap_file_pages, mem, BYTES, 0, 1UL << 40, 0);
	syscall(SYS_remap_file_pages, mem, BYTES, 0, 0, 0x10000 /* MAP_NONBLOCK */);
	lab_read(mem, &value);
	munmap(mem + PAGE, PAGE);
	munmap(mem + LAB_BLOCK, LAB_BLOCK);
	mremap(mem, 2 * PAGE, PAGE, 0);
}

/* --- eyes ---------------------------------------------------------------------------- */

static void eyes(void)
{
	static const char *const files[] = { "maps", "smaps", "smaps_rollup", "numa_maps", "map_files", "stat", "statm",
					     "status", "oom_score", "environ", "auxv" };
	char path[64];
	uint64_t entries[SLOTS];
	int fd;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		read_all(path);
	}
	fd = open("/proc/self/pagemap", O_RDONLY);
	pread(fd, entries, sizeof(entries), (uintptr_t)mem / PAGE * 8);
	pread(fd, entries, sizeof(entries), (uintptr_t)(mem + 5 * LAB_BLOCK) / PAGE * 8);
	close(fd);
	for (int i = 1; i <= 5; i++) {
		char digit[2] = { '0' + i, 0 };

		write_to("/proc/self/clear_refs", digit);
		read_all("/proc/self/smaps");
	}
}

static void scan(int fd, uint64_t flags, uint64_t mask)
{
	uint64_t regions[3 * 64];
	struct scan s = { .size = sizeof(s), .flags = flags, .start = (uintptr_t)mem, .end = (uintptr_t)mem + BYTES,
			  .vec = (uintptr_t)regions, .vec_len = 64, .category_mask = mask, .return_mask = 0xff };

	ioctl(fd, PAGEMAP_SCAN_CALL, &s);
	s.category_mask = 0;
	s.category_anyof_mask = mask;
	ioctl(fd, PAGEMAP_SCAN_CALL, &s);
}

static void scanning(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (uint64_t flags = 0; flags <= 3; flags++) {
		for (int bit = 0; bit < 8; bit++)
			scan(fd, flags, 1U << bit);
		scan(fd, flags, 0);
	}
	close(fd);
}

static void debugging(void)
{
	char copy[64];
	struct iovec mine = { copy, sizeof(copy) }, its = { mem, sizeof(copy) };
	int status, tracked = -1;
	pid_t pid = getpid(), debugger = fork();

	if (!debugger) {
		char path[64];
		int fd;

		if (ptrace(PTRACE_ATTACH, pid, NULL, NULL))
			_exit(1);
		waitpid(pid, &status, 0);
		ptrace(PTRACE_PEEKDATA, pid, mem, NULL);
		ptrace(PTRACE_POKEDATA, pid, mem, 1UL);
		process_vm_readv(pid, &mine, 1, &its, 1, 0);
		process_vm_writev(pid, &mine, 1, &its, 1, 0);
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		fd = open(path, O_RDWR);
		pread(fd, copy, sizeof(copy), (off_t)(uintptr_t)mem);
		pwrite(fd, copy, sizeof(copy), (off_t)(uintptr_t)mem);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		_exit(0);
	}
	if (waitpid(debugger, &tracked, 0) != debugger || tracked)
		_exit(9);
}

static int perf(struct perf_event_attr *attr)
{
	attr->size = sizeof(*attr);
	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0UL);
}

static void profiling(void)
{
	struct perf_event_attr clock = { .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
					 .sample_period = 100000,
					 .sample_type = PERF_SAMPLE_ADDR | PERF_SAMPLE_IP | PERF_SAMPLE_PHYS_ADDR |
							PERF_SAMPLE_DATA_PAGE_SIZE | PERF_SAMPLE_CODE_PAGE_SIZE };
	struct perf_event_attr faults = clock;
	double end = lab_seconds() + 1;
	int fds[2];
	uint64_t value;

	faults.config = PERF_COUNT_SW_PAGE_FAULTS;
	faults.sample_period = 1;
	fds[0] = perf(&clock);
	fds[1] = perf(&faults);
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
	}
	while (lab_seconds() < end) {
		mprotect(mem, LAB_BLOCK, PROT_READ);
		lab_read(mem, &value);
		mprotect(mem, LAB_BLOCK, PROT_READ | PROT_WRITE);
		lab_write(mem + 16, value);
	}
}

/* A breakpoint in the file of the window. */
static void probing(void)
{
	char text[16] = "";
	struct perf_event_attr probe = { .config1 = (uintptr_t)(MEMLEASE_POOL_WINDOWS "walks"), .config2 = 0 };
	int fd = open("/sys/bus/event_source/devices/uprobe/type", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	probe.type = atoi(text);
	perf(&probe);
	mprotect(mem, BYTES, PROT_READ | PROT_EXEC);
	mmap(NULL, LAB_BLOCK, PROT_READ | PROT_EXEC, MAP_SHARED, window_fd, 0);
}

/* --- tracking of writes ------------------------------------------------------------------ */

static void tracking(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC };
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)mem, BYTES }, .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	char *other = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC), pagemap = open("/proc/self/pagemap", O_RDONLY);

	ioctl(fd, UFFDIO_API, &api);
	/* MISSING, WP, MINOR, and what goes together. */
	for (uint64_t mode = 1; mode <= 7; mode++) {
		struct uffdio_register reg = { .range = wp.range, .mode = mode };
		struct uffdio_copy copy = { .dst = (uintptr_t)mem, .src = (uintptr_t)other, .len = LAB_BLOCK };
		struct uffdio_zeropage zero = { .range = { (uintptr_t)mem, LAB_BLOCK } };
		struct uffd_move to = { .dst = (uintptr_t)mem, .src = (uintptr_t)other, .len = LAB_BLOCK };
		struct uffd_move from = { .dst = (uintptr_t)other, .src = (uintptr_t)mem, .len = LAB_BLOCK };
		struct uffd_fill poison = { .start = (uintptr_t)mem, .len = LAB_BLOCK };

		ioctl(fd, UFFDIO_REGISTER, &reg);
		ioctl(fd, UFFDIO_WRITEPROTECT, &wp);
		scan(pagemap, 3, 0);
		ioctl(fd, UFFDIO_COPY, &copy);
		ioctl(fd, UFFDIO_ZEROPAGE, &zero);
		ioctl(fd, UFFD_MOVE_CALL, &to);
		ioctl(fd, UFFD_MOVE_CALL, &from);
		ioctl(fd, UFFD_POISON_CALL, &poison);
		ioctl(fd, UFFDIO_UNREGISTER, &wp.range);
	}
}

/* --- the file, and what stands beside --------------------------------------------------- */

static void file_calls(void)
{
	uint64_t range[2] = { 0, BYTES }, stat[5];
	int other = open("/tmp/other", O_RDWR | O_CREAT, 0600), pipes[2];

	for (int advise = 0; advise <= 5; advise++)
		syscall(SYS_fadvise64, window_fd, 0UL, BYTES, advise);
	syscall(CALL_CACHESTAT, window_fd, range, stat, 0U);
	readahead(window_fd, 0, BYTES);
	sync_file_range(window_fd, 0, BYTES, 7);
	fsync(window_fd);
	syncfs(window_fd);
	if (!ftruncate(window_fd, 0) || !fallocate(window_fd, 0, 0, BYTES) || !fallocate(window_fd, 3, 0, BYTES))
		_exit(9);
	sendfile(other, window_fd, &(off_t){ 0 }, PAGE);
	copy_file_range(window_fd, &(off_t){ 0 }, other, &(off_t){ 0 }, PAGE, 0);
	if (!pipe(pipes))
		splice(window_fd, &(off_t){ 0 }, pipes[1], NULL, PAGE, 0);
	unlink("/tmp/other");
}

static void secrets(void)
{
	int fd = syscall(CALL_MEMFD_SECRET, 0U);

	if (fd < 0 || ftruncate(fd, LAB_BLOCK))
		return;
	mmap(mem + BYTES, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	policies(STRICT | MOVE);
	madvise(mem, BYTES + LAB_BLOCK, MADV_PAGEOUT);
}

/* What the kernel writes to a process when it ends, and names that it gives. */
static void endings(void)
{
	syscall(SYS_set_tid_address, mem + 6 * LAB_BLOCK);
	prctl(PR_SET_MM, PR_SET_MM_BRK, mem, 0, 0);
	prctl(0x53564d41 /* PR_SET_VMA */, 0, mem, BYTES, "window");
	syscall(SYS_set_robust_list, mem + LAB_BLOCK + 64, 24UL);
}

/* --------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} calls[] = {
	{ "mbind-strict", mbind_strict }, { "mbind-move", mbind_move }, { "mbind-move-all", mbind_move_all },
	{ "mbind-strict-move", mbind_strict_move }, { "mbind-strict-move-all", mbind_strict_all },
	{ "mbind-works", mbind_works }, { "home-node", home_node }, { "get-mempolicy", policy_read },
	{ "migrate-pages", migrate }, { "move-pages", move_pages }, { "numa-balancing", balancing },
	{ "madvise", advice }, { "process-madvise", advice_by_pidfd }, { "ksm", merging }, { "khugepaged", collapsing },
	{ "reclaim", reclaim }, { "mlock", locking }, { "mseal", sealing }, { "mprotect", protecting },
	{ "mremap", moving }, { "proc", eyes }, { "pagemap-scan", scanning }, { "ptrace", debugging },
	{ "perf", profiling }, { "uprobe", probing }, { "userfaultfd", tracking }, { "file", file_calls },
	{ "memfd-secret", secrets }, { "exit", endings },
};

/* In a child: the mapping anew, for none is inherited, with something behind it and on both sides. */
static void prepare(void)
{
	uint64_t value;

	mmap(mem - LAB_BLOCK, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(mem + BYTES, LAB_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mem[-PAGE] = mem[BYTES] = 1;
	if (mmap(mem, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, window_fd, 0) != mem)
		_exit(1);
	for (int slot = 0; slot < SLOTS; slot++) {
		if (lab_read(mem + slot * LAB_BLOCK, &value) || value != (slot < 2 ? PATTERN + slot : 0))
			_exit(2);
	}
	lab_write(mem + 8, 1);
	lab_write(mem + LAB_BLOCK + 8, 1);
}

/* True: the child is at its end, and *status is how. */
static bool await_end(pid_t pid, int *status)
{
	double end = lab_seconds() + LIMIT_S;

	while (lab_seconds() < end) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		lab_nap(5);
	}
	kill(pid, SIGKILL);
	return false;
}

static void try(size_t i)
{
	uint32_t blocks[SLOTS];
	int status = -1;
	bool ended, back;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prepare();
		calls[i].run();
		_exit(0);
	}
	ended = await_end(pid, &status);
	back = lab_change(MEMLEASE_POOL_UNMAP, window, 0, 2, 0, blocks) == 2 && blocks[0] == 70 && blocks[1] == 71 &&
	       *(uint64_t *)lab_block(70) == PATTERN && *(uint64_t *)lab_block(71) == PATTERN + 1;
	back = back && !lab_map(window, 0, 70) && !lab_map(window, 1, 71);
	ok(ended && status == 0 && back, "%s: %s (status %#x%s)", how, calls[i].name, status,
	   ended ? "" : ", and it hangs");
}

static void try_all(const char *name, char *place, const char *only)
{
	how = name;
	mem = place;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (!only || !strcmp(only, calls[i].name))
			try(i);
	}
}

int main(int argc, char **argv)
{
	const char *only = argc > 3 ? argv[3] : NULL;
	char *place;

	if (argc < 3)
		lab_die("usage: pool-walks BASE BYTES [NAME]");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	window = lab_create("walks", SLOTS);
	window_fd = lab_open_window("walks");
	lab_commit(window, 0, 2);
	for (int i = 0; i < 2; i++) {
		memset(lab_block(70 + i), 0, LAB_BLOCK);
		*(uint64_t *)lab_block(70 + i) = PATTERN + i;
		lab_map(window, i, 70 + i);
	}
	/* Room for the window and a block on either side, which children map. */
	place = mmap(NULL, BYTES + 4 * LAB_BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	place = (char *)(((uintptr_t)place + 2 * LAB_BLOCK - 1) & ~(LAB_BLOCK - 1));
	try_all("huge", place, only);
	try_all("single pages", place + PAGE, only);
	close(window_fd);
	is(lab_remove(window, SLOTS), 0, "the window goes");
	return lab_failures ? 1 : 0;
}
