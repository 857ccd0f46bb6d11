// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Golden bytes of everything in proto/: each structure, with a different value
 * in each byte, must look on the wire as written here by hand. Together with the
 * assertions in the headers this freezes version 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "../../proto/memlease_abi.h"
#include "../../proto/memlease_vhost.h"

/* Compare with bytes written as hexadecimal digits; blanks are for the eye. */
static void assert_wire(const void *got, size_t size, const char *hex)
{
	const uint8_t *p = got;
	size_t n = 0;

	for (; *hex; hex++) {
		unsigned int byte;

		if (*hex == ' ')
			continue;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_true(n < size);
		if (p[n] != byte)
			fail_msg("byte %zu is %02x, not %02x", n, p[n], byte);
		n++;
		hex++;
	}
	assert_int_equal(n, size);
}

static void config_is_frozen(void **state)
{
	struct memlease_config c = {
		.version = htole32(MEMLEASE_ABI_VERSION),
		.flags = htole32(MEMLEASE_CFG_BROKEN),
		.block_bytes = htole64(MEMLEASE_BLOCK_BYTES),
		.window_addr = htole64(0x1122334455667788),
		.window_bytes = htole64(0x2132435465768798),
		.limit_blocks = htole64(0x3142536475869708),
		.target_blocks = htole64(MEMLEASE_NO_TARGET),
		.target_seq = htole32(0x41424344),
		.target_deadline_ms = htole32(0x51525354),
		.max_extents = htole16(MEMLEASE_MAX_EXTENTS),
		.broken_reason = htole16(MEMLEASE_BROKEN_BUSY),
		.reserved = htole32(0x61626364),
	};

	(void)state;
	assert_wire(&c, sizeof(c),
		    "01000000 01000000 0000200000000000 8877665544332211 9887766554433221"
		    "0897867564534231 ffffffffffffffff 44434241 54535251 8000 0800 64636261");
}

static void extent_is_frozen(void **state)
{
	struct memlease_extent e = {
		.region = htole32(MEMLEASE_REGION_WINDOW),
		.count = htole32(0x01020304),
		.first = htole64(0x1112131415161718),
	};

	(void)state;
	assert_wire(&e, sizeof(e), "01000000 04030201 1817161514131211");
}

static void request_is_frozen(void **state)
{
	struct memlease_request r = {
		.type = htole16(MEMLEASE_REQ_REPORT),
		.count = htole16(0x0102),
		.reserved = htole32(0x11121314),
		.cookie = htole64(0x2122232425262728),
	};

	(void)state;
	assert_wire(&r, sizeof(r), "0300 0201 14131211 2827262524232221");
}

static void response_is_frozen(void **state)
{
	struct memlease_response r = {
		.status = htole16(MEMLEASE_REFUSED),
		.count = htole16(0x0102),
		.done_blocks = htole32(0x11121314),
		.cookie = htole64(0x2122232425262728),
	};
	struct memlease_answer a = {
		.done = htole32(0x31323334),
		.reason = htole32(MEMLEASE_WHY_RATE),
	};

	(void)state;
	assert_wire(&r, sizeof(r), "0200 0201 14131211 2827262524232221");
	assert_wire(&a, sizeof(a), "34333231 05000000");
}

static void stat_is_frozen(void **state)
{
	struct memlease_stat s = {
		.tag = htole16(MEMLEASE_STAT_OOM_RESCUES),
		.reserved = { htole16(0x0102), htole16(0x0304), htole16(0x0506) },
		.value = htole64(0x1112131415161718),
	};

	(void)state;
	assert_wire(&s, sizeof(s), "0900 0201 0403 0605 1817161514131211");
}

