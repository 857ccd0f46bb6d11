/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's schema: schema.json, read once, and the check of a
 * command's arguments against it. Command handlers run only after this check,
 * so they may take presence, type and general bounds for granted; what depends
 * on a VM or on the pool they check themselves.
 */
#ifndef ML_CTL_SCHEMA_H
#define ML_CTL_SCHEMA_H

#include <jansson.h>
#include <stddef.h>

#include "../../proto/memlease_abi.h"
#include "../base/why.h"

/* Bounds of the types; every one is far above what a host can have. */
#define SCHEMA_SIZE_MAX_BYTES (1LL << 52)
#define SCHEMA_BLOCKS_MAX (SCHEMA_SIZE_MAX_BYTES / (long long)MEMLEASE_BLOCK_BYTES)
#define SCHEMA_INT_MAX 0x7fffffffLL
#define SCHEMA_TIME_MAX_MS 253402300799999LL	/* the end of the year 9999 */
#define SCHEMA_STRING_MAX_BYTES 1024
#define SCHEMA_LIST_MAX 64

struct ctl_schema;

/*
 * -EINVAL: text is no schema, *why says what it stumbled over; -ENOMEM. The
 * text is our own (embedded), so a caller may treat every error as a bug.
 */
int ctl_schema_load(struct ctl_schema **out, const char *text, struct ml_why *why);
void ctl_schema_free(struct ctl_schema *schema);

/* The whole schema as JSON; borrowed. */
json_t *ctl_schema_json(const struct ctl_schema *schema);

/* The name of the command that follows this one (NULL: the first); NULL: there is none. */
const char *ctl_schema_next(const struct ctl_schema *schema, const char *command);

/* The commands by name, [{"name": ...}]; a new reference, or NULL when out of memory. */
json_t *ctl_schema_commands(const struct ctl_schema *schema);

/*
 * Check the arguments (an object; NULL is the same as an empty one) of a
 * command. -ENOENT: no such command; -EINVAL: an argument is missing, unknown,
 * of another type or out of bounds. *why then names argument, value and way out.
 */
int ctl_schema_check(const struct ctl_schema *schema, const char *command, const json_t *args,
		     struct ml_why *why);

static inline void ctl_schema_cleanup(struct ctl_schema **schema)
{
	ctl_schema_free(*schema);
}
#define ctl_schema_auto __attribute__((cleanup(ctl_schema_cleanup)))

#endif /* ML_CTL_SCHEMA_H */
