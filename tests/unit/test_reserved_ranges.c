// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool/reserved_ranges.c and reserved_fdt.c: what operators write, what /proc/iomem
 * says, and device trees that dtc compiles from tests/unit/dts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/memlease_abi.h"
#include "../../host/pool/reserved_fdt.h"
#include "../../host/pool/reserved_ranges.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define BLOB_MAX 65536

static struct reserved_want want[BACKEND_RANGES_MAX];
static unsigned int wants;
static struct ml_why why;

static int parse(const char *text)
{
	why.text[0] = '\0';
	return reserved_ranges_parse(text, want, &wants, &why);
}

static void operators_name_ranges(void **state)
{
	(void)state;
	assert_int_equal(parse("0x140000000,512M"), 0);
	assert_int_equal(wants, 1);
	assert_int_equal(want[0].base, 0x140000000);
	assert_int_equal(want[0].bytes, 512 * MIB);
	assert_int_equal(want[0].node, -1);
	assert_int_equal(want[0].tier, 0);
	assert_int_equal(parse("5G,2M,0X200000000,1.5G/3"), 0);
	assert_int_equal(wants, 2);
	assert_int_equal(want[0].base, 5 * GIB);
	assert_int_equal(want[1].base, 0x200000000);
	assert_int_equal(want[1].bytes, 1536 * MIB);
	assert_int_equal(want[1].tier, 3);
}

static void operators_err(void **state)
{
	static const char *const bad[] = {
		"", ",", "0x140000000", "0x140000000,", "0x140000000,512M,", "512M",
		"0x,512M", "0xzz,512M", "0x140000001,512M", "0x140000000,511K",
		"0x140000000,0", "0x140000000,1M", "0x140000000,-512M", "0x140000000,512M/",
		"0x140000000,512M/x", "0x140000000,512M/256", "0x140000000,512M/-1",
		"0xffffffffffe00000,4M", "0x140000000,512M,0x150000000,2M",
		"0x140000000,512M,0x130000000,8G", "0x1ffffffffffffffff,2M",
	};
	char many[4096] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_true(why.text[0]);
	}
	for (int i = 0; i < 65; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s%dG,2M", i ? "," : "",
			 i + 1);
	assert_int_equal(parse(many), -EINVAL);
	assert_non_null(strstr(why.text, "64"));
}

static const char iomem[] =
	"00000000-00000fff : Reserved\n"
	"00001000-0009fbff : System RAM\n"
	"000f0000-000fffff : Reserved\n"
	"  000f0000-000fffff : System ROM\n"
	"00100000-bfffffff : System RAM\n"
	"  01000000-01e00fff : Kernel code\n"
	"b0000000-bfffffff : Reserved\n"
	"  b0000000-bfffffff : PCI ECAM 0000 [bus 00-ff]\n"
	"c0000000-febfffff : PCI Bus 0000:00\n"
	"100000000-13fffffff : System RAM\n"
	"140000000-15fffffff : Reserved\n"
	"160000000-17fffffff : System RAM\n"
	"200000000-27fffffff : reserved\n"
	"  210000000-21fffffff : memlease pool\n";

static int check(const char *text)
{
	assert_int_equal(parse(text), 0);
	why.text[0] = '\0';
	return reserved_ranges_check(iomem, want, wants, &why);
}

static void linux_must_leave_them_alone(void **state)
{
	char buf[200];

	(void)state;
	assert_int_equal(check("0x140000000,512M"), 0);
	assert_int_equal(check("0x142000000,64M"), 0);
	/* Cut off by mem=: in no entry at all. */
	assert_int_equal(check("0x1000000000,1G"), 0);
	/* Claimed already. */
	assert_int_equal(check("0x210000000,256M,0x220000000,2M"), 0);
	assert_int_equal(check("0x130000000,2M"), -EEXIST);
	assert_non_null(strstr(why.text, "System RAM"));
	assert_non_null(strstr(why.text, "memmap=2M$0x130000000"));
	assert_int_equal(check("0x140000000,514M"), -EEXIST);
	assert_int_equal(check("0x15fe00000,4M"), -EEXIST);
	assert_int_equal(check("0x13fe00000,4M"), -EEXIST);
	assert_int_equal(check("0x27fe00000,4M"), -EEXIST);
	assert_non_null(strstr(why.text, "only partly"));
	assert_int_equal(check("0xb0000000,2M"), -EEXIST);
	assert_int_equal(check("0xd0000000,2M"), -EEXIST);
	assert_int_equal(reserved_ranges_check("00000000-00000000 : System RAM\n", want, 1, &why),
			 -EACCES);
	assert_int_equal(reserved_ranges_check("", want, 1, &why), -EACCES);
	assert_string_equal(reserved_ranges_candidates(iomem, buf, sizeof(buf)),
			    "0xb0000000,256M 0x140000000,512M 0x200000000,2G");
}

