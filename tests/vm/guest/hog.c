// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that uses anonymous memory and checks what it holds.
 * Its arguments are steps, carried out one after the other; it prints a line
 * after each, with the seconds since it began, and ends with status 1 as soon as
 * a byte is not what was written.
 *
 *   fill:MIB      take so much more memory and fill it with a pattern
 *   check         compare all of it with the pattern
 *   rewrite:FILE  the same, and write another pattern over each page that was compared,
 *                 again and again until there is such a file
 *   free          give all of it back to the kernel
 *   free-half     give back every second piece (of 4 MiB)
 *   zero:MIB      take so much more memory, and see that it reads as zeros first
 *   bind:NODE     take what comes from this NUMA node only
 *   pin:MIB       pin so much of what it holds, as a device would
 *   sleep:MS      wait
 *   watch:MS      the same, and print how much memory is free, ten times a second
 *   until:FILE    wait until there is such a file
 *   mark:FILE     make such a file
 *   loop:N        carry out all the steps before this one so many times in all
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES (4UL << 20)
#define PIECES_MAX 4096
#define PAGE_BYTES 4096
#define WORDS_PER_PAGE (PAGE_BYTES / sizeof(uint64_t))
#define STEP 0x9e3779b97f4a7c15ULL	/* odd, so that words of a page all differ */

static uint64_t *pieces[PIECES_MAX];
static uint64_t seeds[PIECES_MAX];
static size_t piece_count;
static uint64_t next_seed = 1;
static double began;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t first_word(uint64_t seed, size_t page)
{
	uint64_t x = (seed << 32 | page) * STEP;

	return x ^ x >> 29;
}

static void fill_page(size_t i, size_t page)
{
	uint64_t *p = pieces[i] + page * WORDS_PER_PAGE;
	uint64_t x = first_word(seeds[i], page);

	for (size_t w = 0; w < WORDS_PER_PAGE; w++, x += STEP)
		p[w] = x;
}

static void fill_piece(size_t i)
{
	for (size_t page = 0; page < PIECE_BYTES / PAGE_BYTES; page++)
		fill_page(i, page);
}

static void wrong(const char *what, size_t i, size_t at, uint64_t got, uint64_t want)
{
	printf("WRONG %s: piece %zu, offset %zu: %016llx instead of %016llx\n", what, i,
	       at * sizeof(uint64_t), (unsigned long long)got, (unsigned long long)want);
	exit(1);
}

static void check_page(size_t i, size_t page)
{
	const uint64_t *p = pieces[i] + page * WORDS_PER_PAGE;
	uint64_t x = first_word(seeds[i], page);

	for (size_t w = 0; w < WORDS_PER_PAGE; w++, x += STEP)
		if (p[w] != x)
			wrong("pattern", i, page * WORDS_PER_PAGE + w, p[w], x);
}

static void check_piece(size_t i)
{
	for (size_t page = 0; page < PIECE_BYTES / PAGE_BYTES; page++)
		check_page(i, page);
}

/* Who else writes to a page meanwhile, or loses what was written to it, is found next time. */
static void rewrite_piece(size_t i)
{
	uint64_t old = seeds[i], new = next_seed++;

	for (size_t page = 0; page < PIECE_BYTES / PAGE_BYTES; page++) {
		seeds[i] = old;
		check_page(i, page);
		seeds[i] = new;
		fill_page(i, page);
	}
}

static void rewrite_until(const char *path)
{
	size_t rounds = 0;

	do {
		for (size_t i = 0; i < piece_count; i++)
			rewrite_piece(i);
		rounds++;
	} while (access(path, F_OK));
	printf("rewrote %zu times\n", rounds);
}

static void check_zero(size_t i)
{
	for (size_t w = 0; w < PIECE_BYTES / sizeof(uint64_t); w++)
		if (pieces[i][w])
			wrong("zeros", i, w, pieces[i][w], 0);
}

