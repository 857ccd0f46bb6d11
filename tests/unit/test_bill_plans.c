// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prices: decimal text to exact integers and back, and what plans_parse()
 * refuses. A misread price is a wrong bill, so each refusal must name its value.
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
#include <unistd.h>

#include "../../host/bill/decimal.h"
#include "../../host/bill/plans.h"
#include "../../host/bill/report.h"

static void decimal_exact(void **state)
{
	static const struct { const char *text; int64_t value; } good[] = {
		{ "0", 0 }, { "0.006", 6000000 }, { "1", 1000000000 }, { "0.000000001", 1 },
		{ "00.50", 500000000 }, { "12.3456789010000", 12345678901 },
		{ "1000000", PLANS_PRICE_MAX_NANO },
	};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(decimal_parse(good[i].text, 9, PLANS_PRICE_MAX_NANO, &value), 0);
		assert_int_equal(value, good[i].value);
	}
}

static void decimal_refused(void **state)
{
	static const char *const malformed[] = {
		"", ".", ".5", "5.", "-1", "+1", " 1", "1 ", "1e3", "0x10", "1,5", "1.2.3", "inf",
	};
	static const char *const range[] = {
		"0.0000000001", "1000000.000000001", "99999999999999999999999999",
	};
	int64_t value = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		assert_int_equal(decimal_parse(malformed[i], 9, PLANS_PRICE_MAX_NANO, &value), -EINVAL);
	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		assert_int_equal(decimal_parse(range[i], 9, PLANS_PRICE_MAX_NANO, &value), -ERANGE);
	assert_int_equal(value, 77);
}

static void decimal_text(void **state)
{
	char text[DECIMAL_TEXT_MAX], wide[ML_U128_TEXT];

	(void)state;
	assert_string_equal(decimal_format(0, 6, text), "0.000000");
	assert_string_equal(decimal_format(1, 6, text), "0.000001");
	assert_string_equal(decimal_format(1234567890, 6, text), "1234.567890");
	assert_string_equal(decimal_format(INT64_MAX, 6, text), "9223372036854.775807");
	assert_string_equal(ml_u128_text(0, wide), "0");
	assert_string_equal(ml_u128_text((unsigned __int128)UINT64_MAX + 1, wide), "18446744073709551616");
	assert_string_equal(ml_u128_text(~(unsigned __int128)0, wide),
			    "340282366920938463463374607431768211455");
}

static void embedded_plans(void **state)
{
	struct ml_why why;
	plans_auto struct plans *plans = NULL;
	const struct plan *plan;

	(void)state;
	assert_int_equal(plans_load(NULL, &plans, &why), 0);
	assert_string_equal(plans_currency(plans), "EUR");
	assert_true(plans_count(plans) >= 1);
	plan = plans_find(plans, "standard");
	assert_non_null(plan);
	assert_int_equal(plan->resident_nano, 6000000);
	assert_int_equal(plan->committed_nano, 500000);
	assert_int_equal(plan->guarantee_nano, 2000000);
	assert_null(plans_find(plans, "no-such-plan"));
	assert_null(plans_at(plans, plans_count(plans)));
}

static void plans_as_json(void **state)
{
	struct ml_why why;
	plans_auto struct plans *plans = NULL;
	json_t *json, *first;

	(void)state;
	assert_int_equal(plans_parse("{\"currency\": \"CHF\", \"plans\": {\"z\": {\"resident\": \"10\","
				     "\"committed\": \"0\", \"guarantee\": \"0.500\"}, \"a\": {\"resident\": \"1\","
				     "\"committed\": \"2\", \"guarantee\": \"3\"}}}", "t", &plans, &why), 0);
	json = plans_to_json(plans);
	assert_string_equal(json_string_value(json_object_get(json, "currency")), "CHF");
	assert_int_equal(json_array_size(json_object_get(json, "plans")), 2);
	first = json_array_get(json_object_get(json, "plans"), 0);
	assert_string_equal(json_string_value(json_object_get(first, "name")), "z");
	assert_string_equal(json_string_value(json_object_get(first, "resident")), "10");
	assert_string_equal(json_string_value(json_object_get(first, "committed")), "0");
	assert_string_equal(json_string_value(json_object_get(first, "guarantee")), "0.5");
	json_decref(json);
}

