// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of the lab that maps a region of a VM's memory as QEMU does (a window's
 * device, or a file), in the place of a QEMU that a guest has taken over, and of a
 * process that looks for another VM's data.
 *
 *   window scan REGION WORD   count what is there: words of 8 bytes that are WORD (8
 *                             characters), zero, or others; one line
 *   window write REGION MIB   write a byte there: prints "written", or "SIGBUS"
 *   window peek REGION OFFSET print the word of 8 bytes there in each block, a line each
 *   window touch REGION MIB   look at each block of so much of it; one line
 *   window beyond REGION      try to map what lies after its end: prints the error
 *
 * A look at a slot that is committed and has no block gives it one.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORD_BYTES 8
#define BLOCK_BYTES (2UL << 20)

static sigjmp_buf escape;

static void die(const char *what)
{
	fprintf(stderr, "window: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_bus(int signal)
{
	siglongjmp(escape, signal);
}

static int open_region(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static size_t size_of(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		die("size");
	return (size_t)end;
}

static int scan(const char *path, const char *word)
{
	int fd = open_region(path, O_RDWR);
	size_t bytes = size_of(fd), found = 0, zeros = 0, others = 0;
	const uint64_t *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t wanted;

	if (p == MAP_FAILED)
		die("mmap");
	memcpy(&wanted, word, WORD_BYTES);
	for (size_t i = 0; i < bytes / WORD_BYTES; i++) {
		found += p[i] == wanted;
		zeros += !p[i];
		others += p[i] && p[i] != wanted;
	}
	printf("found %zu zeros %zu others %zu\n", found, zeros, others);
	return 0;
}

static int peek(const char *path, size_t offset)
{
	int fd = open_region(path, O_RDWR);
	size_t bytes = size_of(fd);
	const volatile char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t at = offset % BLOCK_BYTES & -WORD_BYTES; at < bytes; at += BLOCK_BYTES)
		printf("%016llx\n", (unsigned long long)*(const volatile uint64_t *)(p + at));
	return 0;
}

static int touch(const char *path, size_t bytes)
{
	int fd = open_region(path, O_RDWR);
	const volatile char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	unsigned int sum = 0;

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t at = 0; at < bytes; at += BLOCK_BYTES)
		sum |= (unsigned char)p[at];
	printf("touched %zu blocks\n", bytes / BLOCK_BYTES);
	return sum > 0xff;
}

static int write_at(const char *path, size_t offset)
{
	struct sigaction action = { .sa_handler = on_bus };
	int fd = open_region(path, O_RDWR);
	volatile char *p = mmap(NULL, size_of(fd), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	sigaction(SIGBUS, &action, NULL);
	if (sigsetjmp(escape, 1)) {
		puts("SIGBUS");
		return 0;
	}
	p[offset] = 1;
	puts("written");
	return 0;
}

static int beyond(const char *path)
{
	int fd = open_region(path, O_RDWR);
	char *p = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)size_of(fd));

	puts(p == MAP_FAILED ? strerror(errno) : "mapped");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "scan") && strlen(argv[3]) == WORD_BYTES)
		return scan(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "write"))
		return write_at(argv[2], strtoull(argv[3], NULL, 10) << 20);
	if (argc == 4 && !strcmp(argv[1], "peek"))
		return peek(argv[2], strtoull(argv[3], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "touch"))
		return touch(argv[2], strtoull(argv[3], NULL, 10) << 20);
	if (argc == 3 && !strcmp(argv[1], "beyond"))
		return beyond(argv[2]);
	fputs("usage: window scan REGION WORD | write REGION MIB | peek REGION OFFSET |\n"
	      "       touch REGION MIB | beyond REGION\n", stderr);
	return 2;
}
