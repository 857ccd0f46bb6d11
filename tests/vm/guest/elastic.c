// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that uses memory and lets go of it, as fast as it can.
 * Called by the benchmarks, which measure what the host sees of it; it checks
 * nothing (hog.c does).
 *
 *   elastic touch MIB   take so much memory and write to each page of it; ends
 *                       when that is done, and leaves a process that holds it
 *   elastic free        end that process; ends when its memory is free
 *   elastic total MIB   wait until the kernel has so much memory in all
 *   elastic count FILE N   wait until the number in a file is N at least; print it
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define HOLDER "/run/elastic.pid"
#define LOOK_NS 1000000

static void die(const char *what)
{
	fprintf(stderr, "elastic: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void look_later(void)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };

	nanosleep(&pause, NULL);
}

/* The holder: says "." when all is touched, and stays until it is killed. */
static void hold(size_t bytes, int done)
{
	volatile char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t at = 0; at < bytes; at += PAGE_BYTES)
		p[at] = 1;
	if (write(done, ".", 1) != 1)
		die("write");
	close(done);
	for (;;)
		pause();
}

static int touch(size_t bytes)
{
	double began = now();
	int done[2];
	char c;
	pid_t pid;
	FILE *file;

	if (pipe(done))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		/* Nobody waits for the output of who stays. */
		close(done[0]);
		close(0);
		close(1);
		close(2);
		hold(bytes, done[1]);
	}
	close(done[1]);
	if (read(done[0], &c, 1) != 1) {
		fprintf(stderr, "elastic: the process that should hold %zu MiB ended\n", bytes >> 20);
		return 1;
	}
	printf("%.6f\n", now() - began);
	file = fopen(HOLDER, "w");
	if (!file)
		die(HOLDER);
	fprintf(file, "%d\n", (int)pid);
	return fclose(file) ? 1 : 0;
}

/* A process's memory is free before its end can be seen through a pidfd. */
static int let_go(void)
{
	FILE *file = fopen(HOLDER, "r");
	struct pollfd ended = { .events = POLLIN };
	double began = now();
	int pid;

	if (!file || fscanf(file, "%d", &pid) != 1)
		die(HOLDER);
	fclose(file);
	ended.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (ended.fd < 0 || kill(pid, SIGKILL))
		die("no process holds memory");
	if (poll(&ended, 1, -1) != 1)
		die("poll");
	unlink(HOLDER);
	printf("%.6f\n", now() - began);
	return 0;
}

static int wait_total(size_t bytes)
{
	struct sysinfo info;

	for (;;) {
		if (sysinfo(&info))
			die("sysinfo");
		if ((size_t)info.totalram * info.mem_unit >= bytes)
			return 0;
		look_later();
	}
}

static int wait_count(const char *path, unsigned long long n)
{
	unsigned long long got;
	FILE *file;

	for (;;) {
		file = fopen(path, "r");
		if (!file || fscanf(file, "%llu", &got) != 1)
			die(path);
		fclose(file);
		if (got >= n) {
			printf("%llu\n", got);
			return 0;
		}
		look_later();
	}
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) << 20 : 0;

	if (argc == 3 && !strcmp(argv[1], "touch"))
		return touch(bytes);
	if (argc == 2 && !strcmp(argv[1], "free"))
		return let_go();
	if (argc == 3 && !strcmp(argv[1], "total"))
		return wait_total(bytes);
	if (argc == 4 && !strcmp(argv[1], "count"))
		return wait_count(argv[2], strtoull(argv[3], NULL, 10));
	fprintf(stderr, "usage: elastic touch MIB | free | total MIB | count FILE N\n");
	return 2;
}
