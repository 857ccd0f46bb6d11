// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the guest driver grows for beside available memory, compiled for user space: a stock
 * of large pages, the page cache's working set, memory for the kernel.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../guest/think/pure.c"
#include "../../guest/think/need.c"

#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)

static struct ml_need need_of(u64 available, u64 rate, u32 room, bool urgent)
{
	return (struct ml_need){ .available = available, .rate = rate, .mb_bytes = 128 * MIB,
				 .room = room, .step = 16, .urgent = urgent };
}

static void test_may_move(void **state)
{
	struct ml_marks marks = { .kernel = 16 * MIB };

	(void)state;
	/* Other movable memory has room: the kernel's does not matter. */
	assert_true(ml_may_move(128 * MIB, 128 * MIB, 0, &marks));
	assert_true(ml_may_move(0, 0, 0, &marks));
	/* The rest goes to the kernel's zones, and leaves two marks there. */
	assert_true(ml_may_move(128 * MIB, 28 * MIB, 132 * MIB, &marks));
	assert_false(ml_may_move(128 * MIB, 28 * MIB, 132 * MIB - 1, &marks));
}

static void test_marks_grow_with_the_cpus(void **state)
{
	struct ml_marks plain = ml_marks_of(8 * GIB, 0, 128 * MIB), m;
	(void)state;

	m = ml_marks_on(plain, 8 * GIB, 4, 128 * MIB);
	assert_memory_equal(&m, &plain, sizeof(m));
	m = ml_marks_on(plain, 8 * GIB, 32, 128 * MIB);
	assert_int_equal(m.low, GIB);
	assert_int_equal(m.high, GIB + 512 * MIB);
	assert_int_equal(m.reserve, plain.reserve);
	/* never more than there is */
	m = ml_marks_on(ml_marks_of(256 * MIB, 0, 128 * MIB), 256 * MIB, 64, 128 * MIB);
	assert_int_equal(m.low, 256 * MIB);
	assert_true(m.high > m.low);
}

static void test_the_kernel_keeps_its_share(void **state)
{
	struct ml_marks m = ml_marks_of(256 * MIB, 0, 128 * MIB);
	struct ml_need n;
	(void)state;

	/* A VM that has just booted borrows before programs fill what the kernel needs. */
	n = need_of(ml_for_programs(&m, 150 * MIB, 150 * MIB), 0, 24, false);
	assert_int_equal(n.available, 86 * MIB);
	assert_int_equal(ml_grow_want(&n, &m), 1);
	n.available += 128 * MIB;
	assert_int_equal(ml_grow_want(&n, &m), 0);
	/* one with much boot memory does not */
	m = ml_marks_of(4 * GIB, 0, 128 * MIB);
	n = need_of(ml_for_programs(&m, 3 * GIB, 3 * GIB), 0, 24, false);
	assert_int_equal(ml_grow_want(&n, &m), 0);
	assert_int_equal(ml_for_programs(&m, MIB, 2 * MIB), 0);
	assert_int_equal(ml_for_programs(&m, GIB, 0), GIB);
}

/* A look at `large` free bytes in large pages and `cache` bytes of page cache, 100 ms later. */
static void look(struct ml_stock *stock, u64 large, u64 cache, u64 added)
{
	ml_stock_look(stock, large, cache, added, 100000);
}

static void test_stock_is_kept(void **state)
{
	struct ml_stock s = { .large = 100 * MIB };
	(void)state;

	look(&s, 100 * MIB, 0, 0);
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 0);
	/* A third of it is gone within 100 ms: there is more to come. */
	look(&s, 60 * MIB, 0, 0);
	assert_int_equal(s.rate, 400 * MIB);
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 1);
	look(&s, 60 * MIB, 0, 128 * MIB);	/* added, and used as well */
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 3);
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 2), 2);
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 0), 0);
}

static void test_stock_comes_to_rest(void **state)
{
	struct ml_stock s = { 0 };
	u32 i, n, borrowed = 0;
	(void)state;

	/* A guest in small pieces, of which nobody asks for anything. */
	for (i = 0; i < 1000; i++) {
		n = ml_stock_want(&s, 64 * MIB, 128 * MIB, 16);
		borrowed += n;
		look(&s, s.large + n * 128 * MIB, 0, n * 128 * MIB);
	}
	assert_int_equal(borrowed, 1);
	assert_int_equal(s.rate, 0);
}

