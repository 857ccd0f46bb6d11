// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the CLI reads and writes as text: sizes, spans, times, suggestions,
 * GiB-hours, shell words.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../host/cli/bill_table.h"
#include "../../host/cli/suggest.h"
#include "../../host/cli/units.h"
#include "../../host/cli/when.h"
#include "../../host/cli/words.h"

#define GIB (1ULL << 30)

static void sizes_written(void **state)
{
	char text[SIZE_TEXT_MAX];

	(void)state;
	assert_string_equal(size_format(0, text), "0 MiB");
	assert_string_equal(size_format(1, text), "1 B");
	assert_string_equal(size_format(4096, text), "4 KiB");
	assert_string_equal(size_format(256 << 20, text), "256 MiB");
	assert_string_equal(size_format(GIB - 1, text), "1023 MiB");
	assert_string_equal(size_format(GIB, text), "1.00 GiB");
	assert_string_equal(size_format(3 * GIB / 2, text), "1.50 GiB");
	assert_string_equal(size_format(1024 * GIB, text), "1.00 TiB");
	assert_string_equal(size_format(UINT64_MAX, text), "15.99 EiB");
	assert_string_equal(size_format_blocks(128, text), "256 MiB");
	assert_string_equal(size_format_blocks(UINT64_MAX, text), "15.99 EiB");
}

