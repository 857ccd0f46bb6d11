// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON for the verbs; see json.h. */
#include "json.h"

#include <stdio.h>

#include "exit.h"

const char *cli_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

int cli_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	return CLI_OK;
}