/* --- device trees --- */

static unsigned char blob[BLOB_MAX];
static size_t blob_size;

static bool compile(const char *name)
{
	char command[200];
	FILE *f;

	snprintf(command, sizeof(command), "dtc -q -I dts -O dtb tests/unit/dts/%s.dts", name);
	f = popen(command, "re");
	assert_non_null(f);
	blob_size = fread(blob, 1, sizeof(blob), f);
	return pclose(f) == 0 && blob_size > 0;
}

static int of_tree(const char *name)
{
	if (!compile(name))
		fail_msg("dtc cannot compile tests/unit/dts/%s.dts (is it installed?)", name);
	return reserved_ranges_of_tree(blob, blob_size, want, &wants, &why);
}

static void trees_name_ranges(void **state)
{
	(void)state;
	assert_int_equal(of_tree("two-nodes"), 0);
	assert_int_equal(wants, 3);
	assert_int_equal(want[0].base, 0x140000000);
	assert_int_equal(want[0].bytes, 512 * MIB);
	assert_int_equal(want[0].node, 1);
	assert_int_equal(want[0].tier, 2);
	assert_int_equal(want[1].base, 0x180000000);
	assert_int_equal(want[1].node, 1);
	assert_int_equal(want[2].base, 0x200000000);
	assert_int_equal(want[2].node, -1);
	assert_int_equal(want[2].tier, 0);
	assert_int_equal(of_tree("one-cell"), 0);
	assert_int_equal(wants, 1);
	assert_int_equal(want[0].base, 0x60000000);
	assert_int_equal(want[0].bytes, 128 * MIB);
	assert_int_equal(of_tree("none"), -ENOENT);
}

static void trees_err(void **state)
{
	static const char *const bad[] = {
		"no-map", "unaligned", "empty", "wraps", "odd-reg", "no-reg", "overlap", "node-id",
		"translated", "no-ranges", "three-cells",
	};
	char name[40];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(name, sizeof(name), "bad-%s", bad[i]);
		if (of_tree(name) != -EINVAL)
			fail_msg("%s is taken", name);
		assert_non_null(strstr(why.text, "/reserved-memory"));
	}
}

/* In memory of its exact size, so that a byte too far is seen. */
static int try(const unsigned char *bytes, size_t size)
{
	unsigned char *copy = malloc(size ? size : 1);
	int ret;

	memcpy(copy, bytes, size);
	ret = reserved_ranges_of_tree(copy, size, want, &wants, &why);
	free(copy);
	for (unsigned int i = 0; ret == 0 && i < wants; i++) {
		assert_true(want[i].bytes && want[i].base + want[i].bytes > want[i].base);
		assert_int_equal((want[i].base | want[i].bytes) % MEMLEASE_BLOCK_BYTES, 0);
	}
	return ret;
}

static void hostile_blobs(void **state)
{
	unsigned long taken = 0;

	(void)state;
	assert_int_equal(of_tree("two-nodes"), 0);
	for (size_t n = 0; n < blob_size; n++)
		assert_int_not_equal(try(blob, n), 0);
	srandom(4);
	for (int round = 0; round < 20000; round++) {
		unsigned char copy[BLOB_MAX];

		memcpy(copy, blob, blob_size);
		for (long i = 1 + random() % 4; i > 0; i--)
			copy[random() % (long)blob_size] = (unsigned char)random();
		taken += try(copy, blob_size) == 0;
	}
	/* Some change but a number, or nothing that matters. */
	assert_true(taken > 0 && taken < 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operators_name_ranges), cmocka_unit_test(operators_err),
		cmocka_unit_test(linux_must_leave_them_alone), cmocka_unit_test(trees_name_ranges),
		cmocka_unit_test(trees_err), cmocka_unit_test(hostile_blobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
