// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program of a test VM that does nothing but read and write memory: a[i] = b[i] +
 * c[i] over arrays larger than caches, of integers, because emulated floating point
 * would be all that is measured. Called by the benchmarks.
 *
 *   stream MIB SAMPLE_MS SECONDS   MIB is the size of the three arrays together
 *
 * Prints "begin" when its arrays are touched, then nothing until the end, so as
 * not to disturb itself: then a line per sample, the time at its end in ns
 * (CLOCK_MONOTONIC), its length in ns, the bytes it moved, and the program's CPU
 * time in ns: what is missing there is what others had of the vCPU.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define CHUNK 8192	/* elements between two looks at the clock */
#define APART (85 * 4096 / sizeof(uint64_t))	/* a third of 256 pages */
#define SAMPLES_MAX 100000

static struct sample {
	uint64_t end_ns, ns, bytes, cpu_ns;
} samples[SAMPLES_MAX];

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

/*
 * Three arrays, one behind the other. An emulator finds a page's translation by the
 * low bits of its number; those of a[i], b[i] and c[i] must differ, or each access
 * drives out what the next one needs, and nothing else is measured.
 */
static uint64_t *arrays(size_t stride)
{
	uint64_t *p = mmap(NULL, 3 * stride * sizeof(*p), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "stream: mmap: %s\n", strerror(errno));
		exit(1);
	}
	for (size_t i = 0; i < 3 * stride; i++)
		p[i] = i;
	return p;
}

static void add(uint64_t *a, const uint64_t *b, const uint64_t *c)
{
	for (size_t i = 0; i < CHUNK; i++)
		a[i] = b[i] + c[i];
}

int main(int argc, char **argv)
{
	size_t n, stride, at = 0, count = 0;
	uint64_t period, until, begin, now, bytes = 0;
	uint64_t *a, *b, *c, cpu, cpu_begin;

	if (argc != 4) {
		fprintf(stderr, "usage: stream MIB SAMPLE_MS SECONDS\n");
		return 2;
	}
	n = (strtoull(argv[1], NULL, 10) << 20) / 3 / sizeof(uint64_t) / CHUNK * CHUNK;
	period = strtoull(argv[2], NULL, 10) * 1000000u;
	if (!n || !period) {
		fprintf(stderr, "stream: MIB and SAMPLE_MS must be at least 1\n");
		return 2;
	}
	stride = n + APART;
	a = arrays(stride);
	b = a + stride;
	c = b + stride;
	puts("begin");
	fflush(stdout);
	begin = now_ns(CLOCK_MONOTONIC);
	cpu_begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	until = begin + strtoull(argv[3], NULL, 10) * 1000000000u;
	do {
		add(a + at, b + at, c + at);
		at = (at + CHUNK) % n;
		bytes += 3 * CHUNK * sizeof(uint64_t);
		now = now_ns(CLOCK_MONOTONIC);
		if (now - begin >= period) {
			cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
			samples[count++] = (struct sample){ now, now - begin, bytes, cpu - cpu_begin };
			begin = now;
			cpu_begin = cpu;
			bytes = 0;
		}
	} while (now < until && count < SAMPLES_MAX);
	for (size_t i = 0; i < count; i++)
		printf("%llu %llu %llu %llu\n", (unsigned long long)samples[i].end_ns,
		       (unsigned long long)samples[i].ns, (unsigned long long)samples[i].bytes,
		       (unsigned long long)samples[i].cpu_ns);
	return 0;
}