static void spans(void **state)
{
	static const char *const bad[] = { "", "s", "-1s", "1.5s", "1 s", "1y", "10ss", "0x1" };
	char text[SIZE_TEXT_MAX];
	int64_t ms = 0;

	(void)state;
	assert_int_equal(span_parse("10", &ms), 0);
	assert_int_equal(ms, 10000);
	assert_int_equal(span_parse("500ms", &ms), 0);
	assert_int_equal(ms, 500);
	assert_int_equal(span_parse("2h", &ms), 0);
	assert_int_equal(ms, 7200000);
	assert_int_equal(span_parse("1w", &ms), 0);
	assert_int_equal(ms, 604800000);
	assert_int_equal(span_parse("99999d", &ms), -ERANGE);
	assert_int_equal(span_parse("99999999999999999999s", &ms), -ERANGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(span_parse(bad[i], &ms), -EINVAL);
	assert_string_equal(span_format(0, text), "0 s");
	assert_string_equal(span_format(999, text), "999 ns");
	assert_string_equal(span_format(350000, text), "350 us");
	assert_string_equal(span_format(3400000000ULL, text), "3.4 s");
	assert_string_equal(span_format(320ULL * 1000000000, text), "5 min 20 s");
	assert_string_equal(span_format(7500ULL * 1000000000, text), "2 h 05 min");
	assert_string_equal(span_format(273600ULL * 1000000000, text), "3 d 04 h");
}

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

#define NOW_MS 1795221642000LL	/* 2026-11-21 00:40:42 UTC */

static int64_t when(const char *text)
{
	int64_t ms = 0;

	if (when_parse(text, NOW_MS, &ms))
		fail_msg("'%s' was refused", text);
	return ms;
}

static void times_in_utc(void **state)
{
	(void)state;
	set_zone("UTC");
	assert_int_equal(when("now"), NOW_MS);
	assert_int_equal(when("today"), 1795219200000LL);
	assert_int_equal(when("yesterday"), 1795219200000LL - 86400000);
	assert_int_equal(when("month"), 1793491200000LL);
	assert_int_equal(when("last-month"), 1790812800000LL);
	assert_int_equal(when("-2h"), NOW_MS - 7200000);
	assert_int_equal(when("-90s"), NOW_MS - 90000);
	assert_int_equal(when("@1795219200"), 1795219200000LL);
	assert_int_equal(when("2026-11"), 1793491200000LL);
	assert_int_equal(when("2026-11-21"), 1795219200000LL);
	assert_int_equal(when("2026-11-21T00:40"), 1795221600000LL);
	assert_int_equal(when("2026-11-21 00:40:42.5"), NOW_MS + 500);
	assert_int_equal(when("2026-11-21T00:40:42Z"), NOW_MS);
	assert_int_equal(when("2026-11-21T02:40:42+02:00"), NOW_MS);
	assert_int_equal(when("2026-11-20T19:10:42-0530"), NOW_MS);
	assert_int_equal(when("2028-02-29"), 1835395200000LL);
	assert_int_equal(when("1970-01-01"), 0);
}

static void times_in_local_zone(void **state)
{
	int64_t ms;

	(void)state;
	set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
	assert_int_equal(when("2026-11-21"), 1795219200000LL - 3600000);
	assert_int_equal(when("2026-07-01"), 1782864000000LL - 7200000);
	assert_int_equal(when("2026-11-21T00:40:42Z"), NOW_MS);
	/* 00:40 UTC is 01:40 there: the same day. */
	assert_int_equal(when("today"), 1795219200000LL - 3600000);
	/* This hour is skipped in spring. */
	assert_int_equal(when_parse("2026-03-29T02:30", NOW_MS, &ms), -ERANGE);
	/* A day of 25 hours does not shift midnight. */
	assert_int_equal(when_parse("yesterday", 1792972800000LL /* 2026-10-26 00:00 UTC */, &ms), 0);
	assert_int_equal(ms, 1792879200000LL /* 2026-10-25 00:00 CEST */);
	set_zone("UTC");
}

static void times_refused(void **state)
{
	static const char *const malformed[] = {
		"", "noon", "2026", "2026-1-1", "26-11-01", "2026-11-01T", "2026-11-01T1", "2026-11-01T10:",
		"2026-11-01T10:00X", "2026-11-01T10:00+1", "2026-11-01T10:00+15:00", "2026/11/01", "-2",
		"--2h", "@", "@x", "2026-11-01 ", "2026-11-01T10:00:00.", "+2h",
	};
	static const char *const no_such[] = {
		"2026-02-30", "2026-13", "2026-00", "2026-11-00", "2026-11-31", "2026-11-01T24:30",
		"2026-11-01T10:60", "2027-02-29", "1969-12-31", "2026-11-01T10:00:61",
	};
	int64_t ms = 7;

	(void)state;
	set_zone("UTC");
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		if (when_parse(malformed[i], NOW_MS, &ms) != -EINVAL)
			fail_msg("'%s' was not -EINVAL", malformed[i]);
	for (size_t i = 0; i < sizeof(no_such) / sizeof(no_such[0]); i++)
		if (when_parse(no_such[i], NOW_MS, &ms) != -ERANGE)
			fail_msg("'%s' was not -ERANGE", no_such[i]);
	assert_int_equal(ms, 7);
}

static void times_written(void **state)
{
	char text[WHEN_TEXT_MAX];

	(void)state;
	set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
	assert_string_equal(when_format_minute(NOW_MS, text), "2026-11-21 01:40");
	assert_string_equal(when_format_ms(NOW_MS + 7, text), "2026-11-21 01:40:42.007");
	assert_string_equal(when_format_iso(NOW_MS + 7, text), "2026-11-21T00:40:42.007Z");
	set_zone("UTC");
	assert_string_equal(when_format_iso(-1, text), "1969-12-31T23:59:59.999Z");
}

static void suggestions(void **state)
{
	static const char *const words[] = { "limit", "target", "guarantee", "deadline", "wait" };
	const size_t n = sizeof(words) / sizeof(words[0]);

	(void)state;
	assert_string_equal(suggest("limt", words, n), "limit");
	assert_string_equal(suggest("tagret", words, n), "target");
	assert_string_equal(suggest("guarante", words, n), "guarantee");
	assert_string_equal(suggest("dead", words, n), "deadline");
	assert_null(suggest("frobnicate", words, n));
	assert_null(suggest("limit", words, 0));
}

static void gib_hours_shown(void **state)
{
	char text[GIB_HOURS_TEXT_MAX];

	(void)state;
	assert_string_equal(gib_hours("0", text), "0.0000");
	assert_string_equal(gib_hours("1843200000000000", text), "1.0000");
	assert_string_equal(gib_hours("92160000000", text), "0.0001");	/* 0.00005 goes up */
	assert_string_equal(gib_hours("92159999999", text), "0.0000");
	assert_string_equal(gib_hours("9999999999999999999999999999999999", text), "5425347222222222222.2222");
	assert_string_equal(gib_hours("99999999999999999999999999999999999", text), "?");
	assert_string_equal(gib_hours("-1", text), "?");
	assert_string_equal(gib_hours("", text), "?");
	assert_string_equal(gib_hours(NULL, text), "?");
}

/* What a shell makes of the quoted words is what went in. */
static void words_survive_a_shell(void **state)
{
	static const char *const given[] = {
		"plain", "-a,b=c", "", "two words", "it's", "$HOME `id` \"x\" \\", "*", "\n", "~", "!x", "#", "é",
	};
	struct words words = { 0 };
	char command[1024] = "", got[1024], want[1024] = "";
	size_t n = 0;
	FILE *out, *shell;

	(void)state;
	words_add(&words, "printf");
	words_add(&words, "%s|");
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
		words_add(&words, given[i]);
		strcat(strcat(want, given[i]), "|");
	}
	assert_false(words.no_memory);
	assert_null(words.v[words.count]);
	out = fmemopen(command, sizeof(command), "w");
	words_print_quoted(&words, out, true);
	fclose(out);
	shell = popen(command, "r");
	assert_non_null(shell);
	n = fread(got, 1, sizeof(got) - 1, shell);
	got[n] = '\0';
	assert_int_equal(pclose(shell), 0);
	assert_string_equal(got, want);
	words_free(&words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_written), cmocka_unit_test(spans), cmocka_unit_test(times_in_utc),
		cmocka_unit_test(times_in_local_zone), cmocka_unit_test(times_refused),
		cmocka_unit_test(times_written), cmocka_unit_test(suggestions),
		cmocka_unit_test(gib_hours_shown), cmocka_unit_test(words_survive_a_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