static void take(size_t mib, bool zero)
{
	for (size_t n = mib * (1UL << 20) / PIECE_BYTES; n; n--) {
		void *p;

		if (piece_count == PIECES_MAX) {
			fputs("hog: too much memory\n", stderr);
			exit(2);
		}
		p = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			perror("hog: mmap");
			exit(2);
		}
		pieces[piece_count] = p;
		seeds[piece_count] = next_seed++;
		if (zero)
			check_zero(piece_count);
		fill_piece(piece_count++);
	}
}

static void give_back(size_t every)
{
	size_t kept = 0;

	for (size_t i = 0; i < piece_count; i++) {
		if (i % every == 0) {
			munmap(pieces[i], PIECE_BYTES);
			continue;
		}
		pieces[kept] = pieces[i];
		seeds[kept++] = seeds[i];
	}
	piece_count = kept;
}

static void bind_to(unsigned int node)
{
	unsigned long nodes = 1UL << node;

	if (syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, sizeof(nodes) * 8)) {
		perror("hog: set_mempolicy");
		exit(2);
	}
}

/* Pages in a pipe that were not copied there are pinned until somebody reads them. */
static void pin(size_t mib)
{
	size_t left = mib << 20;

	for (size_t i = 0; i < piece_count && left; i++) {
		for (size_t at = 0; at < PIECE_BYTES && left; at += 1UL << 16, left -= 1UL << 16) {
			struct iovec part = { (char *)pieces[i] + at, 1UL << 16 };
			int fds[2];

			if (pipe(fds) || vmsplice(fds[1], &part, 1, 0) != 1 << 16) {
				perror("hog: vmsplice");
				exit(2);
			}
		}
	}
}

static void wait_for(const char *path)
{
	while (access(path, F_OK))
		usleep(20000);
}

static long free_mib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	long kib = -1;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemFree: %ld kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib / 1024;
}

static void watch(double seconds)
{
	for (double end = now() + seconds; now() < end; usleep(100000))
		printf("%8.3f free %ld MiB\n", now() - began, free_mib());
}

static void mark(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	close(fd);
}

/* The argument of a step NAME:ARG, or NULL if the step is another. */
static const char *arg_of(const char *step, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(step, name, n) && step[n] == ':' ? step + n + 1 : NULL;
}

static void carry_out(const char *step)
{
	const char *arg;

	if ((arg = arg_of(step, "fill")))
		take(strtoul(arg, NULL, 10), false);
	else if ((arg = arg_of(step, "zero")))
		take(strtoul(arg, NULL, 10), true);
	else if (!strcmp(step, "check"))
		for (size_t i = 0; i < piece_count; i++)
			check_piece(i);
	else if ((arg = arg_of(step, "rewrite")))
		rewrite_until(arg);
	else if (!strcmp(step, "free"))
		give_back(1);
	else if (!strcmp(step, "free-half"))
		give_back(2);
	else if ((arg = arg_of(step, "bind")))
		bind_to(strtoul(arg, NULL, 10));
	else if ((arg = arg_of(step, "pin")))
		pin(strtoul(arg, NULL, 10));
	else if ((arg = arg_of(step, "sleep")))
		usleep(strtoul(arg, NULL, 10) * 1000);
	else if ((arg = arg_of(step, "watch")))
		watch(strtoul(arg, NULL, 10) / 1e3);
	else if ((arg = arg_of(step, "until")))
		wait_for(arg);
	else if ((arg = arg_of(step, "mark")))
		mark(arg);
	else {
		fprintf(stderr, "hog: no such step: %s\n", step);
		exit(2);
	}
	printf("%8.3f %s, holds %zu MiB\n", now() - began, step,
	       piece_count * (PIECE_BYTES >> 20));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	began = now();
	for (int i = 1; i < argc; i++) {
		const char *times = arg_of(argv[i], "loop");

		if (!times) {
			carry_out(argv[i]);
			continue;
		}
		for (unsigned long n = strtoul(times, NULL, 10); n > 1; n--)
			for (int j = 1; j < i; j++)
				carry_out(argv[j]);
	}
	puts("done");
	return 0;
}
