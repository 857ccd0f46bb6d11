// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that forks many processes at once, again and again:
 *
 *   swarm CHILDREN MIB ROUNDS
 *
 * The first process fills so much memory with a pattern. In each round it forks
 * the children; each opens files, writes to a part of the memory, which it so gets
 * a copy of, finds its own words there and the pattern everywhere else, and ends.
 * Prints a line a round; ends with status 1 if a word was another, and 2 if
 * a child could not be forked, was killed or could not open a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_WORDS (4096 / sizeof(uint64_t))
#define OWN_PAGES 32
#define FILES 8
#define ODD 0x9e3779b97f4a7c15ULL
#define LOOK_EVERY 61	/* a child reads one page in so many of what is not its own */

static uint64_t *memory;
static size_t pages;

static uint64_t word_of(size_t page, uint64_t writer)
{
	uint64_t x = (writer << 32 | page) * ODD;

	return x ^ x >> 29;
}

static void fill(size_t first, size_t count, uint64_t writer)
{
	for (size_t p = first; p < first + count; p++)
		for (size_t w = 0; w < PAGE_WORDS; w++)
			memory[p * PAGE_WORDS + w] = word_of(p, writer) + w;
}

static void check(size_t first, size_t count, size_t step, uint64_t writer)
{
	for (size_t p = first; p < first + count; p += step) {
		for (size_t w = 0; w < PAGE_WORDS; w++) {
			uint64_t got = memory[p * PAGE_WORDS + w];

			if (got == word_of(p, writer) + w)
				continue;
			printf("WRONG process %d, writer %llu: page %zu, word %zu: %016llx\n",
			       getpid(), (unsigned long long)writer, p, w,
			       (unsigned long long)got);
			fflush(stdout);
			_exit(1);
		}
	}
}

static void child(uint64_t number)
{
	size_t own = number * 7919 % (pages - OWN_PAGES);

	for (int i = 0; i < FILES; i++)
		if (open("/proc/self/stat", O_RDONLY) < 0) {
			perror("swarm: open");
			_exit(2);
		}
	fill(own, OWN_PAGES, number);
	sched_yield();
	check(own, OWN_PAGES, 1, number);
	check(0, own, LOOK_EVERY, 0);
	check(own + OWN_PAGES, pages - own - OWN_PAGES, LOOK_EVERY, 0);
	_exit(0);
}

/* Fork them all, then wait for all; the worst status. */
static int round_of(unsigned long children)
{
	unsigned long forked = 0;
	int worst = 0, status;

	for (; forked < children; forked++) {
		pid_t pid = fork();

		if (!pid)
			child(forked + 1);
		if (pid < 0) {
			perror("swarm: fork");
			worst = 2;
			break;
		}
	}
	while (wait(&status) > 0) {
		int rc = WIFEXITED(status) ? WEXITSTATUS(status) : 2;

		if (WIFSIGNALED(status))
			printf("a child died of signal %d\n", WTERMSIG(status));
		/* Wrong contents are worse than a missing child. */
		if (rc && worst != 1)
			worst = rc;
	}
	return worst;
}

int main(int argc, char **argv)
{
	unsigned long children, rounds;

	if (argc != 4) {
		fputs("usage: swarm CHILDREN MIB ROUNDS\n", stderr);
		return 2;
	}
	children = strtoul(argv[1], NULL, 10);
	pages = strtoul(argv[2], NULL, 10) * 256;
	rounds = strtoul(argv[3], NULL, 10);
	if (pages <= OWN_PAGES) {
		fputs("swarm: at least 1 MiB\n", stderr);
		return 2;
	}
	memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("swarm: mmap");
		return 2;
	}
	fill(0, pages, 0);
	for (unsigned long i = 0; i < rounds; i++) {
		int rc = round_of(children);

		if (rc)
			return rc;
		printf("round %lu\n", i + 1);
		fflush(stdout);
	}
	check(0, pages, 1, 0);
	puts("done");
	return 0;
}