/* A request for figures, and its answer. */
static void query_is_frozen(void **state)
{
	struct memlease_request r = {
		.type = htole16(MEMLEASE_REQ_QUERY),
		.count = htole16(0x0003),
		.cookie = htole64(0x2122232425262728),
	};
	struct {
		struct memlease_response head;
		struct memlease_stat figure[2];
	} a = {
		{ htole16(MEMLEASE_DONE), htole16(2), 0, htole64(0x2122232425262728) },
		{ { htole16(MEMLEASE_QUERY_METERED_BLOCK_NS), { 0 }, htole64(0x3132333435363738) },
		  { htole16(MEMLEASE_QUERY_METERED_HIGH), { 0 }, htole64(0x4142434445464748) } },
	};

	(void)state;
	assert_wire(&r, sizeof(r), "0500 0300 00000000 2827262524232221");
	assert_wire(&a, sizeof(a),
		    "0000 0200 00000000 2827262524232221"
		    "0300 0000 0000 0000 3837363534333231"
		    "0500 0000 0000 0000 4847464544434241");
}

static void event_is_frozen(void **state)
{
	struct memlease_event e = {
		.type = htole16(MEMLEASE_EV_RETIRED),
		.region = htole16(MEMLEASE_REGION_WINDOW),
		.seq = htole32(0x01020304),
		.a = htole64(0x1112131415161718),
		.b = htole64(0x2122232425262728),
	};

	(void)state;
	assert_wire(&e, sizeof(e), "0300 0100 04030201 1817161514131211 2827262524232221");
}

/* This one is in the byte order of the host; the bytes below are a little-endian host's. */
static void uffd_layout_is_frozen(void **state)
{
	struct memlease_vhost_uffd u = {
		.version = htole32(MEMLEASE_ABI_VERSION),
		.count = htole32(MEMLEASE_REGION_COUNT),
		.regions = {
			{ htole32(MEMLEASE_REGION_BOOT), 0, 0, htole64(0x1112131415161718),
			  htole64(0x2122232425262728) },
			{ htole32(MEMLEASE_REGION_WINDOW), htole32(0x31323334),
			  htole64(0x4142434445464748), htole64(0x5152535455565758),
			  htole64(0x6162636465666768) },
		},
	};

	(void)state;
	assert_wire(&u, sizeof(u),
		    "01000000 02000000"
		    "00000000 00000000 0000000000000000 1817161514131211 2827262524232221"
		    "01000000 34333231 4847464544434241 5857565554535251 6867666564636261");
}

