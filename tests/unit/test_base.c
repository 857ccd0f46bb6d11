// SPDX-License-Identifier: GPL-2.0-or-later
/* base/: sizes, names, mapped files, UUIDs, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../../host/base/file.h"
#include "../../host/base/name.h"
#include "../../host/base/size.h"
#include "../../host/base/why.h"
#include "scratch.h"

static void sizes_parse_exactly(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 }, { "1", 0, 1 }, { "512M", 0, 512ULL << 20 },
		{ "512m", 0, 512ULL << 20 }, { "4G", 0, 4ULL << 30 }, { "4GiB", 0, 4ULL << 30 },
		{ "4GB", 0, 4ULL << 30 }, { "1.5G", 0, 1536ULL << 20 }, { "2T", 0, 2ULL << 40 },
		{ "1.5K", 0, 1536 }, { "100B", 0, 100 }, { "15E", 0, 15ULL << 60 },
		{ "18446744073709551615", 0, UINT64_MAX }, { "0.5", -EINVAL, 0 },
		{ "16E", -ERANGE, 0 }, { "18446744073709551616", -ERANGE, 0 },
		{ "0.3K", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "G", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 },
		{ "1 G", -EINVAL, 0 }, { "1GG", -EINVAL, 0 }, { "1Gi", -EINVAL, 0 },
		{ "1.", -EINVAL, 0 }, { "1.G", -EINVAL, 0 }, { ".5G", -EINVAL, 0 },
		{ "1e9", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "1X", -EINVAL, 0 },
		{ "1.00000000000000000000G", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;
		int ret = ml_size_parse(cases[i].text, &bytes);

		if (ret != cases[i].ret || (ret == 0 && bytes != cases[i].bytes))
			fail_msg("'%s': %d, %llu", cases[i].text, ret, (unsigned long long)bytes);
	}
}

static void sizes_print(void **state)
{
	char b[ML_SIZE_TEXT];

	(void)state;
	assert_string_equal(ml_size_exact(0, b), "0");
	assert_string_equal(ml_size_exact(1536ULL << 20, b), "1536M");
	assert_string_equal(ml_size_exact(4ULL << 30, b), "4G");
	assert_string_equal(ml_size_exact(1023, b), "1023");
	assert_string_equal(ml_size_exact(UINT64_MAX, b), "18446744073709551615");
	assert_string_equal(ml_size_human(1536ULL << 20, b), "1.5G");
	assert_string_equal(ml_size_human(0, b), "0");
	assert_string_equal(ml_size_human(512ULL << 20, b), "512M");
	assert_string_equal(ml_size_human((1ULL << 30) - 1, b), "1G");
	assert_string_equal(ml_size_human(1100, b), "1.1K");
	assert_string_equal(ml_size_human(UINT64_MAX, b), "16E");
}

static void names(void **state)
{
	char longest[65];

	(void)state;
	assert_true(ml_name_ok("a", 63));
	assert_true(ml_name_ok("Web-1.prod_x", 63));
	assert_true(ml_name_ok("9", 63));
	assert_false(ml_name_ok("", 63));
	assert_false(ml_name_ok("-a", 63));
	assert_false(ml_name_ok(".a", 63));
	assert_false(ml_name_ok("a/b", 63));
	assert_false(ml_name_ok("a b", 63));
	assert_false(ml_name_ok("a\nb", 63));
	assert_false(ml_name_ok("\xc3\xa4", 63));
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_false(ml_name_ok(longest, 63));
	longest[63] = '\0';
	assert_true(ml_name_ok(longest, 63));
}

static void mapped_files_survive(void **state)
{
	struct ml_map map = { 0 }, again = { 0 };
	struct scratch s;
	int fd;

	(void)state;
	assert_int_equal(scratch_make(&s, 4), 0);
	fd = open(s.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ml_map_open(fd, "f", 1, &map), -ENOENT);
	assert_int_equal(ml_map_create(fd, "f", 5000, &map), 0);
	assert_int_equal(ml_map_create(fd, "f", 5000, &again), -EEXIST);
	assert_int_equal(((char *)map.data)[4999], 0);
	((char *)map.data)[4999] = 'x';
	ml_map_close(&map);
	ml_map_close(&map);
	assert_int_equal(ml_map_open(fd, "f", 5001, &map), -EUCLEAN);
	assert_int_equal(ml_map_open(fd, "f", 5000, &map), 0);
	assert_int_equal(map.size, 5000);
	assert_int_equal(((char *)map.data)[4999], 'x');
	ml_map_close(&map);
	assert_int_equal(symlinkat("f", fd, "link"), 0);
	assert_int_equal(ml_map_open(fd, "link", 1, &map), -ELOOP);
	close(fd);
	scratch_remove(&s);
}

static void lines_and_uuids(void **state)
{
	char a[ML_UUID_TEXT], b[ML_UUID_TEXT], boot[ML_BOOT_ID_BYTES], small[4];

	(void)state;
	assert_int_equal(ml_uuid_make(a), 0);
	assert_int_equal(ml_uuid_make(b), 0);
	assert_int_equal(strlen(a), 36);
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
	assert_string_not_equal(a, b);
	ml_boot_id(boot);
	assert_int_equal(strlen(boot), 36);
	assert_int_equal(ml_read_line(AT_FDCWD, "/proc/version", small, sizeof(small)), -EFBIG);
	assert_int_equal(ml_read_line(AT_FDCWD, "/nowhere", small, sizeof(small)), -ENOENT);
}

static void refusals_say_why(void **state)
{
	char longer[2 * ML_WHY_BYTES];
	struct ml_why why = { "what was there before" };

	(void)state;
	assert_int_equal(ml_refuse(&why, -EINVAL, "%d of %s", 3, "four"), -EINVAL);
	assert_string_equal(why.text, "3 of four");
	/* Words in front of what is there. */
	assert_int_equal(ml_refuse(&why, -ENOSPC, "queue %u: %s", 1, why.text), -ENOSPC);
	assert_string_equal(why.text, "queue 1: 3 of four");
	assert_int_equal(ml_refuse(&why, 0, "out of memory"), 0);
	assert_string_equal(why.text, "out of memory");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(ml_refuse(&why, -E2BIG, "%s", longer), -E2BIG);
	assert_int_equal(strlen(why.text), ML_WHY_BYTES - 1);
	assert_memory_equal(why.text, longer, ML_WHY_BYTES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_parse_exactly), cmocka_unit_test(sizes_print),
		cmocka_unit_test(names), cmocka_unit_test(mapped_files_survive),
		cmocka_unit_test(lines_and_uuids), cmocka_unit_test(refusals_say_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
