/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON's tokens out of a stream of bytes, as QMP's servers take them: strings may also stand
 * in single quotes, and \' is an escape. What comes out is strict JSON. Used by wire.c;
 * knows no message and trusts no byte.
 *
 * After a byte that no token can have, bytes are skipped up to one from which a client may
 * begin anew: a structural character, the end of a line, another control character, or a
 * byte that UTF-8 does not have. So whoever sends such a byte knows where the lexer stands.
 */
#ifndef ML_CTL_LEXER_H
#define ML_CTL_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum lexer_state {
	LEXER_BETWEEN,		/* tokens; the state to begin with */
	LEXER_RECOVERY,
	LEXER_STRING, LEXER_ESCAPE,
	LEXER_SIGN, LEXER_ZERO, LEXER_DIGITS,
	LEXER_POINT, LEXER_FRACTION, LEXER_E, LEXER_E_SIGN, LEXER_E_DIGITS,
	LEXER_WORD,
};

enum lexer_token {
	TOKEN_NONE,		/* none has ended */
	TOKEN_STRUCTURE,	/* one of {}[],: */
	TOKEN_STRING, TOKEN_INTEGER, TOKEN_REAL,
	TOKEN_WORD,		/* letters: true, false, null, or what is none of them */
	TOKEN_ERROR,		/* the byte can stand in no token */
};

struct lexer {
	enum lexer_state state;
	char quote;		/* that began the string */
};

/* What a byte comes to. */
struct lexer_step {
	enum lexer_token token;	/* that has ended */
	bool again;		/* it ended before this byte: give the byte once more */
	char text[2];		/* what the byte adds to the token, in strict JSON */
	size_t len;
};

/* Take a byte. A lexer of zeros is one to begin with. */
void lexer_take(struct lexer *lexer, unsigned char byte, struct lexer_step *step);

#endif /* ML_CTL_LEXER_H */
