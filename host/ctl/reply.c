// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages as text; see reply.h. Called by client.c, session.c, announce.c and bill_jobs.c. */
#include "reply.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../base/why.h"

#define ASCII_PER_BYTE 3	/* at most: two bytes of UTF-8 become \uXXXX, four become two of them */

char *reply_text(const json_t *json)
{
	return json ? json_dumps(json, JSON_ENSURE_ASCII | JSON_ENCODE_ANY) : NULL;
}

char *reply_line(const char *key, const char *value, const char *id)
{
	char *line;

	if (!value || asprintf(&line, "{\"%s\": %s%s%s}\r\n", key, value, id ? ", \"id\": " : "",
			       id ? id : "") < 0)
		return NULL;
	return line;
}

char *reply_message(const json_t *message)
{
	ml_autofree char *text = reply_text(message);
	char *line;

	return !text || asprintf(&line, "%s\r\n", text) < 0 ? NULL : line;
}

/* Of valid UTF-8: the code point at *at, which is moved behind it. */
static uint32_t code_point(const unsigned char **at)
{
	uint32_t c = *(*at)++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	c &= more ? 0x3fu >> more : 0x7fu;
	for (; more; more--)
		c = c << 6 | (*(*at)++ & 0x3f);
	return c;
}

static char *escape(char *to, uint32_t c)
{
	if (c > 0xffff) {
		c -= 0x10000;
		to += sprintf(to, "\\u%04x", 0xd800 + (unsigned int)(c >> 10));
		c = 0xdc00 + (c & 0x3ff);
	}
	return to + sprintf(to, "\\u%04x", (unsigned int)c);
}

/* Valid JSON text to ASCII; all that is not ASCII in it is inside of strings. */
static char *to_ascii(const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + len;
	char *ascii = malloc(len * ASCII_PER_BYTE + 1), *to = ascii;

	while (ascii && at < end) {
		if (*at < 0x80)
			*to++ = (char)*at++;
		else
			to = escape(to, code_point(&at));
	}
	if (ascii)
		*to = '\0';
	return ascii;
}

int reply_id(const char *text, size_t len, char **id)
{
	json_error_t error;
	json_t *value;

	*id = NULL;
	if (!text)
		return 0;
	/* Only to see that it is JSON: as real numbers integers may be of any size. */
	value = json_loadb(text, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL |
			   JSON_REJECT_DUPLICATES, &error);
	if (!value)
		return -EINVAL;
	json_decref(value);
	while (len && text[len - 1] == ' ')
		len--;
	*id = to_ascii(text, len);
	return *id ? 0 : -ENOMEM;
}

/*
 * QMP has a fixed set of classes, and clients that refuse any other. What a kind of ours says
 * beyond them stands in a member of its own, named as QMP asks it of others than QEMU.
 */
static const char *kind_of(const char *error_class)
{
	static const struct {
		const char *error_class, *kind;
	} kinds[] = {
		{ "InvalidArgument", "invalid-argument" },
		{ "NoSpace", "no-space" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i].error_class, error_class))
			return kinds[i].kind;
	}
	return NULL;
}

char *reply_error(const char *error_class, const char *desc)
{
	const char *kind = kind_of(error_class);
	json_t *text = json_string(desc), *error;
	char plain[ML_WHY_BYTES], *line;
	size_t i;

	/* A value cut short may end inside a character, and is then no UTF-8 any more. */
	if (!text) {
		for (i = 0; desc[i] && i < sizeof(plain) - 1; i++)
			plain[i] = (unsigned char)desc[i] < 0x80 ? desc[i] : '?';
		plain[i] = '\0';
		text = json_string(plain);
	}
	error = json_pack("{s:s, s:o}", "class", kind ? "GenericError" : error_class, "desc", text);
	if (error && kind)
		json_object_set_new(error, "__memlease_kind", json_string(kind));
	line = reply_text(error);
	json_decref(error);
	return line;
}
