// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target for host/bill/plans.h: the input is a file of plans. What is taken keeps its
 * bounds, and can be told to a client; what is not has a reason.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../../host/bill/plans.h"
#include "../../host/bill/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void in_bounds(int64_t nano)
{
	assert(nano >= 0 && nano <= PLANS_PRICE_MAX_NANO);
}

static void check(const struct plans *plans)
{
	size_t count = plans_count(plans);

	assert(count <= PLANS_MAX && strlen(plans_currency(plans)) <= PLANS_CURRENCY_MAX);
	for (size_t i = 0; i < count; i++) {
		const struct plan *plan = plans_at(plans, i);

		in_bounds(plan->resident_nano);
		in_bounds(plan->committed_nano);
		in_bounds(plan->guarantee_nano);
		assert(plans_find(plans, plan->name) == plan);
	}
	json_t *told = plans_to_json(plans);
	assert(told);
	json_decref(told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct ml_why why = { "" };
	struct plans *plans = NULL;

	memcpy(text, data, size);
	text[size] = '\0';
	if (plans_parse(text, "fuzzed", &plans, &why) == 0) {
		check(plans);
		plans_free(plans);
	} else {
		assert(why.text[0] && memchr(why.text, '\0', sizeof(why.text)));
	}
	free(text);
	return 0;
}
