// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-busy BASE BYTES: how long the daemon's changes of a window take while processes that map it
 * keep the lock of their memory map: for reading, in a call that cannot give it up while a block is
 * waited for, and in long walks; and for writing. All VMs share the daemon, so no change may wait
 * for more than a moment, the first neither. And how many processes can map a window.
 */
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define SLOTS 128
#define CHANGES 64
#define THREADS 4
#define BLOCKS 70		/* of the window, from here on */
#define OTHER 69
#define MOVES 200		/* until one is refused */
#define FIELD (512UL << 20)	/* bytes of zero pages that are walked over */
/* What the changes may take altogether, and ten times as long as undisturbed; with 100 ms for each it would be 6.4 s. */
#define SLACK_S 4
#define MOMENT_S 0.06		/* the longest of them: 2 ms, and what an emulated processor adds */
#define TRIES 5			/* for a processor that others had meanwhile */
#define PROCESSES 8		/* that can map a window */

static uint32_t window;
static char *field;

/* A lock on a slot that is committed and has no block: the kernel waits for one with the lock of the map. */
static void *lock_futex(void *at)
{
	for (;;)
		syscall(SYS_futex, at, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
	return NULL;
}

static void *walk(void *unused)
{
	(void)unused;
	for (;;)
		madvise(field, FIELD, MADV_COLD);
	return NULL;
}

static void *protect(void *unused)
{
	(void)unused;
	for (;;) {
		mprotect(field, FIELD, PROT_NONE);
		mprotect(field, FIELD, PROT_READ);
	}
	return NULL;
}

/* A process that maps the window and does that with several threads; when they do it, *ready. */
static pid_t start(void *(*doing)(void *), volatile int *ready)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		char *mem = lab_map_window(lab_open_window("busy"), SLOTS);
		pthread_t thread;

		/* What is looked at is the lock, not who gets the processor. */
		if (setpriority(PRIO_PROCESS, 0, 19))
			lab_die("setpriority");
		field = mmap(NULL, FIELD, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		madvise(field, FIELD, MADV_NOHUGEPAGE);
		for (size_t at = 0; at < FIELD && doing != lock_futex; at += 4096)
			(void)*(volatile char *)(field + at);
		for (int i = 0; i < THREADS; i++)
			pthread_create(&thread, NULL, doing, mem + (SLOTS - 1 - i) * LAB_BLOCK);
		*ready = 1;
		pause();
	}
	return pid;
}

/* Take a block and give it back, so many times; seconds, or -1. *longest: of one, seconds. */
static double changes(double *longest)
{
	double began = lab_seconds(), one;
	uint32_t block;

	*longest = 0;
	for (int i = 0; i < CHANGES; i++) {
		one = lab_seconds();
		if (lab_change(MEMLEASE_POOL_UNMAP, window, i, 1, 0, &block) != 1 || lab_map(window, i, block))
			return -1;
		one = lab_seconds() - one;
		*longest = one > *longest ? one : *longest;
	}
	return lab_seconds() - began;
}

static void begin(void)
{
	window = lab_create("busy", SLOTS);
	lab_commit(window, 0, SLOTS);
	for (int i = 0; i < CHANGES; i++)
		lab_map(window, i, BLOCKS + i);
}

/* The block of slot 0, once a move was refused: now and then the lock is to be had. */
static int busy_move(void)
{
	int block = BLOCKS, rc = 0;

	for (int i = 0; i < MOVES && rc != -ETIME; i++) {
		rc = lab_try_move(window, 0, OTHER + BLOCKS - block);
		if (rc >= 0)
			block = OTHER + BLOCKS - block;
	}
	is(rc, -ETIME, "a block is not moved meanwhile");
	ok(lab_slot(window, 0) == (MEMLEASE_SLOT_RESIDENT | (uint32_t)block << 2), "and stays where it was");
	return block;
}

/* One window that is kept busy: its changes, and a move, which is left. */
static double busy_changes(void *(*doing)(void *), double *longest)
{
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	double took;
	int block;

	begin();
	pid = start(doing, ready);
	while (!*ready)
		lab_nap(10);
	lab_nap(300);
	took = changes(longest);
	block = doing == lock_futex ? busy_move() : 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (doing == lock_futex)
		ok(lab_move(window, 0, OTHER + BLOCKS - block) == block, "it is when the process is gone");
	munmap((void *)ready, 4096);
	is(lab_remove(window, SLOTS), 0, "the window goes");
	return took;
}

static void test_busy(const char *name, void *(*doing)(void *), double undisturbed)
{
	double took = 0, longest = 0;

	for (int i = 0; i < TRIES && (!i || (doing == lock_futex && longest >= MOMENT_S)); i++)
		took = busy_changes(doing, &longest);
	ok(took >= 0 && took < SLACK_S + 10 * undisturbed,
	   "%s: %d changes of its window take %.0f ms (%.0f undisturbed)", name, CHANGES, took * 1e3, undisturbed * 1e3);
	if (doing == lock_futex)	/* who waits takes no processor from us */
		ok(longest < MOMENT_S, "and none of them more than a moment (%.1f ms)", longest * 1e3);
}

static pid_t map_and_stay(int *status)
{
	int pipes[2];
	char answer = 1;
	pid_t pid;

	fflush(stdout);
	if (pipe(pipes))
		lab_die("pipe");
	pid = fork();
	if (!pid) {
		void *p = mmap(NULL, LAB_BLOCK, PROT_READ, MAP_SHARED, lab_open_window("busy"), 0);

		answer = p == MAP_FAILED ? errno : 0;
		if (write(pipes[1], &answer, 1) == 1)
			pause();
		_exit(1);
	}
	if (read(pipes[0], &answer, 1) != 1)
		lab_die("a process that was to map the window");
	*status = answer;
	close(pipes[0]);
	close(pipes[1]);
	return pid;
}

static void test_processes(void)
{
	pid_t pids[PROCESSES + 1];
	int status[PROCESSES + 1], failed = 0;

	for (int i = 0; i <= PROCESSES; i++)
		pids[i] = map_and_stay(&status[i]);
	for (int i = 0; i < PROCESSES; i++)
		failed += !!status[i];
	ok(!failed, "%d processes can map a window", PROCESSES);
	ok(status[PROCESSES] == EUSERS, "one more cannot: the daemon would not wait for it (%s)", strerror(status[PROCESSES]));
	kill(pids[0], SIGKILL);
	waitpid(pids[0], NULL, 0);
	pids[0] = map_and_stay(&status[0]);
	ok(!status[0], "until one of them is gone");
	for (int i = 0; i <= PROCESSES; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

int main(int argc, char **argv)
{
	double undisturbed, longest;

	if (argc != 3)
		lab_die("usage: pool-busy BASE BYTES");
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	lab_supply_clear();
	begin();
	undisturbed = changes(&longest);
	test_processes();
	is(lab_remove(window, SLOTS), 0, "the window goes");
	test_busy("futexes that wait for blocks", lock_futex, undisturbed);
	test_busy("long walks", walk, undisturbed);
	test_busy("changes of the map", protect, undisturbed);
	return lab_failures ? 1 : 0;
}
