// SPDX-License-Identifier: GPL-2.0-or-later
/* The check of names; see name.h. */
#include "name.h"

/* Not isalnum(): the locale has no say in this. */
static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool ml_name_ok(const char *name, size_t max)
{
	size_t n;

	if (!alnum(name[0]))
		return false;
	for (n = 1; name[n]; n++) {
		if (n >= max || !(alnum(name[n]) || name[n] == '_' || name[n] == '.' ||
				  name[n] == '-'))
			return false;
	}
	return n <= max;
}
