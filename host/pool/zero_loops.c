// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Store loops and the choice between them; see zero_loops.h. What makes the difference:
 * an ordinary store of a part of a cache line first reads the line from memory, and
 * pushes out what others have in the cache. Non-temporal stores of whole lines, and
 * clzero, do neither; for blocks that nobody will read soon they are about twice as fast
 * (docs/benchmarks.md, bench-zero). Which of them is the fastest differs between CPUs of
 * one maker, so it is measured.
 */
#include "zero_loops.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define PAGE_BYTES 4096

_Static_assert(ZERO_ALIGN == 4 * PAGE_BYTES, "loops write four pages by turns");

static bool always(void)
{
	return true;
}

static void run_memset(void *data, size_t bytes)
{
	memset(data, 0, bytes);
}

#if defined(__x86_64__)

static void run_stosb(void *data, size_t bytes)
{
	__asm__ volatile("rep stosb" : "+D"(data), "+c"(bytes) : "a"(0) : "memory");
	/* Fast string stores may not be ordered with later ones (Intel SDM 1, 7.3.9.3). */
	_mm_sfence();
}

static void run_stosq(void *data, size_t bytes)
{
	size_t words = bytes / 8;

	__asm__ volatile("rep stosq" : "+D"(data), "+c"(words) : "a"(0UL) : "memory");
	_mm_sfence();
}

#define LINE_BYTES 64

/*
 * Lines that go past the cache, of four pages by turns: with that many places of DRAM to
 * write to at a time, a loop is held up less by other users of the memory (a tenth faster on
 * a busy machine, as fast on an idle one). `line` is a function that stores one line.
 */
#define FOUR_PAGES(data, bytes, line, zero)						\
	do {										\
		char *end_ = (char *)(data) + (bytes);					\
											\
		for (char *four_ = (data); four_ < end_; four_ += 4 * PAGE_BYTES) {	\
			for (char *p_ = four_; p_ < four_ + PAGE_BYTES; p_ += LINE_BYTES) { \
				line(p_, zero);						\
				line(p_ + PAGE_BYTES, zero);				\
				line(p_ + 2 * PAGE_BYTES, zero);			\
				line(p_ + 3 * PAGE_BYTES, zero);			\
			}								\
		}									\
		_mm_sfence();								\
	} while (0)

static inline void sse2_line(char *p, __m128i zero)
{
	_mm_stream_si128((__m128i *)p, zero);
	_mm_stream_si128((__m128i *)p + 1, zero);
	_mm_stream_si128((__m128i *)p + 2, zero);
	_mm_stream_si128((__m128i *)p + 3, zero);
}

static void run_sse2(void *data, size_t bytes)
{
	FOUR_PAGES(data, bytes, sse2_line, _mm_setzero_si128());
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static inline void avx2_line(char *p, __m256i zero)
{
	_mm256_stream_si256((__m256i *)p, zero);
	_mm256_stream_si256((__m256i *)p + 1, zero);
}

__attribute__((target("avx2"))) static void run_avx2(void *data, size_t bytes)
{
	FOUR_PAGES(data, bytes, avx2_line, _mm256_setzero_si256());
}

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f");
}

__attribute__((target("avx512f"))) static inline void avx512_line(char *p, __m512i zero)
{
	_mm512_stream_si512((__m512i *)p, zero);
}

__attribute__((target("avx512f"))) static void run_avx512(void *data, size_t bytes)
{
	FOUR_PAGES(data, bytes, avx512_line, _mm512_setzero_si512());
}

static bool has_movdir64b(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 28);
}

__attribute__((target("movdir64b"))) static inline void movdir64b_line(char *p, const char *zeros)
{
	_movdir64b(p, zeros);
}

/* A direct store of 64 bytes, which needs no vector registers; weakly ordered. */
__attribute__((target("movdir64b"))) static void run_movdir64b(void *data, size_t bytes)
{
	static const char zeros[LINE_BYTES] __attribute__((aligned(LINE_BYTES)));

	FOUR_PAGES(data, bytes, movdir64b_line, zeros);
}

static bool has_clzero(void)
{
	unsigned int a, b, c, d;

	/* It clears a line of the cache, whatever that is: CLFLUSH's size, in 8 bytes. */
	if (!__get_cpuid(1, &a, &b, &c, &d) || (b >> 8 & 0xff) * 8 != LINE_BYTES)
		return false;
	return __get_cpuid(0x80000008, &a, &b, &c, &d) && (b & 1);
}

static inline void clzero_line(char *p, int unused)
{
	(void)unused;
	__asm__ volatile("clzero" : : "a"(p) : "memory");
}

static void run_clzero(void *data, size_t bytes)
{
	FOUR_PAGES(data, bytes, clzero_line, 0);
}

const struct zero_loop zero_loops[] = {
	{ "memset", always, run_memset },
	{ "rep-stosb", always, run_stosb },
	{ "rep-stosq", always, run_stosq },
	{ "sse2-nt", always, run_sse2 },
	{ "avx2-nt", has_avx2, run_avx2 },
	{ "avx512-nt", has_avx512, run_avx512 },
	{ "movdir64b", has_movdir64b, run_movdir64b },
	{ "clzero", has_clzero, run_clzero },
};

#elif defined(__aarch64__)

static uint64_t read_dczid(void)
{
	uint64_t id;

	__asm__("mrs %0, dczid_el0" : "=r"(id));
	return id;
}

static size_t zva_bytes(void)
{
	return (size_t)4 << (read_dczid() & 15);
}

