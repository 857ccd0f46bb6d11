// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that asks for much at once, of the kind that the kernel
 * must find memory for. Its arguments are steps, carried out one after the other;
 * it prints a line after each, with the seconds since it began, and ends with
 * status 1 as soon as one fails.
 *
 *   grab:MIB:N     N processes take MIB each and touch every page, as fast as they
 *                  can, all at once; then they end
 *   swing:MIB:N    take MIB, touch it and give it back, N times, 50 ms each way
 *   fork:N         have N processes at once, each with a few pages of its own, and
 *                  end them when all are there
 *   files:N        hold N open files, of which none was there before, then close
 *                  and remove them
 *   pipes:MIB:MS   fill pipes with so much, which only the kernel's own memory can
 *                  hold, keep them for MS and close them
 *   sieve:MIB      the same, and then free every second page of it; the rest is kept to
 *                  the end. What is free of it is in single pages, between pages that
 *                  nothing moves
 *   rings:N        N empty pipes, to the end; for each the kernel needs 16 KiB in one piece
 *   names:N        ask for so many names of files that do not exist
 *   read:FILE:N    read all of a file N times, 1 MiB at a time
 *   huge:N:MS      touch N pages of 2 MiB one after the other, MS apart; prints how
 *                  many of them the kernel could give in one piece
 */
#define _GNU_SOURCE	/* F_SETPIPE_SZ, closefrom() */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)
#define HUGE_BYTES (2 * MIB)
#define PAGE_BYTES 4096
#define FORK_PAGES 8	/* that each process of a fork storm writes to */
#define FILES_A_DIRECTORY 1000

static double began;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void touch(char *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE_BYTES)
		*(volatile char *)(p + at) = 1;
}

/* All children so far must have ended well. */
static void wait_all(size_t n)
{
	while (n--) {
		int status;

		if (wait(&status) < 0)
			die("wait");
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			errno = 0;
			die(WIFSIGNALED(status) ? "a process was killed" : "a process failed");
		}
	}
}

static pid_t child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	return pid;
}

static void grab(size_t mib, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (child())
			continue;
		touch(map(mib * MIB), mib * MIB);
		_exit(0);
	}
	wait_all(n);
}

static void swing(size_t mib, size_t n)
{
	while (n--) {
		char *p = map(mib * MIB);

		touch(p, mib * MIB);
		usleep(50000);
		munmap(p, mib * MIB);
		usleep(50000);
	}
}

/* The kernel remembers each of them, as a name that stands for nothing. */
static void names_storm(size_t n)
{
	char path[64];

	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/nothing-%zu", i);
		if (!access(path, F_OK))
			die(path);
	}
}

static void fork_storm(size_t n)
{
	struct rlimit many = { .rlim_cur = n + 1000, .rlim_max = n + 1000 };
	int there[2], go[2];
	char byte = 0;

	setrlimit(RLIMIT_NPROC, &many);
	if (pipe(there) < 0 || pipe(go) < 0)
		die("pipe");
	for (size_t i = 0; i < n; i++) {
		if (child())
			continue;
		close(go[1]);
		touch(map(FORK_PAGES * PAGE_BYTES), FORK_PAGES * PAGE_BYTES);
		if (write(there[1], &byte, 1) != 1)
			_exit(1);
		/* Ends when the parent closes its end. */
		_exit(read(go[0], &byte, 1) != 0);
	}
	for (size_t i = 0; i < n; i++)
		if (read(there[0], &byte, 1) != 1)
			die("a process did not come up");
	close(go[1]);
	wait_all(n);
	close(go[0]);
	close(there[0]);
	close(there[1]);
}

static void name_file(char *name, size_t room, size_t i)
{
	snprintf(name, room, "/tmp/storm/%zu/%zu", i / FILES_A_DIRECTORY, i);
}

static void allow_files(size_t n)
{
	struct rlimit many = { .rlim_cur = n + 100, .rlim_max = n + 100 };

	if (setrlimit(RLIMIT_NOFILE, &many) < 0)
		die("setrlimit");
}

static void open_files(size_t n)
{
	char name[64];

	allow_files(n);
	mkdir("/tmp/storm", 0755);
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "/tmp/storm/%zu", i / FILES_A_DIRECTORY);
		mkdir(name, 0755);
		name_file(name, sizeof(name), i);
		if (open(name, O_RDWR | O_CREAT, 0600) < 0)
			die(name);
	}
	closefrom(3);
	for (size_t i = 0; i < n; i++) {
		name_file(name, sizeof(name), i);
		if (unlink(name) < 0)
			die(name);
	}
}