static void test_stock_that_the_page_cache_took(void **state)
{
	struct ml_stock s = { .large = 128 * MIB };
	u64 cache = 0;
	(void)state;

	/* A scan takes it all, and goes on for ever. */
	for (cache = 0; cache <= 2 * GIB; cache += 16 * MIB) {
		look(&s, 128 * MIB > cache ? 128 * MIB - cache : 0, cache, 0);
		assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 0);
	}
	/* Somebody waits for a large page: what was taken is missed. */
	assert_false(ml_stock_missed(&s, 64 * MIB, MIB));	/* the cache itself */
	assert_true(ml_stock_missed(&s, 64 * MIB, 0));
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 1);
	/* The scan takes that as well, and again it is not missed. */
	look(&s, 128 * MIB, cache, 128 * MIB);
	look(&s, 0, cache + 128 * MIB, 0);
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 0);

	/* Who waits while there are large pages waits for something else. */
	s = (struct ml_stock){ .large = 16 * MIB, .cache = GIB };
	assert_false(ml_stock_missed(&s, 64 * MIB, 0));
	s = (struct ml_stock){ .large = 0, .cache = GIB, .least = GIB };
	assert_false(ml_stock_missed(&s, 64 * MIB, 0));

	/* Page cache that goes and leaves small pieces behind. */
	s = (struct ml_stock){ .large = 10 * MIB, .cache = 100 * MIB };
	look(&s, 10 * MIB, 20 * MIB, 0);
	s.rate = 0;
	assert_int_equal(ml_stock_want(&s, 64 * MIB, 128 * MIB, 16), 1);
	/* What programs take beside a scan counts. */
	s = (struct ml_stock){ .large = 100 * MIB };
	look(&s, 0, 30 * MIB, 0);
	assert_int_equal(s.rate, 700 * MIB);
}

static void test_stock_in_vain(void **state)
{
	(void)state;

	/* it helped */
	assert_false(ml_stock_vain(128 * MIB, GIB, GIB + 126 * MIB, 0, 126 * MIB));
	/* it was used at once */
	assert_false(ml_stock_vain(128 * MIB, GIB, GIB, 0, 0));
	/* it is there, and no large page */
	assert_true(ml_stock_vain(128 * MIB, GIB, GIB + 126 * MIB, 0, 0));
	assert_false(ml_stock_vain(0, GIB, GIB, 0, 0));
}

static void test_stock_mark(void **state)
{
	u64 total;
	(void)state;

	for (total = 256 * MIB; total <= 512 * GIB; total *= 2) {
		struct ml_marks m = ml_marks_of(total, 0, 128 * MIB);

		assert_in_range(ml_stock_mark(&m), 64 * MIB, 256 * MIB);
		assert_true(ml_stock_mark(&m) <= m.low);
	}
}

/* Page cache that is read again, all of which had been given up for want of memory. */
static u64 credit_of(u64 credit, u64 again, u64 free, u64 elapsed_us)
{
	u64 stolen = again;

	return ml_cache_credit(credit, again, &stolen, free, elapsed_us, 128 * MIB);
}

static void test_cache_credit(void **state)
{
	u64 credit = 0;
	u32 i;
	(void)state;

	/* A little is borne for ever: 3 MiB a second */
	for (i = 0; i < 1000; i++)
		credit = credit_of(credit, 3 * MIB, 0, 1000000);
	assert_false(ml_cache_wants(credit, 128 * MIB));
	/* More adds up. */
	for (i = 0; i < 10; i++)
		credit = credit_of(credit, 20 * MIB, 0, 1000000);
	assert_true(ml_cache_wants(credit, 128 * MIB));
	/* But is forgotten in time, and is bounded. */
	credit = credit_of(credit, 1000 * GIB, 0, 1000);
	assert_int_equal(credit, 512 * MIB);
	credit = credit_of(credit, 0, 0, 128000000);
	assert_false(ml_cache_wants(credit, 128 * MIB));
	/* While there is free memory it has only to be filled. */
	assert_int_equal(credit_of(0, GIB, 128 * MIB, 1000), 0);
	/* A pause of any length is no overflow. */
	assert_int_equal(credit_of(512 * MIB, 0, 0, ~0ULL), 112 * MIB);
}

/* What a container reads again that gave it up at its own limit. */
static void test_cache_credit_of_a_container(void **state)
{
	u64 stolen = 0, credit = 0;
	u32 i;
	(void)state;

	for (i = 0; i < 100; i++)
		credit = ml_cache_credit(credit, 100 * MIB, &stolen, 0, 1000000, 128 * MIB);
	assert_int_equal(credit, 0);
	/* Of what the machine gave up as well, so much counts, once. */
	stolen = 300 * MIB;
	for (i = 0; i < 4; i++)
		credit = ml_cache_credit(credit, 100 * MIB, &stolen, 0, 1000, 128 * MIB);
	assert_in_range(credit, 299 * MIB, 300 * MIB);
	/* And not for ever: a scan of long ago is no credit. */
	stolen = 100 * GIB;
	ml_cache_credit(0, 0, &stolen, 0, 1000, 128 * MIB);
	assert_int_equal(stolen, 512 * MIB);
}

/* How many blocks the kernel wants of a step of 16. */
static u32 kernel_wants(const struct ml_marks *m, u64 available, u64 lack, u64 rate, u64 movable_free,
			bool tight)
{
	struct ml_kernel_have have = {
		.available = available,
		.lack = lack,
		.rate = rate,
		.movable_free = movable_free,
	};

	return ml_kernel_want(m, &have, tight, 128 * MIB, 16);
}

static u64 kept(u64 usage, u64 least, const struct ml_promise *parent, bool recursive)
{
	struct ml_promise own = { .usage = usage, .min = least };

	return ml_promise_kept(&own, parent, recursive);
}

