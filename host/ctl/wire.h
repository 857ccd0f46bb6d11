/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's framing: finds the JSON objects in a stream of bytes, and keeps bytes
 * that wait to be written. QMP clients end a message with a newline, with
 * CR LF, or with nothing at all, so messages are told apart by their braces.
 * Both halves are bounded. Used by client.c; knows no socket and no command.
 */
#ifndef ML_CTL_WIRE_H
#define ML_CTL_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#define WIRE_MESSAGE_MAX_BYTES 65536
#define WIRE_DEPTH_MAX 32		/* nesting of one message */

struct wire_in {
	char *buf;		/* WIRE_MESSAGE_MAX_BYTES */
	size_t start;		/* of the message being scanned */
	size_t scan;		/* first byte not looked at */
	size_t end;		/* of what was read */
	unsigned int depth;	/* open braces and brackets; 0: between messages */
	bool in_string, escaped;
	bool skipping;		/* after an error, up to the next newline */
};

/* -ENOMEM */
int wire_in_init(struct wire_in *in);
void wire_in_done(struct wire_in *in);

/* Where to read to, and how much; 0 only while a message of full length waits in there. */
char *wire_in_space(struct wire_in *in, size_t *space);
void wire_in_filled(struct wire_in *in, size_t bytes);

/*
 * The next message: 1, and it stands in *message until the next call of any of
 * these functions. 0: there is none yet. -EBADMSG: something that cannot begin
 * or be an object; *why says what; it is skipped up to the next newline.
 * -EMSGSIZE: the message is too long; the stream is of no use any more.
 */
int wire_in_next(struct wire_in *in, const char **message, size_t *len, const char **why);

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
