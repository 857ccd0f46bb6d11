// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading plans.json. Called by the daemon when it starts and by tests; refuses
 * anything it does not understand, because a misread price is a wrong bill.
 */
#include "plans.h"

#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../base/name.h"
#include "decimal.h"

extern const char ml_embedded_plans_json[];

struct plans {
	_Atomic unsigned int users;
	char *missing;		/* why there are none; or NULL */
	char currency[PLANS_CURRENCY_MAX + 1];
	size_t count;
	struct plan plan[];
};

static int parse_price(const char *plan, const char *key, json_t *value, int64_t *nano,
		       struct ml_why *why)
{
	const char *text = json_string_value(value);
	int err;

	if (!value)
		return ml_refuse(why, -EINVAL,
				 "plan '%s' has no price '%s'; write \"0\" for a plan that does not charge it",
				 plan, key);
	if (!text)
		return ml_refuse(why, -EINVAL,
				 "price '%s' of plan '%s' must be a string such as \"0.006\", so that it is exact",
				 key, plan);
	err = decimal_parse(text, PLANS_PRICE_DIGITS, PLANS_PRICE_MAX_NANO, nano);
	if (err == -ERANGE)
		return ml_refuse(why, -EINVAL,
				 "price '%s' of plan '%s', \"%.40s\", has more than %d decimals or is above a million",
				 key, plan, text, PLANS_PRICE_DIGITS);
	if (err)
		return ml_refuse(why, -EINVAL,
				 "price '%s' of plan '%s', \"%.40s\", is no decimal number such as \"0.006\"",
				 key, plan, text);
	return 0;
}

static int parse_plan(const char *name, json_t *value, struct plan *plan, struct ml_why *why)
{
	struct { const char *key; int64_t *nano; } prices[] = {
		{ "resident", &plan->resident_nano },
		{ "committed", &plan->committed_nano },
		{ "guarantee", &plan->guarantee_nano },
	};
	const size_t count = sizeof(prices) / sizeof(prices[0]);
	int err;

	if (!ml_name_ok(name, LEND_NAME_MAX))
		return ml_refuse(why, -EINVAL,
				 "'%.80s' cannot be a plan's name: 1 to %d letters, digits, '_', '.' or '-', the first a letter or digit",
				 name, LEND_NAME_MAX);
	if (!json_is_object(value))
		return ml_refuse(why, -EINVAL,
				 "plan '%s' must be an object with the prices resident, committed and guarantee",
				 name);
	for (size_t i = 0; i < count; i++) {
		err = parse_price(name, prices[i].key, json_object_get(value, prices[i].key),
				  prices[i].nano, why);
		if (err)
			return err;
	}
	if (json_object_size(value) != count) {
		const char *key;
		json_t *unused;

		json_object_foreach(value, key, unused)
			if (strcmp(key, "resident") && strcmp(key, "committed") &&
			    strcmp(key, "guarantee"))
				return ml_refuse(why, -EINVAL,
						 "plan '%s' has an unknown price '%.40s'; known are resident, committed and guarantee",
						 name, key);
	}
	snprintf(plan->name, sizeof(plan->name), "%s", name);
	return 0;
}

static int parse_root(json_t *root, struct plans **out, struct ml_why *why)
{
	const char *currency = json_string_value(json_object_get(root, "currency"));
	json_t *object = json_object_get(root, "plans");
	ml_autofree struct plans *plans = NULL;
	const char *name;
	json_t *value;
	int err;

	if (!currency || !ml_name_ok(currency, PLANS_CURRENCY_MAX))
		return ml_refuse(why, -EINVAL, "\"currency\" must be a string such as \"EUR\"");
	if (!json_is_object(object) || !json_object_size(object))
		return ml_refuse(why, -EINVAL,
				 "\"plans\" must be an object with at least one plan");
	if (json_object_size(root) != 2)
		return ml_refuse(why, -EINVAL,
				 "only \"currency\" and \"plans\" may stand at the top");
	if (json_object_size(object) > PLANS_MAX)
		return ml_refuse(why, -E2BIG, "%zu plans; at most %d are possible",
				 json_object_size(object), PLANS_MAX);
	plans = calloc(1, sizeof(*plans) + json_object_size(object) * sizeof(plans->plan[0]));
	if (!plans)
		return ml_refuse(why, -ENOMEM, "out of memory");
	plans->users = 1;
	snprintf(plans->currency, sizeof(plans->currency), "%s", currency);
	json_object_foreach(object, name, value) {
		err = parse_plan(name, value, &plans->plan[plans->count], why);
		if (err)
			return err;
		plans->count++;
	}
	*out = ml_steal_ptr(plans);
	return 0;
}

/* Errors name the source of the plans. */
static int name_source(struct ml_why *why, int error, const char *source)
{
	return ml_refuse(why, error, "plans in %s: %s", source, why->text);
}

int plans_parse(const char *text, const char *source, struct plans **out, struct ml_why *why)
{
	json_error_t error;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	int err;

	err = root ? parse_root(root, out, why) :
	      ml_refuse(why, -EINVAL, "not JSON at line %d, column %d: %s", error.line,
			error.column, error.text);
	json_decref(root);
	return err ? name_source(why, err, source) : 0;
}

static int read_text(const char *path, char **out, struct ml_why *why)
{
	ml_autofclose FILE *file = fopen(path, "re");
	ml_autofree char *text = NULL;
	size_t len;

	if (!file)
		return ml_refuse(why, -errno, "cannot be opened: %s", strerror(errno));
	text = malloc(PLANS_FILE_MAX_BYTES + 1);
	if (!text)
		return ml_refuse(why, -ENOMEM, "out of memory");
	len = fread(text, 1, PLANS_FILE_MAX_BYTES + 1, file);
	if (ferror(file))
		return ml_refuse(why, -EIO, "cannot be read; it must be a regular file");
	if (len > PLANS_FILE_MAX_BYTES)
		return ml_refuse(why, -E2BIG, "larger than %d bytes", PLANS_FILE_MAX_BYTES);
	if (memchr(text, '\0', len))
		return ml_refuse(why, -EINVAL, "not JSON: it holds a NUL byte");
	text[len] = '\0';
	*out = ml_steal_ptr(text);
	return 0;
}

int plans_read(const char *path, char **text, struct ml_why *why)
{
	int err = read_text(path, text, why);

	return err ? name_source(why, err, path) : 0;
}

int plans_load(const char *path, struct plans **out, struct ml_why *why)
{
	ml_autofree char *text = NULL;
	int err;

	if (!path)
		return plans_parse(ml_embedded_plans_json, "memleased itself", out, why);
	err = plans_read(path, &text, why);
	return err ? err : plans_parse(text, path, out, why);
}

struct plans *plans_none(const char *why)
{
	struct plans *plans = calloc(1, sizeof(*plans));

	if (!plans)
		return NULL;
	plans->users = 1;
	plans->missing = strdup(why);
	if (!plans->missing) {
		free(plans);
		return NULL;
	}
	return plans;
}

const char *plans_missing(const struct plans *plans)
{
	return plans->missing;
}

struct plans *plans_get(const struct plans *plans)
{
	struct plans *own = (struct plans *)plans;	/* nothing else of it ever changes */

	atomic_fetch_add(&own->users, 1);
	return own;
}

void plans_put(struct plans *plans)
{
	if (!plans || atomic_fetch_sub(&plans->users, 1) != 1)
		return;
	free(plans->missing);
	free(plans);
}

void plans_free(struct plans *plans)
{
	plans_put(plans);
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
