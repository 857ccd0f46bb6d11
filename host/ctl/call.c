// SPDX-License-Identifier: GPL-2.0-or-later
/* What handlers do with a call; see call.h. */
#include "call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int ctl_fail(struct ctl_call *call, const char *error_class, const char *fmt, ...)
{
	va_list ap;

	call->error_class = error_class;
	va_start(ap, fmt);
	vsnprintf(call->why.text, sizeof(call->why.text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

const char *ctl_arg_string(const struct ctl_call *call, const char *name)
{
	return json_string_value(json_object_get(call->args, name));
}

json_int_t ctl_arg_int(const struct ctl_call *call, const char *name, json_int_t fallback)
{
	const json_t *value = json_object_get(call->args, name);

	return value ? json_integer_value(value) : fallback;
}

bool ctl_arg_given(const struct ctl_call *call, const char *name)
{
	return json_object_get(call->args, name) != NULL;
}
