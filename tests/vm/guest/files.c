// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that uses page cache: it writes files with a pattern and
 * compares what they hold, on a disk or on a tmpfs. Its arguments are steps,
 * carried out one after the other; it prints a line after each, with the seconds
 * since it began, and ends with status 1 as soon as a byte is not what was
 * written.
 *
 *   write:PATH:MIB:SEED   make a file of this size, or write it anew
 *   check:PATH:MIB:SEED   read it and compare
 *   map:PATH:MIB:SEED     the same through a mapping of the file
 *   sync                  wait until the disk has all
 *   remove:PATH           remove it
 *   loop:N                carry out all the steps before this one so many times in all
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES (1UL << 20)
#define CHUNK_WORDS (CHUNK_BYTES / sizeof(uint64_t))
#define ODD 0x9e3779b97f4a7c15ULL	/* so that words of a chunk all differ */

static uint64_t chunk[CHUNK_WORDS];
static double began;

struct file {
	char path[256];
	size_t mib;
	uint64_t seed;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	fprintf(stderr, "files: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t first_word(uint64_t seed, size_t at)
{
	uint64_t x = (seed << 24 | at) * ODD;

	return x ^ x >> 29;
}

static void compare(const struct file *f, size_t at, const uint64_t *got)
{
	uint64_t x = first_word(f->seed, at);

	for (size_t w = 0; w < CHUNK_WORDS; w++, x += ODD) {
		if (got[w] == x)
			continue;
		printf("WRONG %s: offset %zu: %016llx instead of %016llx\n", f->path,
		       at * CHUNK_BYTES + w * sizeof(x), (unsigned long long)got[w],
		       (unsigned long long)x);
		exit(1);
	}
}

static void write_file(const struct file *f)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		die(f->path);
	for (size_t at = 0; at < f->mib; at++) {
		uint64_t x = first_word(f->seed, at);

		for (size_t w = 0; w < CHUNK_WORDS; w++, x += ODD)
			chunk[w] = x;
		for (size_t done = 0; done < CHUNK_BYTES;) {
			ssize_t n = write(fd, (char *)chunk + done, CHUNK_BYTES - done);

			if (n <= 0)
				die(f->path);
			done += n;
		}
	}
	if (close(fd))
		die(f->path);
}

static void check_file(const struct file *f)
{
	int fd = open(f->path, O_RDONLY);

	if (fd < 0)
		die(f->path);
	for (size_t at = 0; at < f->mib; at++) {
		for (size_t done = 0; done < CHUNK_BYTES;) {
			ssize_t n = read(fd, (char *)chunk + done, CHUNK_BYTES - done);

			if (n <= 0)
				die(f->path);
			done += n;
		}
		compare(f, at, chunk);
	}
	close(fd);
}

static void map_file(const struct file *f)
{
	int fd = open(f->path, O_RDONLY);
	char *map;

	if (fd < 0)
		die(f->path);
	map = mmap(NULL, f->mib * CHUNK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die(f->path);
	for (size_t at = 0; at < f->mib; at++)
		compare(f, at, (uint64_t *)(map + at * CHUNK_BYTES));
	munmap(map, f->mib * CHUNK_BYTES);
	close(fd);
}

static void carry_out(const char *step)
{
	char verb[16], path[256];
	unsigned long long seed;
	struct file f = { 0 };

	if (!strcmp(step, "sync")) {
		sync();
	} else if (sscanf(step, "remove:%255s", path) == 1) {
		if (unlink(path))
			die(path);
	} else if (sscanf(step, "%15[a-z]:%255[^:]:%zu:%llu", verb, f.path, &f.mib, &seed) == 4) {
		f.seed = seed;
		if (!strcmp(verb, "write"))
			write_file(&f);
		else if (!strcmp(verb, "check"))
			check_file(&f);
		else if (!strcmp(verb, "map"))
			map_file(&f);
		else
			goto unknown;
	} else {
unknown:
		fprintf(stderr, "files: no such step: %s\n", step);
		exit(2);
	}
	printf("%8.3f %s\n", now() - began, step);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	began = now();
	for (int i = 1; i < argc; i++) {
		unsigned long n;

		if (sscanf(argv[i], "loop:%lu", &n) != 1) {
			carry_out(argv[i]);
			continue;
		}
		for (; n > 1; n--)
			for (int j = 1; j < i; j++)
				carry_out(argv[j]);
	}
	puts("done");
	return 0;
}
