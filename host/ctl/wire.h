/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's framing: finds the messages in a stream of bytes, and keeps bytes that wait to be
 * written. A message ends where its brackets are closed, whatever comes behind it; a token
 * outside of brackets is one by itself. Both halves are bounded. Used by client.c and
 * session.c; knows no socket and no command.
 */
#ifndef ML_CTL_WIRE_H
#define ML_CTL_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/why.h"
#include "lexer.h"

#define WIRE_READ_BYTES 16384
#define WIRE_MESSAGE_MAX_BYTES (256 << 10)	/* blanks between its tokens not counted */
#define WIRE_TOKENS_MAX 16384		/* of one message: they cost more memory than their bytes */
#define WIRE_DEPTH_MAX 1024		/* nesting of one message */

/* A message: strict JSON, brackets closed, else not yet checked. */
struct wire_message {
	const char *text;
	size_t len;
	/*
	 * The value of its member "id" as it was written, or NULL. In text a number stands in
	 * its place: it is the only value that goes back as it came, and JSON's integers may
	 * be larger than ours.
	 */
	const char *id;
	size_t id_len;
};

struct wire_in {
	unsigned char *raw;	/* WIRE_READ_BYTES, as they were read */
	size_t raw_at, raw_end;
	struct lexer lexer;
	char *text;		/* the message so far */
	size_t len, size;
	size_t token;		/* where its last token begins */
	size_t tokens;
	long braces, brackets;	/* open ones */
	bool over;		/* it has ended; the next one begins */
	bool skipping;		/* to its end: it was refused */
	/* Of the outermost object: what is next, and where the id's value is. */
	enum { WIRE_KEY, WIRE_COLON, WIRE_VALUE } place;
	bool id_named, at_id;	/* the key is "id"; the value is the id's */
	size_t id, id_end;	/* both 0: there is none */
	char *id_text;		/* of the message that was handed out */
};

/* -ENOMEM */
int wire_in_init(struct wire_in *in);
void wire_in_done(struct wire_in *in);

/* Where to read to, and how much; 0 while what was read before still waits. */
char *wire_in_space(struct wire_in *in, size_t *space);
void wire_in_filled(struct wire_in *in, size_t bytes);

/*
 * The next message: 1, and it stands in *message until the next call of this function.
 * 0: there is none yet. -EBADMSG: a byte that no JSON has, or too much of it; why says
 * what. In the first case the message is over there, in the second the rest of it is
 * skipped; the stream goes on. -ENOMEM.
 */
int wire_in_next(struct wire_in *in, struct wire_message *message, struct ml_why *why);

struct wire_out {
	char *buf;
	size_t start, end, size;
};

void wire_out_done(struct wire_out *out);
size_t wire_out_pending(const struct wire_out *out);

/* Append, or -ENOMEM, and then nothing was appended. The caller bounds the sum. */
int wire_out_put(struct wire_out *out, const char *data, size_t len);

/* Write what the socket takes without waiting: 0, or the socket's error (never -EAGAIN). */
int wire_out_flush(struct wire_out *out, int fd);

#endif /* ML_CTL_WIRE_H */
