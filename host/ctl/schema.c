// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checks arguments against schema.json. Called by commands.c before any command
 * is carried out, and by tests. Works on JSON alone: knows no command and no VM.
 */
#include "schema.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../base/name.h"
#include "../base/size.h"
#include "../lend/lend.h"

#define SHOWN_VALUE_MAX 60	/* bytes of a value that an error repeats */

enum arg_kind { ARG_NAME, ARG_SIZE, ARG_BLOCKS, ARG_INT, ARG_BOOL, ARG_STRING, ARG_TIME, ARG_STRINGS };

static const char *const kind_names[] = {
	[ARG_NAME] = "name", [ARG_SIZE] = "size", [ARG_BLOCKS] = "blocks", [ARG_INT] = "int",
	[ARG_BOOL] = "bool", [ARG_STRING] = "string", [ARG_TIME] = "time", [ARG_STRINGS] = "strings",
};

#define KINDS (sizeof(kind_names) / sizeof(kind_names[0]))

/* One argument's type, taken apart: "kind[: choice, choice][ or null]". */
struct arg_type {
	enum arg_kind kind;
	bool nullable;
	const char *choices;	/* "vm, tenant, period", or NULL: any */
	size_t choices_len;
};

struct ctl_schema {
	json_t *root;
	json_t *commands;	/* borrowed from root */
};

static bool parse_type(const char *text, struct arg_type *type)
{
	static const char or_null[] = " or null";
	size_t len = strlen(text), i;
	const char *colon;

	memset(type, 0, sizeof(*type));
	if (len > strlen(or_null) && !strcmp(text + len - strlen(or_null), or_null)) {
		type->nullable = true;
		len -= strlen(or_null);
	}
	colon = memchr(text, ':', len);
	if (colon) {
		type->choices = colon + 1 + strspn(colon + 1, " ");
		type->choices_len = len - (size_t)(type->choices - text);
		len = (size_t)(colon - text);
	}
	for (i = 0; i < KINDS; i++) {
		if (strlen(kind_names[i]) == len && !strncmp(kind_names[i], text, len)) {
			type->kind = (enum arg_kind)i;
			return !type->choices || (type->kind == ARG_STRING && type->choices_len);
		}
	}
	return false;
}

/* Does the schema's key "weight?" mean the argument "weight"? */
static bool key_is(const char *key, const char *name, bool *optional)
{
	size_t len = strlen(key);

	*optional = len && key[len - 1] == '?';
	if (*optional)
		len--;
	return strlen(name) == len && !strncmp(key, name, len);
}

int ctl_schema_load(struct ctl_schema **out, const char *text, struct ml_why *why)
{
	const char *command, *key;
	json_t *def, *args, *value;
	struct ctl_schema *schema;
	struct arg_type type;
	json_error_t error;

	schema = calloc(1, sizeof(*schema));
	if (!schema)
		return -ENOMEM;
	schema->root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	schema->commands = json_object_get(schema->root, "commands");
	if (!json_is_object(schema->commands)) {
		ml_refuse(why, -EINVAL, "line %d: %s", error.line,
			  schema->root ? "no commands" : error.text);
		goto bad;
	}
	json_object_foreach(schema->commands, command, def) {
		args = json_object_get(def, "arguments");
		if (!json_is_object(args)) {
			ml_refuse(why, -EINVAL, "%s: no arguments", command);
			goto bad;
		}
		json_object_foreach(args, key, value) {
			if (!json_is_string(value) || !parse_type(json_string_value(value), &type)) {
				ml_refuse(why, -EINVAL, "%s: argument %s has no known type",
					  command, key);
				goto bad;
			}
		}
	}
	*out = schema;
	return 0;
bad:
	ctl_schema_free(schema);
	return -EINVAL;
}

void ctl_schema_free(struct ctl_schema *schema)
{
	if (!schema)
		return;
	json_decref(schema->root);
	free(schema);
}

json_t *ctl_schema_json(const struct ctl_schema *schema)
{
	return schema->root;
}

const char *ctl_schema_next(const struct ctl_schema *schema, const char *command)
{
	void *at = command ? json_object_iter_at(schema->commands, command)
			   : json_object_iter(schema->commands);

	if (command)
		at = json_object_iter_next(schema->commands, at);
	return json_object_iter_key(at);
}