/* A pipe for 1 MiB. */
static void open_pipe(int ends[2])
{
	if (pipe(ends) < 0)
		die("pipe");
	if (fcntl(ends[1], F_SETPIPE_SZ, MIB) < 0)
		die("F_SETPIPE_SZ");
}

static void write_all(int fd, const char *bytes, size_t n)
{
	if (write(fd, bytes, n) != (ssize_t)n)
		die("write");
}

static void fill_pipes(size_t mib, size_t ms)
{
	static char bytes[MIB];

	allow_files(2 * mib);
	for (size_t i = 0; i < mib; i++) {
		int ends[2];

		open_pipe(ends);
		write_all(ends[1], bytes, MIB);
	}
	usleep(ms * 1000);
	closefrom(3);
}

static void open_rings(size_t n)
{
	int ends[2];

	allow_files(2 * n + 1000);
	while (n--)
		open_pipe(ends);
}

/* By page, in turns to a pipe that is kept and to one that is closed when all are full. */
static void sieve(size_t mib)
{
	static char page[PAGE_BYTES];
	size_t pairs = mib / 2;
	int (*passing)[2] = calloc(pairs, sizeof(*passing));

	if (!passing)
		die("calloc");
	allow_files(4 * pairs);
	for (size_t i = 0; i < pairs; i++) {
		int kept[2];

		open_pipe(kept);
		open_pipe(passing[i]);
		for (size_t n = 0; n < MIB / PAGE_BYTES; n++) {
			write_all(kept[1], page, PAGE_BYTES);
			write_all(passing[i][1], page, PAGE_BYTES);
		}
	}
	for (size_t i = 0; i < pairs; i++) {
		close(passing[i][0]);
		close(passing[i][1]);
	}
	free(passing);
}

static void read_file(const char *name, size_t times)
{
	static char buffer[MIB];

	while (times--) {
		int fd = open(name, O_RDONLY);
		ssize_t got;

		if (fd < 0)
			die(name);
		while ((got = read(fd, buffer, sizeof(buffer))) > 0)
			;
		if (got < 0)
			die(name);
		close(fd);
	}
}

/* The pages of 2 MiB that this process has, from what the kernel says. */
static size_t huge_held(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	size_t kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib / 2048;
}

static void huge(size_t n, size_t ms)
{
	char *p = map((n + 1) * HUGE_BYTES);

	p += HUGE_BYTES - (size_t)p % HUGE_BYTES;
	if (madvise(p, n * HUGE_BYTES, MADV_HUGEPAGE) < 0)
		die("madvise");
	for (size_t i = 0; i < n; i++) {
		p[i * HUGE_BYTES] = 1;
		if (ms)
			usleep(ms * 1000);
	}
	printf("huge pages: %zu of %zu\n", huge_held(), n);
}

/* The numbers of NAME:A:B, with B = 1 where it is not given. */
static bool is(const char *step, const char *name, size_t *a, size_t *b)
{
	size_t n = strlen(name);

	*b = 1;
	return !strncmp(step, name, n) && step[n] == ':' && sscanf(step + n + 1, "%zu:%zu", a, b) >= 1;
}

static void carry_out(char *step)
{
	size_t a, b;

	if (is(step, "grab", &a, &b)) {
		grab(a, b);
	} else if (is(step, "swing", &a, &b)) {
		swing(a, b);
	} else if (is(step, "fork", &a, &b)) {
		fork_storm(a);
	} else if (is(step, "names", &a, &b)) {
		names_storm(a);
	} else if (is(step, "files", &a, &b)) {
		open_files(a);
	} else if (is(step, "pipes", &a, &b)) {
		fill_pipes(a, b);
	} else if (is(step, "sieve", &a, &b)) {
		sieve(a);
	} else if (is(step, "rings", &a, &b)) {
		open_rings(a);
	} else if (is(step, "huge", &a, &b)) {
		huge(a, b);
	} else if (!strncmp(step, "read:", 5) && strrchr(step, ':') > step + 5) {
		char *times = strrchr(step, ':');

		*times = '\0';
		read_file(step + 5, strtoul(times + 1, NULL, 10));
		*times = ':';
	} else {
		fprintf(stderr, "storm: no such step: %s\n", step);
		exit(2);
	}
	printf("%8.3f %s\n", now() - began, step);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	began = now();
	for (int i = 1; i < argc; i++)
		carry_out(argv[i]);
	puts("done");
	return 0;
}
