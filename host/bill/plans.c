// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading plans.json. Called by the daemon when it starts and by tests; refuses
 * anything it does not understand, because a misread price is a wrong bill.
 */
#include "plans.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../base/name.h"
#include "decimal.h"

extern const char ml_embedded_plans_json[];

struct plans {
	char currency[PLANS_CURRENCY_MAX + 1];
	size_t count;
	struct plan plan[];
};

/* Where an error is said: the file's name goes in front. */
struct complaint {
	const char *source;
	char *why;
	size_t size;
};

__attribute__((format(printf, 3, 4)))
static int complain(const struct complaint *c, int err, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->size)
		snprintf(c->why, c->size, "plans in %s: %s", c->source, text);
	return err;
}

static int parse_price(const struct complaint *c, const char *plan, const char *key,
		       json_t *value, int64_t *nano)
{
	const char *text = json_string_value(value);
	int err;

	if (!value)
		return complain(c, -EINVAL, "plan '%s' has no price '%s'; write \"0\" for a plan that does not charge it",
				plan, key);
	if (!text)
		return complain(c, -EINVAL, "price '%s' of plan '%s' must be a string such as \"0.006\", so that it is exact",
				key, plan);
	err = decimal_parse(text, PLANS_PRICE_DIGITS, PLANS_PRICE_MAX_NANO, nano);
	if (err == -ERANGE)
		return complain(c, -EINVAL, "price '%s' of plan '%s', \"%.40s\", has more than %d decimals or is above a million",
				key, plan, text, PLANS_PRICE_DIGITS);
	if (err)
		return complain(c, -EINVAL, "price '%s' of plan '%s', \"%.40s\", is no decimal number such as \"0.006\"",
				key, plan, text);
	return 0;
}

static int parse_plan(const struct complaint *c, const char *name, json_t *value,
		      struct plan *plan)
{
	struct { const char *key; int64_t *nano; } prices[] = {
		{ "resident", &plan->resident_nano },
		{ "committed", &plan->committed_nano },
		{ "guarantee", &plan->guarantee_nano },
	};
	const size_t count = sizeof(prices) / sizeof(prices[0]);
	int err;

	if (!ml_name_ok(name, LEND_NAME_MAX))
		return complain(c, -EINVAL, "'%.80s' cannot be a plan's name: 1 to %d letters, digits, '_', '.' or '-', the first a letter or digit",
				name, LEND_NAME_MAX);
	if (!json_is_object(value))
		return complain(c, -EINVAL, "plan '%s' must be an object with the prices resident, committed and guarantee",
				name);
	for (size_t i = 0; i < count; i++) {
		err = parse_price(c, name, prices[i].key, json_object_get(value, prices[i].key),
				  prices[i].nano);
		if (err)
			return err;
	}
	if (json_object_size(value) != count) {
		const char *key;
		json_t *unused;

		json_object_foreach(value, key, unused)
			if (strcmp(key, "resident") && strcmp(key, "committed") &&
			    strcmp(key, "guarantee"))
				return complain(c, -EINVAL, "plan '%s' has an unknown price '%.40s'; known are resident, committed and guarantee",
						name, key);
	}
	snprintf(plan->name, sizeof(plan->name), "%s", name);
	return 0;
}

static int parse_root(const struct complaint *c, json_t *root, struct plans **out)
{
	const char *currency = json_string_value(json_object_get(root, "currency"));
	json_t *object = json_object_get(root, "plans");
	ml_autofree struct plans *plans = NULL;
	const char *name;
	json_t *value;
	int err;

	if (!currency || !ml_name_ok(currency, PLANS_CURRENCY_MAX))
		return complain(c, -EINVAL, "\"currency\" must be a string such as \"EUR\"");
	if (!json_is_object(object) || !json_object_size(object))
		return complain(c, -EINVAL, "\"plans\" must be an object with at least one plan");
	if (json_object_size(root) != 2)
		return complain(c, -EINVAL, "only \"currency\" and \"plans\" may stand at the top");
	if (json_object_size(object) > PLANS_MAX)
		return complain(c, -E2BIG, "%zu plans; at most %d are possible",
				json_object_size(object), PLANS_MAX);
	plans = calloc(1, sizeof(*plans) + json_object_size(object) * sizeof(plans->plan[0]));
	if (!plans)
		return -ENOMEM;
	snprintf(plans->currency, sizeof(plans->currency), "%s", currency);
	json_object_foreach(object, name, value) {
		err = parse_plan(c, name, value, &plans->plan[plans->count]);
		if (err)
			return err;
		plans->count++;
	}
	*out = ml_steal_ptr(plans);
	return 0;
}

int plans_parse(const char *text, const char *source, struct plans **out,
		char *why, size_t why_size)
{
	const struct complaint c = { source, why, why_size };
	json_error_t error;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	int err;

	if (!root)
		return complain(&c, -EINVAL, "not JSON at line %d, column %d: %s",
				error.line, error.column, error.text);
	err = parse_root(&c, root, out);
	json_decref(root);
	return err;
}

int plans_load(const char *path, struct plans **out, char *why, size_t why_size)
{
	const struct complaint c = { path, why, why_size };
	ml_autofclose FILE *file = NULL;
	ml_autofree char *text = NULL;
	size_t len;
	int err;

	if (!path)
		return plans_parse(ml_embedded_plans_json, "memleased itself", out, why, why_size);
	file = fopen(path, "re");
	if (!file) {
		err = -errno;
		return complain(&c, err, "cannot be opened: %s", strerror(-err));
	}
	text = malloc(PLANS_FILE_MAX_BYTES + 1);
	if (!text)
		return -ENOMEM;
	len = fread(text, 1, PLANS_FILE_MAX_BYTES + 1, file);
	if (ferror(file))
		return complain(&c, -EIO, "cannot be read; it must be a regular file");
	if (len > PLANS_FILE_MAX_BYTES)
		return complain(&c, -E2BIG, "larger than %d bytes", PLANS_FILE_MAX_BYTES);
	if (memchr(text, '\0', len))
		return complain(&c, -EINVAL, "not JSON: it holds a NUL byte");
	text[len] = '\0';
	return plans_parse(text, path, out, why, why_size);
}

void plans_free(struct plans *plans)
{
	free(plans);
}

const struct plan *plans_find(const struct plans *plans, const char *name)
{
	for (size_t i = 0; i < plans->count; i++)
		if (!strcmp(plans->plan[i].name, name))
			return &plans->plan[i];
	return NULL;
}

size_t plans_count(const struct plans *plans)
{
	return plans->count;
}

const struct plan *plans_at(const struct plans *plans, size_t i)
{
	return i < plans->count ? &plans->plan[i] : NULL;
}

const char *plans_currency(const struct plans *plans)
{
	return plans->currency;
}
