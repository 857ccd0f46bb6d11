// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bills and plans as JSON, in the shape that ctl/schema.json gives query-bill
 * and query-plans. Called by the control socket; formats, computes nothing.
 */
#include "report.h"

#include <errno.h>
#include <string.h>

#include "../base/terms.h"
#include "decimal.h"

static const char *const by_names[] = { ML_BILL_CUTS };

int bill_by_parse(const char *text, enum bill_by *by)
{
	for (size_t i = 0; i < sizeof(by_names) / sizeof(by_names[0]); i++) {
		if (!strcmp(text, by_names[i])) {
			*by = (enum bill_by)i;
			return 0;
		}
	}
	return -EINVAL;
}

static json_t *u128_json(ml_u128 value)
{
	char text[ML_U128_TEXT];

	return json_string(ml_u128_text(value, text));
}

/* Sets the keys that a line and the total share; 0 or -1, as Jansson does. */
static int set_usage(json_t *object, const struct bill_usage *usage)
{
	char text[DECIMAL_TEXT_MAX];
	json_t *amount = usage->priced ?
		json_string(decimal_format(usage->amount_micro, BILL_AMOUNT_DIGITS, text)) :
		json_null();

	if (json_object_set_new(object, "covered-ms", json_integer(usage->covered_ms)) ||
	    json_object_set_new(object, "resident-block-ns", u128_json(usage->resident_block_ns)) ||
	    json_object_set_new(object, "committed-block-ns", u128_json(usage->committed_block_ns)) ||
	    json_object_set_new(object, "guarantee-block-ns", u128_json(usage->guarantee_block_ns))) {
		json_decref(amount);
		return -1;
	}
	return json_object_set_new(object, "amount", amount);
}

static int set_text(json_t *object, const char *key, const char *text)
{
	return text[0] ? json_object_set_new(object, key, json_string(text)) : 0;
}

static json_t *line_json(const struct bill_line *line)
{
	json_t *object = json_object();

	if (set_text(object, "tenant", line->tenant) || set_text(object, "vm", line->vm) ||
	    set_text(object, "uuid", line->uuid) || set_text(object, "plan", line->plan) ||
	    json_object_set_new(object, "start", json_integer(line->start_ms)) ||
	    json_object_set_new(object, "until", json_integer(line->until_ms)) ||
	    set_usage(object, &line->usage) ||
	    json_object_set_new(object, "peak-resident-blocks",
				json_integer((json_int_t)line->peak_resident_blocks)) ||
	    json_object_set_new(object, "touches", json_integer((json_int_t)line->touches)) ||
	    json_object_set_new(object, "waits", json_integer((json_int_t)line->waits)) ||
	    json_object_set_new(object, "wait-ns", json_integer((json_int_t)line->wait_ns))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int set_lists(json_t *root, const struct bill *bill)
{
	json_t *lines = json_array(), *unpriced = json_array(), *total = json_object();
	json_t *gaps = json_array();
	int failed = 0;

	for (size_t i = 0; i < bill->count; i++)
		failed |= json_array_append_new(lines, line_json(&bill->lines[i]));
	for (size_t i = 0; i < bill->unpriced_count; i++)
		failed |= json_array_append_new(unpriced, json_string(bill->unpriced[i]));
	failed |= set_usage(total, &bill->total);
	for (size_t i = 0; i < bill->gap_count; i++)
		failed |= json_array_append_new(gaps, json_pack(
			"{s:I, s:s, s:s}", "until", (json_int_t)bill->gaps[i].until_ms,
			"ledger", bill->gaps[i].ledger, "reason", bill->gaps[i].reason));
	failed |= json_object_set_new(root, "gaps", gaps);
	failed |= json_object_set_new(root, "lines", lines);
	failed |= json_object_set_new(root, "total", total);
	failed |= json_object_set_new(root, "unpriced-plans", unpriced);
	return failed;
}

json_t *bill_to_json(const struct bill *bill)
{
	json_t *root = json_object();

	if (json_object_set_new(root, "currency", json_string(bill->currency)) ||
	    json_object_set_new(root, "by", json_string(by_names[bill->by])) ||
	    (bill->from_ms != INT64_MIN &&
	     json_object_set_new(root, "from", json_integer(bill->from_ms))) ||
	    (bill->to_ms != INT64_MAX &&
	     json_object_set_new(root, "to", json_integer(bill->to_ms))) ||
	    set_lists(root, bill)) {
		json_decref(root);
		return NULL;
	}
	return root;
}

static int set_price(json_t *object, const char *key, int64_t nano)
{
	char text[DECIMAL_TEXT_MAX];
	char *end;

	decimal_format(nano, PLANS_PRICE_DIGITS, text);
	/* "0.006000000" is how it is kept; people wrote "0.006". */
	for (end = text + strlen(text) - 1; *end == '0'; end--)
		*end = '\0';
	if (*end == '.')
		*end = '\0';
	return json_object_set_new(object, key, json_string(text));
}

json_t *plans_to_json(const struct plans *plans)
{
	json_t *list = json_array(), *root = json_object();
	int failed = json_object_set_new(root, "currency", json_string(plans_currency(plans)));

	for (size_t i = 0; i < plans_count(plans); i++) {
		const struct plan *plan = plans_at(plans, i);
		json_t *object = json_object();

		failed |= json_object_set_new(object, "name", json_string(plan->name));
		failed |= set_price(object, "resident", plan->resident_nano);
		failed |= set_price(object, "committed", plan->committed_nano);
		failed |= set_price(object, "guarantee", plan->guarantee_nano);
		failed |= json_array_append_new(list, object);
	}
	failed |= json_object_set_new(root, "plans", list);
	if (failed) {
		json_decref(root);
		return NULL;
	}
	return root;
}
