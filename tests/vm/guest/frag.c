// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that fragments its memory: it takes anonymous memory,
 * fills it with a pattern, and then gives back single pages of each 2 MiB of
 * physical memory, so that much is free and little of it in one piece. What it
 * keeps it checks. Its arguments are steps, carried out one after the other; it
 * prints a line after each, with the seconds since it began, and ends with
 * status 1 as soon as a byte is not what was written. Needs root, because it
 * reads from /proc/self/pagemap where its pages lie.
 *
 *   take:MIB               take so much more memory, in small pages, and fill it
 *   quarter                keep one page of each four
 *   random:SEED:PERCENT    keep each page with this chance
 *   uneven:SEED:PERCENT    the same with another chance in each 2 MiB, which is
 *                          anything up to twice as much
 *   build:SEED             what a build leaves: pages in runs, most 2 MiB nearly
 *                          empty, some half full, a few full
 *   rewrite:N              write another pattern and check it, N times
 *   check                  compare all that is kept with the pattern
 *   map:FILE               write how many pages it has in each 2 MiB: lines of
 *                          the number of the 2 MiB and the count, in order
 *   free                   give all of it back
 *   sleep:MS               wait
 *   until:FILE             wait until there is such a file
 *   mark:FILE              make such a file
 *
 * A pattern of what to keep depends on physical addresses and the seed alone, and
 * what was given back before is not taken again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096UL
#define PIECE_BYTES (2UL << 20)
#define PIECE_PAGES (PIECE_BYTES / PAGE_BYTES)
#define PIECES_MAX (64UL << 10)
#define MOVE_LIMIT_MS 5000
#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define ODD 0x9e3779b97f4a7c15ULL
#define PFN_MASK ((1ULL << 55) - 1)
#define PRESENT (1ULL << 63)

/* 2 MiB of virtual memory. Its pages need not lie together. */
struct piece {
	uint64_t *memory;
	uint64_t kept[PIECE_PAGES / 64];
};

static struct piece *pieces[PIECES_MAX];
static size_t piece_count, kept_pages;
static uint64_t generation;
static int pagemap = -1;
static double began;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	fprintf(stderr, "frag: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* A number below n that depends on what, which and the seed. */
static uint64_t draw(uint64_t seed, uint64_t what, uint64_t which, uint64_t n)
{
	return mix(mix(seed * ODD + what) + which) % n;
}

static bool is_kept(const struct piece *p, size_t page)
{
	return p->kept[page / 64] >> page % 64 & 1;
}

static uint64_t first_word(size_t piece, size_t page)
{
	return mix((generation << 48) + piece * PIECE_PAGES + page);
}

static void fill_page(size_t piece, size_t page)
{
	uint64_t *w = pieces[piece]->memory + page * WORDS;
	uint64_t x = first_word(piece, page);

	for (size_t i = 0; i < WORDS; i++, x += ODD)
		w[i] = x;
}

static void check_page(size_t piece, size_t page)
{
	const uint64_t *w = pieces[piece]->memory + page * WORDS;
	uint64_t x = first_word(piece, page);

	for (size_t i = 0; i < WORDS; i++, x += ODD) {
		if (w[i] == x)
			continue;
		printf("WRONG: piece %zu, page %zu, word %zu: %016llx instead of %016llx\n", piece,
		       page, i, (unsigned long long)w[i], (unsigned long long)x);
		exit(1);
	}
}

static void for_each_kept(void (*visit)(size_t piece, size_t page))
{
	for (size_t i = 0; i < piece_count; i++)
		for (size_t page = 0; page < PIECE_PAGES; page++)
			if (is_kept(pieces[i], page))
				visit(i, page);
}

static void take(size_t mib)
{
	for (size_t n = mib * (1UL << 20) / PIECE_BYTES; n; n--) {
		struct piece *p = malloc(sizeof(*p));

		if (!p || piece_count == PIECES_MAX) {
			errno = ENOMEM;
			die("too much memory");
		}
		p->memory = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p->memory == MAP_FAILED)
			die("mmap");
		/* A kernel without huge pages does not know the advice, nor need it. */
		if (madvise(p->memory, PIECE_BYTES, MADV_NOHUGEPAGE) && errno != EINVAL)
			die("madvise");
		memset(p->kept, 0xff, sizeof(p->kept));
		pieces[piece_count] = p;
		for (size_t page = 0; page < PIECE_PAGES; page++)
			fill_page(piece_count, page);
		piece_count++;
		kept_pages += PIECE_PAGES;
	}
}

