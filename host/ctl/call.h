/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command under way: what it was given, what it may use, and what came of it. Made by
 * session.c, filled in by the command's handler.
 */
#ifndef ML_CTL_CALL_H
#define ML_CTL_CALL_H

#include <jansson.h>
#include <stdbool.h>

#include "../base/why.h"
#include "subjects.h"

struct bill_jobs;
struct ctl_client;
struct ctl_schema;

/* A handler sets result, or fails with ctl_fail(), or sets later. */
struct ctl_call {
	const struct ctl_config *config;
	const struct ctl_schema *schema;
	struct bill_jobs *bills;
	struct ctl_client *client;	/* who asks */
	const char *command;
	const json_t *args;		/* an object that passed the schema */
	json_t *result;			/* NULL: {} */
	bool later;			/* the answer comes by client_answer_later() */
	const char *error_class;	/* NULL: it went well */
	struct ml_why why;		/* the error in words */
};

/* 0, or -errno; the answer is then what ctl_fail() said, or else the errno in words. */
typedef int ctl_handler(struct ctl_call *call);

/* class is one of schema.json's errors, or InvalidArgument or NoSpace, kinds of GenericError. Always returns -EINVAL, for `return ctl_fail(...)`. */
int ctl_fail(struct ctl_call *call, const char *error_class, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Arguments that passed the schema; each returns its fallback where absent. */
const char *ctl_arg_string(const struct ctl_call *call, const char *name);
json_int_t ctl_arg_int(const struct ctl_call *call, const char *name, json_int_t fallback);
bool ctl_arg_given(const struct ctl_call *call, const char *name);

#endif /* ML_CTL_CALL_H */
