// SPDX-License-Identifier: GPL-2.0-or-later
/* Names in the ledger; see bill_names.h. Called by verb_bill.c. */
#include "bill_names.h"

#include <string.h>

#include "ask.h"
#include "exit.h"
#include "suggest.h"

#define NEAR_MAX 1024	/* names looked at for a suggestion */

/* A bill of all time, or NULL. */
static json_t *all_time(struct qmp *c, const char *by, const char *tenant, const char *name)
{
	json_t *args = json_pack("{s:s, s:s*, s:s*}", "by", by, "tenant", tenant, "name", name);
	json_t *bill = NULL;

	if (args)
		qmp_call(c, "query-bill", args, CLI_BILL_TIMEOUT_MS, &bill);
	return bill;
}

static bool is(const json_t *object, const char *key, const char *wanted)
{
	const char *text = json_string_value(json_object_get(object, key));

	return !wanted || (text && !strcmp(text, wanted));
}

/* Has one of the objects, a line of a bill or a VM, this tenant and, under key, this name? */
static bool among(const json_t *list, const char *tenant, const char *key, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		if (is(one, "tenant", tenant) && is(one, key, name))
			return true;
	}
	return false;
}

/* Appends what the tenant's objects have under key. */
static size_t gather(const json_t *list, const char *tenant, const char *key,
		     const char *names[NEAR_MAX], size_t count)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *text = json_string_value(json_object_get(one, key));

		if (text && count < NEAR_MAX && is(one, "tenant", tenant))
			names[count++] = text;
	}
	return count;
}

static void complain(const char *what, const char *name, const char *near)
{
	if (near)
		cli_error("bill: there was never a %s '%s'; did you mean '%s'?", what, name, near);
	else
		cli_error("bill: there was never a %s '%s'", what, name);
}

bool bill_names_known(struct qmp *c, const char *tenant, const char *name)
{
	auto_json json_t *both = NULL, *vms = NULL, *others = NULL;
	const char *names[NEAR_MAX];
	size_t count;

	if (!tenant && !name)
		return true;
	both = all_time(c, "vm", tenant, name);
	if (!both || qmp_call(c, "query-vms", NULL, CLI_CALL_TIMEOUT_MS, &vms))
		return true;
	if (json_array_size(json_object_get(both, "lines")) || among(vms, tenant, "name", name))
		return true;
	others = all_time(c, "tenant", NULL, NULL);
	if (!others)
		return true;
	if (tenant && !among(json_object_get(others, "lines"), tenant, "tenant", NULL) &&
	    !among(vms, tenant, "tenant", NULL)) {
		count = gather(json_object_get(others, "lines"), NULL, "tenant", names, 0);
		complain("tenant", tenant, suggest(tenant, names, gather(vms, NULL, "tenant", names, count)));
		return false;
	}
	if (!name)
		return true;
	/* The tenant is there: it is the VM that is not, or not that tenant's. */
	json_decref(others);
	others = all_time(c, "vm", tenant, NULL);
	count = gather(json_object_get(others, "lines"), tenant, "vm", names, 0);
	complain(tenant ? "VM of that tenant of the name" : "VM", name,
		 suggest(name, names, gather(vms, tenant, "name", names, count)));
	return false;
}