/* Is a page that is kept just being moved? Then it has no address. */
static bool some_move(const struct piece *p, const uint64_t *entries)
{
	for (size_t page = 0; page < PIECE_PAGES; page++)
		if (is_kept(p, page) && !(entries[page] & PRESENT))
			return true;
	return false;
}

static void read_pagemap(const struct piece *p, uint64_t *entries)
{
	size_t n = PIECE_PAGES * sizeof(*entries);
	unsigned int tries = 0;

	if (pagemap < 0)
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		die("/proc/self/pagemap");
	do {
		if (tries)
			usleep(1000);
		if (pread(pagemap, entries, n,
			  (uintptr_t)p->memory / PAGE_BYTES * sizeof(*entries)) != (ssize_t)n)
			die("/proc/self/pagemap");
	} while (some_move(p, entries) && ++tries < MOVE_LIMIT_MS);
}

typedef bool (*keeps)(uint64_t pfn, uint64_t seed, uint64_t percent);

/*
 * Of each four another one. Linux' compaction, where it has found no free page for a
 * while, looks at each 2nd, 4th, ... 32nd page only: if it were always the first of four
 * that is kept, it would see none of what is free, and give up.
 */
static bool keeps_quarter(uint64_t pfn, uint64_t seed, uint64_t percent)
{
	(void)percent;
	return pfn % 4 == draw(seed, 7, pfn / 4, 4);
}

static bool keeps_random(uint64_t pfn, uint64_t seed, uint64_t percent)
{
	return draw(seed, 1, pfn, 100) < percent;
}

static bool keeps_uneven(uint64_t pfn, uint64_t seed, uint64_t percent)
{
	uint64_t share = draw(seed, 2, pfn / PIECE_PAGES, 2 * percent + 1);

	return draw(seed, 3, pfn, 100) < share;
}

static bool keeps_build(uint64_t pfn, uint64_t seed, uint64_t percent)
{
	uint64_t kind = draw(seed, 4, pfn / PIECE_PAGES, 100), share;

	(void)percent;
	if (kind < 60)
		share = draw(seed, 5, pfn / PIECE_PAGES, 8);
	else if (kind < 85)
		share = 10 + draw(seed, 5, pfn / PIECE_PAGES, 60);
	else
		share = 85 + draw(seed, 5, pfn / PIECE_PAGES, 16);
	/* Runs of 8 pages, as what was read or built together. */
	return draw(seed, 6, pfn / 8, 100) < share;
}

/* Give back, in runs, what is not to be kept. */
static void thin(keeps keep, uint64_t seed, uint64_t percent)
{
	static uint64_t entries[PIECE_PAGES];

	for (size_t i = 0; i < piece_count; i++) {
		struct piece *p = pieces[i];
		size_t from = 0;

		read_pagemap(p, entries);
		for (size_t page = 0; page < PIECE_PAGES; page++) {
			uint64_t pfn = entries[page] & PFN_MASK;

			if (!is_kept(p, page))
				continue;
			if (!(entries[page] & PRESENT) || !pfn) {
				errno = EPERM;
				die("no physical address of a page; run as root, and without swap");
			}
			if (keep(pfn, seed, percent))
				continue;
			p->kept[page / 64] &= ~(1ULL << page % 64);
			kept_pages--;
		}
		for (size_t page = 0; page <= PIECE_PAGES; page++) {
			if (page < PIECE_PAGES && !is_kept(p, page))
				continue;
			if (page > from && madvise(p->memory + from * WORDS,
						   (page - from) * PAGE_BYTES, MADV_DONTNEED))
				die("madvise");
			from = page + 1;
		}
	}
}

