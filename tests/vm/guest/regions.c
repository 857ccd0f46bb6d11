// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that prints how the physical memory is used: for each
 * aligned 2 MiB that holds memory of Linux's a line with its number, the pages that
 * there are, those in use, and of these the ones in an allocation of 2 MiB. Reads
 * /proc/kpageflags, so needs root. Free pages on per-CPU lists count as in use:
 * their flags do not tell; there are few.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REGION_PAGES 512
#define FLAGS_FILE "/proc/kpageflags"

/* As in linux/kernel-page-flags.h, which not all C libraries' headers have. */
#define BUDDY (1ULL << 10)
#define HEAD (1ULL << 15)
#define TAIL (1ULL << 16)
#define NOPAGE (1ULL << 20)
#define OFFLINE (1ULL << 23)

static void count(unsigned long region, const uint64_t *flags, size_t pages)
{
	size_t there = 0, used = 0, tails = 0;
	bool huge;

	for (size_t i = 0; i < pages; i++) {
		if (flags[i] & (NOPAGE | OFFLINE))
			continue;
		there++;
		used += !(flags[i] & BUDDY);
		tails += !!(flags[i] & TAIL);
	}
	huge = (flags[0] & HEAD) && tails == REGION_PAGES - 1;
	if (there)
		printf("%lu %zu %zu %zu\n", region, there, used, huge ? used : 0);
}

int main(void)
{
	static uint64_t flags[REGION_PAGES];
	int fd = open(FLAGS_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "regions: %s: %s\n", FLAGS_FILE, strerror(errno));
		return 2;
	}
	for (unsigned long region = 0;; region++) {
		ssize_t n = read(fd, flags, sizeof(flags));

		if (n < 0) {
			fprintf(stderr, "regions: %s: %s\n", FLAGS_FILE, strerror(errno));
			return 2;
		}
		if (!n)
			return 0;
		count(region, flags, n / sizeof(*flags));
	}
}
