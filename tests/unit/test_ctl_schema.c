// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The check of arguments against schema.json: the real file, and small ones made
 * to be wrong.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../host/ctl/commands.h"
#include "../../host/ctl/schema.h"
#include "../../host/lend/lend.h"

extern const char ml_embedded_schema_json[];

static struct ctl_schema *schema;

static int load(void **state)
{
	struct ml_why why = { "" };

	(void)state;
	if (ctl_schema_load(&schema, ml_embedded_schema_json, &why)) {
		fprintf(stderr, "schema.json: %s\n", why.text);
		return -1;
	}
	return 0;
}

static int unload(void **state)
{
	(void)state;
	ctl_schema_free(schema);
	return 0;
}

/* Checks args (JSON text), and that the reason holds the words. */
static void expect(const char *command, const char *args_text, int want, const char *words)
{
	json_t *args = args_text ? json_loads(args_text, 0, NULL) : NULL;
	struct ml_why why = { "" };
	int ret;

	assert_true(!args_text || args);
	ret = ctl_schema_check(schema, command, args, &why);
	json_decref(args);
	if (ret != want || (words && !strstr(why.text, words)))
		fail_msg("%s %s: %d, \"%s\"; expected %d with \"%s\"", command,
			 args_text ? args_text : "", ret, why.text, want, words ? words : "");
}

#define CREATE(more) "{\"name\": \"a\", \"tenant\": \"t\", \"plan\": \"p\", \"boot\": 2097152, " \
	"\"limit\": 2097152" more "}"

static void test_good(void **state)
{
	(void)state;
	expect("query-pool", NULL, 0, NULL);
	expect("query-pool", "{}", 0, NULL);
	expect("query-vm", "{\"name\": \"a\"}", 0, NULL);
	expect("vm-create", CREATE(""), 0, NULL);
	expect("vm-create", CREATE(", \"weight\": 7, \"guarantee\": 0"), 0, NULL);
	expect("vm-set", "{\"name\": \"a\", \"target\": null}", 0, NULL);
	expect("query-bill", "{\"by\": \"vm\", \"from\": 0, \"to\": 253402300799999}", 0, NULL);
	expect("query-bill", "{\"by\": \"tenant\"}", 0, NULL);
	expect("query-bill", "{\"by\": \"period\"}", 0, NULL);
	expect("qmp_capabilities", "{\"enable\": []}", 0, NULL);
}

static void test_unknown(void **state)
{
	(void)state;
	expect("no-such", NULL, -ENOENT, "no-such");
	expect("", NULL, -ENOENT, "query-commands");
	expect("query-pool", "{\"x\": 1}", -EINVAL, "it takes none");
	expect("vm-set", "{\"name\": \"a\", \"limits\": 1}", -EINVAL, "'limits'");
	expect("vm-set", "{\"name\": \"a\", \"limits\": 1}", -EINVAL, "name, limit, guarantee");
	/* The mark of what may be absent is no part of the name. */
	expect("vm-set", "{\"name\": \"a\", \"limit?\": 1}", -EINVAL, "limit?");
}

static void test_missing(void **state)
{
	(void)state;
	expect("query-vm", NULL, -EINVAL, "'name' is missing");
	expect("vm-create", "{\"name\": \"a\", \"tenant\": \"t\", \"plan\": \"p\", \"limit\": 1}",
	       -EINVAL, "'boot' is missing");
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"\"\"", "\".a\"", "\"-a\"", "\"a/b\"", "\"..\"", "\"a b\"", "\"\\u00e4\"", "7", "null", "[]",
		"\"\\n\"", "\"a:b\"",
	};
	char args[256], name[LEND_NAME_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(args, sizeof(args), "{\"name\": %s}", bad[i]);
		expect("query-vm", args, -EINVAL, "a name");
	}
	memset(name, 'x', sizeof(name) - 1);
	name[LEND_NAME_MAX + 1] = '\0';
	snprintf(args, sizeof(args), "{\"name\": \"%s\"}", name);
	expect("query-vm", args, -EINVAL, "63");
	name[LEND_NAME_MAX] = '\0';
	snprintf(args, sizeof(args), "{\"name\": \"%s\"}", name);
	expect("query-vm", args, 0, NULL);
}