json_t *ctl_schema_commands(const struct ctl_schema *schema)
{
	json_t *list = json_array(), *def;
	const char *name;

	json_object_foreach(schema->commands, name, def) {
		if (json_array_append_new(list, json_pack("{s:s}", "name", name))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* The value as the client wrote it, shortened; "" when out of memory. */
static void show_value(const json_t *value, char *buf, size_t size)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	if (text && strlen(text) > SHOWN_VALUE_MAX)
		snprintf(buf, size, "%.*s...", SHOWN_VALUE_MAX, text);
	else
		snprintf(buf, size, "%s", text ? text : "");
	free(text);
}

static bool is_choice(const struct arg_type *type, const char *text)
{
	size_t len = strlen(text), i = 0, n;

	while (i < type->choices_len) {
		n = 0;
		while (i + n < type->choices_len && type->choices[i + n] != ',')
			n++;
		if (n == len && !strncmp(type->choices + i, text, len))
			return true;
		i += n + 1;
		while (i < type->choices_len && type->choices[i] == ' ')
			i++;
	}
	return false;
}

static bool int_within(const json_t *value, json_int_t max)
{
	return json_is_integer(value) && json_integer_value(value) >= 0 &&
	       json_integer_value(value) <= max;
}

static bool strings_ok(const json_t *value)
{
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > SCHEMA_LIST_MAX)
		return false;
	for (i = 0; i < json_array_size(value); i++) {
		if (!json_is_string(json_array_get(value, i)))
			return false;
	}
	return true;
}

/* NULL if the value is of the type, else what it must be. */
static const char *mismatch(const struct arg_type *type, const json_t *value, char *buf, size_t size)
{
	switch (type->kind) {
	case ARG_NAME:
		if (json_is_string(value) && ml_name_ok(json_string_value(value), LEND_NAME_MAX))
			return NULL;
		snprintf(buf, size, "a name: 1 to %d of A-Z a-z 0-9 _ . -, a letter or digit first",
			 LEND_NAME_MAX);
		return buf;
	case ARG_SIZE:
		if (int_within(value, SCHEMA_SIZE_MAX_BYTES))
			return NULL;
		snprintf(buf, size, "a size in bytes, an integer from 0 to %lld (512 MiB is 536870912)",
			 SCHEMA_SIZE_MAX_BYTES);
		return buf;
	case ARG_BLOCKS:
		if (int_within(value, SCHEMA_BLOCKS_MAX))
			return NULL;
		snprintf(buf, size, "a number of 2 MiB blocks from 0 to %lld", SCHEMA_BLOCKS_MAX);
		return buf;
	case ARG_INT:
		if (int_within(value, SCHEMA_INT_MAX))
			return NULL;
		snprintf(buf, size, "an integer from 0 to %lld", SCHEMA_INT_MAX);
		return buf;
	case ARG_TIME:
		if (int_within(value, SCHEMA_TIME_MAX_MS))
			return NULL;
		snprintf(buf, size, "a time in milliseconds since 1970, an integer from 0 to %lld",
			 SCHEMA_TIME_MAX_MS);
		return buf;
	case ARG_BOOL:
		return json_is_boolean(value) ? NULL : "true or false";
	case ARG_STRINGS:
		return strings_ok(value) ? NULL : "a list of strings";
	case ARG_STRING:
		break;
	}
	if (json_is_string(value) && json_string_length(value) <= SCHEMA_STRING_MAX_BYTES &&
	    (!type->choices || is_choice(type, json_string_value(value))))
		return NULL;
	if (!type->choices)
		return "a string";
	snprintf(buf, size, "one of: %.*s", (int)type->choices_len, type->choices);
	return buf;
}

static int check_argument(const char *command, const char *name, const char *type_text,
		     const json_t *value, struct ml_why *why)
{
	char shown[SHOWN_VALUE_MAX + 8], buf[160];
	struct arg_type type;
	const char *must;

	if (!parse_type(type_text, &type))
		return ml_refuse(why, -EINVAL, "%s: argument '%s' has no type", command, name);
	if (json_is_null(value) && type.nullable)
		return 0;
	must = mismatch(&type, value, buf, sizeof(buf));
	if (!must)
		return 0;
	/* Too large, but a size: as people write it. */
	if (type.kind == ARG_SIZE && json_integer_value(value) > 0)
		return ml_refuse(why, -EINVAL, "%s: '%s' is %s, but must be from 0 to %s", command, name,
				 ml_size_exact((uint64_t)json_integer_value(value), shown),
				 ml_size_exact(SCHEMA_SIZE_MAX_BYTES, buf));
	show_value(value, shown, sizeof(shown));
	return ml_refuse(why, -EINVAL, "%s: argument '%s' is %s, but must be %s%s", command, name,
			 shown, must, type.nullable ? ", or null" : "");
}

/* " 'a', 'b' and ..." for an error about an argument that does not exist. */
static void list_args(const json_t *def, char *buf, size_t size)
{
	size_t used = 0;
	const char *key;
	json_t *value;

	buf[0] = '\0';
	json_object_foreach((json_t *)def, key, value) {
		size_t len = strcspn(key, "?");

		if (used + len + 4 >= size)
			break;
		used += (size_t)snprintf(buf + used, size - used, "%s%.*s", used ? ", " : "",
					 (int)len, key);
	}
}

int ctl_schema_check(const struct ctl_schema *schema, const char *command, const json_t *args,
		     struct ml_why *why)
{
	json_t *def = json_object_get(schema->commands, command), *value, *type;
	const char *name, *key;
	char known[256];
	bool optional;
	int ret;

	if (!def)
		return ml_refuse(why, -ENOENT,
				 "There is no command '%.*s'; query-commands lists those there are",
				 LEND_NAME_MAX, command);
	def = json_object_get(def, "arguments");
	json_object_foreach(def, key, type) {
		if (strchr(key, '?') || json_object_get(args, key))
			continue;
		return ml_refuse(why, -EINVAL, "%s: argument '%s' is missing; it is %s", command,
				 key, json_string_value(type));
	}
	json_object_foreach((json_t *)args, name, value) {
		json_t *found = NULL;

		json_object_foreach(def, key, type) {
			if (key_is(key, name, &optional)) {
				found = type;
				break;
			}
		}
		if (!found) {
			list_args(def, known, sizeof(known));
			return ml_refuse(why, -EINVAL, "%s: there is no argument '%.*s'; %s%s",
					 command, LEND_NAME_MAX, name,
					 known[0] ? "it takes: " : "it takes none", known);
		}
		ret = check_argument(command, name, json_string_value(found), value, why);
		if (ret)
			return ret;
	}
	return 0;
}