static void numbers_are_frozen(void **state)
{
	static const struct {
		uint64_t got, want;
	} n[] = {
		{ MEMLEASE_ABI_VERSION, 1 }, { VIRTIO_ID_MEMLEASE, 63 },
		{ MEMLEASE_BLOCK_SHIFT, 21 }, { MEMLEASE_BLOCK_BYTES, 2097152 },
		{ MEMLEASE_VQ_REQUEST, 0 }, { MEMLEASE_VQ_EVENT, 1 }, { MEMLEASE_VQ_COUNT, 2 },
		{ MEMLEASE_VQ_MAX_SIZE, 256 },
		{ MEMLEASE_F_EAGER, 0 }, { MEMLEASE_F_REPORTING, 1 }, { MEMLEASE_F_STATS, 2 },
		{ MEMLEASE_F_QUERY, 3 }, { MEMLEASE_F_WITHDRAW, 4 },
		{ MEMLEASE_MAX_EXTENTS, 128 }, { MEMLEASE_MAX_STATS, 32 },
		{ MEMLEASE_NO_TARGET, UINT64_MAX }, { MEMLEASE_CFG_BROKEN, 1 },
		{ MEMLEASE_BROKEN_NOT, 0 }, { MEMLEASE_BROKEN_RING, 1 },
		{ MEMLEASE_BROKEN_LENGTH, 2 }, { MEMLEASE_BROKEN_TYPE, 3 },
		{ MEMLEASE_BROKEN_COUNT, 4 }, { MEMLEASE_BROKEN_RANGE, 5 },
		{ MEMLEASE_BROKEN_OVERLAP, 6 }, { MEMLEASE_BROKEN_ORDER, 7 },
		{ MEMLEASE_BROKEN_BUSY, 8 }, { MEMLEASE_BROKEN_TOUCH, 9 },
		{ MEMLEASE_REGION_BOOT, 0 }, { MEMLEASE_REGION_WINDOW, 1 },
		{ MEMLEASE_REGION_COUNT, 2 },
		{ MEMLEASE_REQ_BORROW, 1 }, { MEMLEASE_REQ_RETURN, 2 },
		{ MEMLEASE_REQ_REPORT, 3 }, { MEMLEASE_REQ_STATS, 4 },
		{ MEMLEASE_REQ_QUERY, 5 },
		{ MEMLEASE_DONE, 0 }, { MEMLEASE_PARTLY, 1 }, { MEMLEASE_REFUSED, 2 },
		{ MEMLEASE_WHY_OK, 0 }, { MEMLEASE_WHY_LIMIT, 1 }, { MEMLEASE_WHY_TARGET, 2 },
		{ MEMLEASE_WHY_POOL, 3 }, { MEMLEASE_WHY_RETIRED, 4 }, { MEMLEASE_WHY_RATE, 5 },
		{ MEMLEASE_WHY_WITHDRAWN, 6 },
		{ MEMLEASE_OPEN, 0 }, { MEMLEASE_BEGUN, 0xfffffffe }, { MEMLEASE_WITHDRAWN, 0xffffffff },
		{ MEMLEASE_STAT_TOTAL_BYTES, 1 }, { MEMLEASE_STAT_FREE_BYTES, 2 },
		{ MEMLEASE_STAT_AVAILABLE_BYTES, 3 }, { MEMLEASE_STAT_CACHE_BYTES, 4 },
		{ MEMLEASE_STAT_TARGET_SEQ, 5 }, { MEMLEASE_STAT_TARGET_STATE, 6 },
		{ MEMLEASE_STAT_COMMITTED_BLOCKS, 7 }, { MEMLEASE_STAT_REPORTED_BLOCKS, 8 },
		{ MEMLEASE_STAT_OOM_RESCUES, 9 }, { MEMLEASE_STAT_REPORTING, 10 },
		{ MEMLEASE_STAT_KERNEL_BLOCKS, 11 },
		{ MEMLEASE_REPORTING_ON, 1 }, { MEMLEASE_REPORTING_REFUSED, 2 },
		{ MEMLEASE_REPORTING_TAKEN, 3 }, { MEMLEASE_REPORTING_POISONED, 4 },
		{ MEMLEASE_QUERY_RESIDENT_BLOCKS, 1 }, { MEMLEASE_QUERY_RESIDENT_BOOT_BLOCKS, 2 },
		{ MEMLEASE_QUERY_METERED_BLOCK_NS, 3 }, { MEMLEASE_QUERY_COMMITTED_BLOCKS, 4 },
		{ MEMLEASE_QUERY_METERED_HIGH, 5 },
		{ MEMLEASE_TARGET_NONE, 0 }, { MEMLEASE_TARGET_WORKING, 1 },
		{ MEMLEASE_TARGET_MET, 2 }, { MEMLEASE_TARGET_PARTLY, 3 },
		{ MEMLEASE_EV_TARGET, 1 }, { MEMLEASE_EV_REPORT_NOW, 2 },
		{ MEMLEASE_EV_RETIRED, 3 },
		{ MEMLEASE_VHOST_SET_UFFD, 0x4d4c0001 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++)
		if (n[i].got != n[i].want)
			fail_msg("number %zu is %llu, not %llu", i, (unsigned long long)n[i].got,
				 (unsigned long long)n[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_is_frozen),
		cmocka_unit_test(extent_is_frozen),
		cmocka_unit_test(request_is_frozen),
		cmocka_unit_test(response_is_frozen),
		cmocka_unit_test(stat_is_frozen),
		cmocka_unit_test(query_is_frozen),
		cmocka_unit_test(event_is_frozen),
		cmocka_unit_test(uffd_layout_is_frozen),
		cmocka_unit_test(numbers_are_frozen),
	};

	return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
