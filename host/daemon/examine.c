// SPDX-License-Identifier: GPL-2.0-or-later
/* --check-config; see examine.h. */
#include "examine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../bill/plans.h"
#include "../lend/lend.h"
#include "../meter/ledger.h"
#include "places.h"

static void say(const char *dir, const char *file, const char *verdict)
{
	printf("%s%s%s: %s\n", dir, dir[0] ? "/" : "", file, verdict);
}

static int examine_plans(const struct config *config)
{
	plans_auto struct plans *plans = NULL;
	struct ml_why why = { "" };
	char text[64];

	if (!config->plans)
		return 0;
	if (plans_load(config->plans, &plans, &why)) {
		printf("%s\n", why.text);
		return 1;
	}
	snprintf(text, sizeof(text), "good, %zu plan%s in %s", plans_count(plans),
		 plans_count(plans) == 1 ? "" : "s", plans_currency(plans));
	say("", config->plans, text);
	return 0;
}

static int examine_ledger(const struct config *config)
{
	struct ml_why why = { "" };
	int ret = ledger_look(config->ledger, &why);

	say("", config->ledger, !ret ? "good" : ret == -ENOENT ? "not there yet; it will be made" :
	    why.text);
	return ret && ret != -ENOENT;
}

static void say_state(void *ctx, const char *file, const char *why)
{
	char text[ML_WHY_BYTES + 64];

	if (why)
		snprintf(text, sizeof(text), "%s; it would be set aside", why);
	say(ctx, file, why ? text : "good");
}

int examine_files(const struct config *config)
{
	int bad = examine_plans(config) + examine_ledger(config);
	int state = lender_examine(config->state_dir, say_state, (void *)config->state_dir);

	if (state < 0)
		say("", config->state_dir, strerror(-state));
	bad += state < 0 ? 1 : state;
	if (!config->reserved && places_check_memory(config))
		bad++;
	return bad;
}