/* Bit 4: the kernel, or a hypervisor, forbids it. */
static bool has_zva(void)
{
	return !(read_dczid() & 16) && zva_bytes() <= PAGE_BYTES;
}

/* These are stores like any other: a later release orders them, no barrier is needed. */
static void run_zva(void *data, size_t bytes)
{
	size_t step = zva_bytes();
	char *end = (char *)data + bytes;

	for (char *p = data; p < end; p += step)
		__asm__ volatile("dc zva, %0" : : "r"(p) : "memory");
}

/* Pairs that hint at no use soon. Weaker in order than others only between themselves. */
static void run_stnp(void *data, size_t bytes)
{
	char *end = (char *)data + bytes;

	for (char *p = data; p < end; p += 64)
		__asm__ volatile("stnp xzr, xzr, [%0]\n\tstnp xzr, xzr, [%0, #16]\n\t"
				 "stnp xzr, xzr, [%0, #32]\n\tstnp xzr, xzr, [%0, #48]"
				 : : "r"(p) : "memory");
}

const struct zero_loop zero_loops[] = {
	{ "memset", always, run_memset },
	{ "stnp", always, run_stnp },
	{ "dc-zva", has_zva, run_zva },
};

#else

const struct zero_loop zero_loops[] = {
	{ "memset", always, run_memset },
};

#endif

const unsigned int zero_loop_count = sizeof(zero_loops) / sizeof(zero_loops[0]);

_Static_assert(sizeof(zero_loops) / sizeof(zero_loops[0]) <= ZERO_LOOPS_MAX, "a rate for each loop");

const struct zero_loop *zero_loop_named(const char *name)
{
	for (unsigned int i = 0; i < zero_loop_count; i++) {
		if (!strcmp(zero_loops[i].name, name))
			return zero_loops[i].usable() ? &zero_loops[i] : NULL;
	}
	return NULL;
}

/* --- the choice --- */

#define CHOOSE_ROUNDS 2
#define CHOOSE_LAP_NS 2000000
#define CHOOSE_TURN_NS 500000	/* of a loop in a round */
#define CHOOSE_PIECE (1UL << 20)
#define CHOOSE_LEAST (32UL << 20)
#define CHOOSE_MOST (128UL << 20)
#define HUGE_BYTES (2UL << 20)

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * Twice the last cache, so that a line that is written was written to long ago, and is
 * not there. Some machines say they have no cache, others count that of all sockets.
 */
static size_t buffer_bytes(void)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	size_t bytes = cache > 0 ? 2 * (size_t)cache : 0;

	if (bytes < CHOOSE_LEAST)
		bytes = CHOOSE_LEAST;
	if (bytes > CHOOSE_MOST)
		bytes = CHOOSE_MOST;
	return bytes & ~(HUGE_BYTES - 1);
}

struct ring {
	char *data;
	size_t bytes, at;
};

static uint64_t cpu_ns(void)
{
	return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* From where the last loop stopped, until so many bytes are written, or so much time is over. */
static uint64_t walk(struct ring *r, const struct zero_loop *loop, uint64_t bytes, uint64_t ns)
{
	uint64_t began = cpu_ns(), done = 0;

	while (done < bytes && cpu_ns() - began < ns) {
		loop->run(r->data + r->at, CHOOSE_PIECE);
		r->at = (r->at + CHOOSE_PIECE) % r->bytes;
		done += CHOOSE_PIECE;
	}
	return done;
}

/*
 * One turn, in bytes per second of this thread's own time on the CPU, for others may want
 * the CPU just now. Once round before it counts, so that the cache holds what this loop
 * leaves in it: what another has left would cost this one the writing back.
 */
static uint64_t measure(struct ring *r, const struct zero_loop *loop)
{
	uint64_t began, done, spent;

	walk(r, loop, r->bytes, CHOOSE_LAP_NS);
	began = cpu_ns();
	done = walk(r, loop, UINT64_MAX, CHOOSE_TURN_NS);
	spent = cpu_ns() - began;
	return spent ? done * 1000000000 / spent : 0;
}

static void pick(struct zero_choice *out)
{
	uint64_t most = 0;

	for (unsigned int i = 0; i < zero_loop_count; i++)
		most = out->rate[i] > most ? out->rate[i] : most;
	for (unsigned int i = 0; i < zero_loop_count; i++) {
		if (out->rate[i] >= most - most / 50) {
			out->best = &zero_loops[i];
			return;
		}
	}
}

int zero_choose(struct zero_choice *out)
{
	uint64_t began = now_ns(CLOCK_MONOTONIC);
	struct ring ring = { .bytes = buffer_bytes() };
	size_t whole = ring.bytes + HUGE_BYTES;
	void *map;

	memset(out, 0, sizeof(*out));
	out->best = &zero_loops[0];
	map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	ring.data = (char *)(((uintptr_t)map + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	madvise(ring.data, ring.bytes, MADV_HUGEPAGE);
	/* Whatever backs it is there before it is measured. */
	for (size_t at = 0; at < ring.bytes; at += PAGE_BYTES)
		*(volatile char *)(ring.data + at) = 1;
	for (int round = 0; round < CHOOSE_ROUNDS; round++) {
		for (unsigned int i = 0; i < zero_loop_count; i++) {
			uint64_t rate;

			if (!zero_loops[i].usable())
				continue;
			rate = measure(&ring, &zero_loops[i]);
			out->rate[i] = rate > out->rate[i] ? rate : out->rate[i];
		}
	}
	munmap(map, whole);
	pick(out);
	out->took_ns = now_ns(CLOCK_MONOTONIC) - began;
	return 0;
}
