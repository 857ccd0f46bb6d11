/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of commands. schema.json says of each its name, arguments, return value and
 * what it is for, and is what query-schema returns; here each name gets its handler.
 */
#ifndef ML_CTL_COMMANDS_H
#define ML_CTL_COMMANDS_H

#include "call.h"
#include "schema.h"

/*
 * Read the embedded schema, and see that each of its commands has a handler and each
 * handler a command. -EINVAL: they do not fit, why says which; -ENOMEM.
 */
int commands_load(struct ctl_schema **out, struct ml_why *why);

/*
 * Check call->command and its arguments against the schema, and carry it out. 0, or
 * -errno, and then call has the error's class and words.
 */
int commands_run(struct ctl_call *call);

#endif /* ML_CTL_COMMANDS_H */
