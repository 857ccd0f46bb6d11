// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tokens, a byte at a time; see lexer.h. Called by wire.c. What is inside a string, whether
 * a word is one of JSON's and how tokens may follow each other is left to the parser.
 */
#include "lexer.h"

#include <string.h>

#define NEVER_IN_UTF8 0xfe	/* this one and 0xff */

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool is_structure(unsigned char c)
{
	return c && strchr("{}[],:", c);
}

/* Neither a control character nor impossible: may stand in a string. */
static bool is_text(unsigned char c)
{
	return c >= ' ' && c < NEVER_IN_UTF8;
}

static void keep(struct lexer_step *step, unsigned char c)
{
	step->text[step->len++] = (char)c;
}

static enum lexer_state fail(struct lexer_step *step)
{
	step->token = TOKEN_ERROR;
	return LEXER_RECOVERY;
}

/* The byte belongs to the token, and the lexer goes on in this state. */
static enum lexer_state go_on(struct lexer_step *step, unsigned char c, enum lexer_state state)
{
	keep(step, c);
	return state;
}

/* The token has ended before this byte. The blank keeps it apart from the next. */
static enum lexer_state end_before(struct lexer_step *step, enum lexer_token token)
{
	keep(step, ' ');
	step->token = token;
	step->again = true;
	return LEXER_BETWEEN;
}

static enum lexer_state between(struct lexer *lexer, unsigned char c, struct lexer_step *step)
{
	if (c && strchr(" \t\r\n", c))
		return LEXER_BETWEEN;
	if (is_structure(c)) {
		step->token = TOKEN_STRUCTURE;
		return go_on(step, c, LEXER_BETWEEN);
	}
	if (c == '"' || c == '\'') {
		lexer->quote = (char)c;
		return go_on(step, '"', LEXER_STRING);
	}
	if (c == '-')
		return go_on(step, c, LEXER_SIGN);
	if (is_digit(c))
		return go_on(step, c, c == '0' ? LEXER_ZERO : LEXER_DIGITS);
	if (c >= 'a' && c <= 'z')
		return go_on(step, c, LEXER_WORD);
	return fail(step);
}

static enum lexer_state recovery(unsigned char c, struct lexer_step *step)
{
	if (c == '\t' || (is_text(c) && !is_structure(c)))
		return LEXER_RECOVERY;
	step->again = true;
	return LEXER_BETWEEN;
}

static enum lexer_state in_string(const struct lexer *lexer, unsigned char c,
				  struct lexer_step *step)
{
	if (!is_text(c))
		return fail(step);
	if (c == '\\')
		return LEXER_ESCAPE;
	if (c == (unsigned char)lexer->quote) {
		step->token = TOKEN_STRING;
		return go_on(step, '"', LEXER_BETWEEN);
	}
	if (c == '"')		/* bare, between single quotes */
		keep(step, '\\');
	return go_on(step, c, LEXER_STRING);
}

static enum lexer_state in_escape(unsigned char c, struct lexer_step *step)
{
	if (!is_text(c))
		return fail(step);
	if (c != '\'')
		keep(step, '\\');
	return go_on(step, c, LEXER_STRING);
}

static enum lexer_state in_number(enum lexer_state state, unsigned char c, struct lexer_step *step)
{
	bool digit = is_digit(c), whole = state == LEXER_ZERO || state == LEXER_DIGITS;

	if (state == LEXER_SIGN && digit)
		return go_on(step, c, c == '0' ? LEXER_ZERO : LEXER_DIGITS);
	if (state == LEXER_ZERO && digit)
		return fail(step);
	if (whole && c == '.')
		return go_on(step, c, LEXER_POINT);
	if ((state == LEXER_DIGITS || state == LEXER_FRACTION) && (c == 'e' || c == 'E'))
		return go_on(step, c, LEXER_E);
	if (state == LEXER_E && (c == '+' || c == '-'))
		return go_on(step, c, LEXER_E_SIGN);
	if (digit)
		return go_on(step, c, state == LEXER_POINT ? LEXER_FRACTION :
			     state == LEXER_E || state == LEXER_E_SIGN ? LEXER_E_DIGITS : state);
	if (whole)
		return end_before(step, TOKEN_INTEGER);
	if (state == LEXER_FRACTION || state == LEXER_E_DIGITS)
		return end_before(step, TOKEN_REAL);
	return fail(step);
}

void lexer_take(struct lexer *lexer, unsigned char byte, struct lexer_step *step)
{
	*step = (struct lexer_step){ .token = TOKEN_NONE };
	switch (lexer->state) {
	case LEXER_BETWEEN:
		lexer->state = between(lexer, byte, step);
		return;
	case LEXER_RECOVERY:
		lexer->state = recovery(byte, step);
		return;
	case LEXER_STRING:
		lexer->state = in_string(lexer, byte, step);
		return;
	case LEXER_ESCAPE:
		lexer->state = in_escape(byte, step);
		return;
	case LEXER_WORD:
		lexer->state = byte >= 'a' && byte <= 'z' ? go_on(step, byte, LEXER_WORD) :
			       end_before(step, TOKEN_WORD);
		return;
	default:
		lexer->state = in_number(lexer->state, byte, step);
		return;
	}
}