static void test_promises_of_cgroups(void **state)
{
	struct ml_promise fair = { .usage = 900, .kept = 600, .children = 500 };
	struct ml_promise over = { .usage = 900, .kept = 300, .children = 600 };
	struct ml_promise none = { .usage = 900 };

	(void)state;
	assert_int_equal(kept(400, 200, &fair, false), 200);
	assert_int_equal(kept(150, 200, &fair, false), 150);
	/* More was promised to the children than holds of the parent: each has its part. */
	assert_int_equal(kept(400, 200, &over, false), 100);
	assert_int_equal(kept(400, 200, &over, true), 100);
	/* What no child claims goes by what they use beyond their own. */
	assert_int_equal(kept(400, 200, &fair, true), 250);
	assert_int_equal(kept(400, 0, &fair, true), 100);
	assert_int_equal(kept(400, 0, &fair, false), 0);
	assert_int_equal(kept(400, 0, &none, true), 0);
	/* Never more than there is. */
	fair.kept = 10000;
	assert_int_equal(kept(400, 200, &fair, true), 400);
}

static void test_kernel_memory(void **state)
{
	struct ml_marks m = ml_marks_of(4 * GIB, 0, 128 * MIB);		/* kernel: 64 MiB */
	(void)state;

	assert_int_equal(m.kernel, 64 * MIB);
	assert_int_equal(kernel_wants(&m, 63 * MIB, 0, 0, GIB, false), 1);
	assert_int_equal(kernel_wants(&m, 64 * MIB, 0, 0, GIB, false), 0);
	/* With nothing movable free either, it is not the split that is wrong. */
	assert_int_equal(kernel_wants(&m, 0, 0, 0, 32 * MIB, false), 0);
	/* Unless somebody would be killed: a block of the kernel's serves all. */
	assert_int_equal(kernel_wants(&m, 0, 0, 0, 0, true), 1);
	assert_int_equal(kernel_wants(&m, GIB, 0, 0, GIB, true), 1);
	/* The kernel wants to keep half a GiB more from now on: all of that, at once. */
	assert_int_equal(kernel_wants(&m, 0, 500 * MIB, 0, GIB, false), 5);
	assert_int_equal(kernel_wants(&m, 0, 500 * MIB, 0, 0, true), 5);
	assert_int_equal(kernel_wants(&m, 0, 100 * GIB, 0, GIB, false), 16);
	/* It goes fast: look ahead, but not further than the mark again. */
	assert_int_equal(kernel_wants(&m, 80 * MIB, 0, 100 * MIB, GIB, false), 1);
	assert_int_equal(kernel_wants(&m, 128 * MIB, 0, 1000 * GIB, GIB, false), 0);

	/* What comes back leaves so much that it is not short the moment after. */
	assert_true(ml_kernel_plenty(&m, 256 * MIB, 128 * MIB));
	assert_false(ml_kernel_plenty(&m, 255 * MIB, 128 * MIB));
	assert_int_equal(kernel_wants(&m, 256 * MIB - 128 * MIB, 0, 1000 * GIB, GIB, false), 0);

	/* Who is killed though there is memory of both kinds is bound to some of it. */
	assert_int_equal(ml_lack_of(false, GIB), ML_LACKS_NOTHING);
	assert_int_equal(ml_lack_of(false, 32 * MIB), ML_LACKS_MOVABLE);
	assert_int_equal(ml_lack_of(true, GIB), ML_LACKS_KERNEL);
	assert_int_equal(ml_lack_of(true, 0), ML_LACKS_KERNEL);

	assert_true(ml_may_convert(GIB, 128 * MIB, 128 * MIB, 64 * MIB));
	assert_false(ml_may_convert(159 * MIB, 0, 128 * MIB, 64 * MIB));
	assert_false(ml_may_convert(143 * MIB, 0, 128 * MIB, 0));
	assert_false(ml_may_convert(GIB, 129 * MIB, 128 * MIB, 64 * MIB));

	assert_true(ml_needs_movable(m.high, GIB, 128 * MIB, &m));
	assert_false(ml_needs_movable(m.high + 128 * MIB, GIB, 128 * MIB, &m));
	assert_true(ml_needs_movable(4 * GIB, 0, 128 * MIB, &m));
}

static void test_words(void **state)
{
	u32 i;
	(void)state;

	for (i = 0; i < ML_FOR_COUNT; i++)
		assert_string_not_equal(ml_for_text(i), "unknown");
	assert_string_equal(ml_for_text(ML_FOR_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_may_move),
		cmocka_unit_test(test_marks_grow_with_the_cpus),
		cmocka_unit_test(test_the_kernel_keeps_its_share),
		cmocka_unit_test(test_stock_is_kept),
		cmocka_unit_test(test_stock_comes_to_rest),
		cmocka_unit_test(test_stock_that_the_page_cache_took),
		cmocka_unit_test(test_stock_in_vain),
		cmocka_unit_test(test_stock_mark),
		cmocka_unit_test(test_cache_credit),
		cmocka_unit_test(test_cache_credit_of_a_container),
		cmocka_unit_test(test_promises_of_cgroups),
		cmocka_unit_test(test_kernel_memory),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