static void rewrite(unsigned long times)
{
	while (times--) {
		generation++;
		for_each_kept(fill_page);
		for_each_kept(check_page);
	}
}

static void write_map(const char *path)
{
	static uint64_t entries[PIECE_PAGES];
	FILE *f = fopen(path, "w");
	uint16_t *count = NULL;
	size_t regions = 0;

	if (!f)
		die(path);
	for (size_t i = 0; i < piece_count; i++) {
		read_pagemap(pieces[i], entries);
		for (size_t page = 0; page < PIECE_PAGES; page++) {
			size_t region = (entries[page] & PFN_MASK) / PIECE_PAGES;

			if (!(entries[page] & PRESENT) || !is_kept(pieces[i], page))
				continue;
			if (region >= regions) {
				count = realloc(count, (region + 1) * sizeof(*count));
				if (!count)
					die("map");
				memset(count + regions, 0, (region + 1 - regions) * sizeof(*count));
				regions = region + 1;
			}
			count[region]++;
		}
	}
	for (size_t i = 0; i < regions; i++)
		if (count[i])
			fprintf(f, "%zu %u\n", i, count[i]);
	free(count);
	if (fclose(f))
		die(path);
}

static void give_back(void)
{
	for (size_t i = 0; i < piece_count; i++) {
		munmap(pieces[i]->memory, PIECE_BYTES);
		free(pieces[i]);
	}
	piece_count = 0;
	kept_pages = 0;
}

static void wait_for(const char *path)
{
	while (access(path, F_OK))
		usleep(20000);
}

static void mark(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		die(path);
	close(fd);
}

/* The argument of a step NAME:ARG, or NULL if the step is another. */
static const char *arg_of(const char *step, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(step, name, n) && step[n] == ':' ? step + n + 1 : NULL;
}

/* Is it a pattern of pages to keep? If so, carry it out. */
static bool thin_step(const char *step)
{
	static const struct {
		const char *name;
		keeps keep;
	} patterns[] = {
		{ "random", keeps_random },
		{ "uneven", keeps_uneven },
		{ "build", keeps_build },
	};

	if (!strcmp(step, "quarter")) {
		thin(keeps_quarter, 0, 0);
		return true;
	}
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		const char *arg = arg_of(step, patterns[i].name);
		char *end;
		uint64_t seed, percent = 0;

		if (!arg)
			continue;
		seed = strtoull(arg, &end, 10);
		if (*end == ':')
			percent = strtoull(end + 1, &end, 10);
		if (*end || percent > 100) {
			fprintf(stderr, "frag: %s: want SEED:PERCENT\n", step);
			exit(2);
		}
		thin(patterns[i].keep, seed, percent);
		return true;
	}
	return false;
}

static void carry_out(const char *step)
{
	const char *arg;

	if ((arg = arg_of(step, "take")))
		take(strtoul(arg, NULL, 10));
	else if (!strcmp(step, "check"))
		for_each_kept(check_page);
	else if ((arg = arg_of(step, "rewrite")))
		rewrite(strtoul(arg, NULL, 10));
	else if ((arg = arg_of(step, "map")))
		write_map(arg);
	else if (!strcmp(step, "free"))
		give_back();
	else if ((arg = arg_of(step, "sleep")))
		usleep(strtoul(arg, NULL, 10) * 1000);
	else if ((arg = arg_of(step, "until")))
		wait_for(arg);
	else if ((arg = arg_of(step, "mark")))
		mark(arg);
	else if (!thin_step(step)) {
		fprintf(stderr, "frag: no such step: %s\n", step);
		exit(2);
	}
	printf("%8.3f %s, keeps %zu pages\n", now() - began, step, kept_pages);
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
