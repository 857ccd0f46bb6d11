// SPDX-License-Identifier: GPL-2.0-or-later
/* 128-bit counts as text; see wide.h. */
#include "wide.h"

const char *ml_u128_text(ml_u128 value, char text[ML_U128_TEXT])
{
	char *p = text + ML_U128_TEXT - 1;

	*p = '\0';
	do {
		*--p = (char)('0' + (int)(value % 10));
		value /= 10;
	} while (value);
	/* The digits stand at the end; callers expect them at the start. */
	for (char *to = text; ; to++, p++) {
		*to = *p;
		if (!*p)
			return text;
	}
}
