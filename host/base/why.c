// SPDX-License-Identifier: GPL-2.0-or-later
/* The text of a refusal; see why.h. Any thread. */
#include "why.h"

#include <stdarg.h>
#include <stdio.h>

int ml_refuse(struct ml_why *why, int error, const char *fmt, ...)
{
	struct ml_why made;	/* the arguments may point into *why */
	va_list args;

	va_start(args, fmt);
	vsnprintf(made.text, sizeof(made.text), fmt, args);
	va_end(args);
	*why = made;
	return error;
}