static void test_types_and_bounds(void **state)
{
	(void)state;
	expect("vm-create", CREATE(", \"weight\": 2147483647"), 0, NULL);
	expect("vm-create", CREATE(", \"weight\": 2147483648"), -EINVAL, "2147483648");
	expect("vm-create", CREATE(", \"weight\": -1"), -EINVAL, "-1");
	expect("vm-create", CREATE(", \"weight\": 1.5"), -EINVAL, "1.5");
	expect("vm-create", CREATE(", \"weight\": null"), -EINVAL, "null");
	expect("vm-create", CREATE(", \"guarantee\": \"1G\""), -EINVAL, "\"1G\"");
	expect("vm-create", CREATE(", \"guarantee\": 4503599627370496"), 0, NULL);
	expect("vm-create", CREATE(", \"guarantee\": 4503599627370497"), -EINVAL, "from 0 to 4P");
	expect("vm-set", "{\"name\": \"a\", \"target\": true}", -EINVAL, "or null");
	expect("query-bill", "{\"by\": \"year\"}", -EINVAL, "vm, tenant, period");
	expect("query-bill", "{\"by\": \"v\"}", -EINVAL, "vm, tenant, period");
	expect("query-bill", "{\"by\": \"\"}", -EINVAL, "vm, tenant, period");
	expect("query-bill", "{\"by\": \"vm, tenant\"}", -EINVAL, "vm, tenant, period");
	expect("query-bill", "{\"from\": -1}", -EINVAL, "1970");
	expect("qmp_capabilities", "{\"enable\": [1]}", -EINVAL, "list of strings");
}

/* A huge value is shown shortened. */
static void test_long_value(void **state)
{
	static char args[9000];
	struct ml_why why;
	json_t *json;

	(void)state;
	memset(args, 'y', sizeof(args) - 1);
	memcpy(args, "{\"name\": \"", 10);
	memcpy(args + sizeof(args) - 3, "\"}", 3);
	json = json_loads(args, 0, NULL);
	assert_non_null(json);
	assert_int_equal(ctl_schema_check(schema, "query-vm", json, &why), -EINVAL);
	assert_in_range(strlen(why.text), 100, 300);
	assert_non_null(strstr(why.text, "yyy..."));
	json_decref(json);
}

static void test_commands(void **state)
{
	json_t *list = ctl_schema_commands(schema);
	json_t *all = json_object_get(ctl_schema_json(schema), "commands");

	(void)state;
	assert_int_equal(json_array_size(list), json_object_size(all));
	assert_true(json_array_size(list) > 10);
	json_decref(list);
}

static void test_bad_schemas(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"commands\": []}", "{\"commands\": {\"a\": {}}}",
		"{\"commands\": {\"a\": {\"arguments\": {\"x\": \"sizes\"}}}}",
		"{\"commands\": {\"a\": {\"arguments\": {\"x\": 1}}}}",
		"{\"commands\": {\"a\": {\"arguments\": {\"x\": \"int: 1, 2\"}}}}",
		"{\"commands\": {\"a\": {\"arguments\": {\"x\": \"string:\"}}}}",
		"{\"commands\": {\"a\": {\"arguments\": {}}, \"a\": {\"arguments\": {}}}}",
	};
	struct ctl_schema *other;
	struct ml_why why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why.text[0] = '\0';
		assert_int_equal(ctl_schema_load(&other, bad[i], &why), -EINVAL);
		assert_true(why.text[0]);
	}
}

/* Each command of schema.json has a handler, and each handler a command. */
static void test_handlers(void **state)
{
	ctl_schema_auto struct ctl_schema *checked = NULL;
	struct ml_why why = { "" };
	size_t count = 0;

	(void)state;
	if (commands_load(&checked, &why))
		fail_msg("schema.json: %s", why.text);
	for (const char *name = ctl_schema_next(checked, NULL); name;
	     name = ctl_schema_next(checked, name))
		count++;
	assert_int_equal(count, json_object_size(json_object_get(ctl_schema_json(checked),
								  "commands")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_types_and_bounds),
		cmocka_unit_test(test_long_value),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_bad_schemas),
		cmocka_unit_test(test_handlers),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