#define PLAN(p) "{\"currency\":\"EUR\",\"plans\":{" p "}}"
#define PRICES(r, c, g) "{\"resident\":" r ",\"committed\":" c ",\"guarantee\":" g "}"

static void plans_refused(void **state)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "", "not JSON" },
		{ "{\"currency\":\"EUR\",}", "line 1" },
		{ "[]", "currency" },
		{ "{\"plans\":{}}", "currency" },
		{ "{\"currency\":\"EUR\",\"plans\":{}}", "at least one plan" },
		{ "{\"currency\":\"EUR\",\"plans\":[]}", "object" },
		{ "{\"currency\":\"E U R\",\"plans\":{}}", "currency" },
		{ PLAN("\"x\":" PRICES("\"1\"", "\"1\"", "\"1\"")) "x", "not JSON" },
		{ "{\"currency\":\"EUR\",\"vat\":1,\"plans\":{\"x\":" PRICES("\"1\"", "\"1\"", "\"1\"") "}}", "top" },
		{ PLAN("\"x\":" PRICES("0.006", "\"1\"", "\"1\"")), "must be a string" },
		{ PLAN("\"x\":" PRICES("\"-1\"", "\"1\"", "\"1\"")), "\"-1\"" },
		{ PLAN("\"x\":" PRICES("\"1\"", "\"1e3\"", "\"1\"")), "'committed' of plan 'x', \"1e3\"" },
		{ PLAN("\"x\":" PRICES("\"1\"", "\"1\"", "\"0.0000000001\"")), "decimals" },
		{ PLAN("\"x\":{\"resident\":\"1\",\"committed\":\"1\"}"), "no price 'guarantee'" },
		{ PLAN("\"x\":{\"resident\":\"1\",\"committed\":\"1\",\"guarantee\":\"1\",\"disk\":\"1\"}"), "'disk'" },
		{ PLAN("\"x y\":" PRICES("\"1\"", "\"1\"", "\"1\"")), "'x y'" },
		{ PLAN("\"-x\":" PRICES("\"1\"", "\"1\"", "\"1\"")), "'-x'" },
		{ PLAN("\"\":" PRICES("\"1\"", "\"1\"", "\"1\"")), "plan's name" },
		{ PLAN("\"x\":" PRICES("\"1\"", "\"1\"", "\"1\"") ",\"x\":" PRICES("\"2\"", "\"1\"", "\"1\"")), "uplicate" },
		{ PLAN("\"x\":7"), "must be an object" },
	};
	struct plans *plans = NULL;
	struct ml_why why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why.text[0] = '\0';
		assert_int_equal(plans_parse(bad[i].text, "p.json", &plans, &why), -EINVAL);
		if (!strstr(why.text, bad[i].says) || !strstr(why.text, "p.json"))
			fail_msg("case %zu says: %s", i, why.text);
		assert_null(plans);
	}
}

static void plans_from_file(void **state)
{
	char path[] = "/tmp/test_bill_plans.XXXXXX";
	struct ml_why why;
	plans_auto struct plans *plans = NULL;
	const char *text = PLAN("\"x\":" PRICES("\"1\"", "\"1\"", "\"1\""));
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(plans_load(path, &plans, &why), 0);
	assert_int_equal(plans_find(plans, "x")->resident_nano, 1000000000);
	plans_free(plans);
	plans = NULL;
	assert_int_equal(write(fd, "\0", 1), 1);
	assert_int_equal(plans_load(path, &plans, &why), -EINVAL);
	assert_int_equal(ftruncate(fd, PLANS_FILE_MAX_BYTES + 1), 0);
	assert_int_equal(plans_load(path, &plans, &why), -E2BIG);
	close(fd);
	unlink(path);
	assert_int_equal(plans_load(path, &plans, &why), -ENOENT);
	assert_non_null(strstr(why.text, path));
	assert_int_equal(plans_load("/", &plans, &why), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decimal_exact), cmocka_unit_test(decimal_refused),
		cmocka_unit_test(decimal_text), cmocka_unit_test(embedded_plans),
		cmocka_unit_test(plans_as_json), cmocka_unit_test(plans_refused),
		cmocka_unit_test(plans_from_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
