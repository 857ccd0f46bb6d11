/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the verbs do with the daemon's answers as they are.
 */
#ifndef ML_CLI_JSON_H
#define ML_CLI_JSON_H

#include <jansson.h>

/* The text under a key of an object, or "?". */
const char *cli_text(const json_t *object, const char *key);

/* Print indented JSON and a newline; exit status. */
int cli_print_json(const json_t *json);

static inline void cli_decref(json_t **json)
{
	json_decref(*json);
}
#define auto_json __attribute__((cleanup(cli_decref)))

#endif /* ML_CLI_JSON_H */
