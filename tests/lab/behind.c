// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of the lab that watches how much memory is behind VMs: for bench-lab, which
 * cannot take times from outside. Reads once in a millisecond, and prints each change of
 * a block or more, "NANOSECONDS BYTES", until it is killed.
 *
 *   behind FILE...  what the file system has allocated to these
 *   behind          what KVM has mapped for all VMs
 *   behind now      the time alone, and ends
 *
 * Time is CLOCK_MONOTONIC of the lab, as `ask -t` has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 1000000
#define BLOCK_BYTES (2LL << 20)
#define FILES_MAX 8
#define KVM_DIR "/sys/kernel/debug/kvm/"

static const struct {
	const char *path;
	uint64_t bytes;
} entries[] = {
	{ KVM_DIR "pages_4k", 4096 },
	{ KVM_DIR "pages_2m", 2UL << 20 },
	{ KVM_DIR "pages_1g", 1UL << 30 },
};

static int fds[FILES_MAX];
static int fd_count;

static void die(const char *what)
{
	fprintf(stderr, "behind: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_one(const char *path)
{
	if (fd_count == FILES_MAX) {
		errno = E2BIG;
		die(path);
	}
	fds[fd_count] = open(path, O_RDONLY | O_CLOEXEC);
	if (fds[fd_count++] < 0)
		die(path);
}

static uint64_t of_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	return (uint64_t)st.st_blocks * 512;
}

/* A counter of debugfs is made anew when it is opened. */
static uint64_t of_counter(const char *path)
{
	unsigned long long n;
	FILE *f = fopen(path, "r");

	if (!f || fscanf(f, "%llu", &n) != 1)
		die(path);
	fclose(f);
	return n;
}

static uint64_t look(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < fd_count; i++)
		sum += of_file(fds[i]);
	for (size_t i = 0; !fd_count && i < sizeof(entries) / sizeof(entries[0]); i++)
		sum += of_counter(entries[i].path) * entries[i].bytes;
	return sum;
}

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	long long last = -BLOCK_BYTES;

	if (argc == 2 && !strcmp(argv[1], "now")) {
		printf("%lld\n", now_ns());
		return 0;
	}
	for (int i = 1; i < argc; i++)
		open_one(argv[i]);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (;;) {
		long long got = (long long)look();

		if (llabs(got - last) >= BLOCK_BYTES) {
			printf("%lld %lld\n", now_ns(), got);
			last = got;
		}
		nanosleep(&pause, NULL);
	}
}
