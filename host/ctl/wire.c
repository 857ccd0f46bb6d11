// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Framing of the control socket. Called by client.c only. Trusts no byte it is
 * given; what it hands on is balanced, not yet valid JSON.
 */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_KEEP_BYTES 65536	/* an empty buffer above this is given back */

int wire_in_init(struct wire_in *in)
{
	memset(in, 0, sizeof(*in));
	in->buf = malloc(WIRE_MESSAGE_MAX_BYTES);
	return in->buf ? 0 : -ENOMEM;
}

void wire_in_done(struct wire_in *in)
{
	free(in->buf);
	in->buf = NULL;
}

char *wire_in_space(struct wire_in *in, size_t *space)
{
	if (in->start) {
		memmove(in->buf, in->buf + in->start, in->end - in->start);
		in->scan -= in->start;
		in->end -= in->start;
		in->start = 0;
	}
	*space = WIRE_MESSAGE_MAX_BYTES - in->end;
	return in->buf + in->end;
}

void wire_in_filled(struct wire_in *in, size_t bytes)
{
	in->end += bytes;
}

static int reject(struct wire_in *in, const char **why, const char *text)
{
	in->skipping = true;
	in->depth = 0;
	in->in_string = in->escaped = false;
	*why = text;
	return -EBADMSG;
}

/* One byte of a message: 0 go on, 1 it ended here, or the reason why it is none. */
static int step(struct wire_in *in, unsigned char c, const char **why)
{
	if (in->in_string) {
		if (c < 0x20)
			return reject(in, why, "a control character inside a string");
		if (in->escaped)
			in->escaped = false;
		else if (c == '\\')
			in->escaped = true;
		else if (c == '"')
			in->in_string = false;
		return 0;
	}
	switch (c) {
	case '"':
		in->in_string = true;
		return 0;
	case '{':
	case '[':
		if (++in->depth > WIRE_DEPTH_MAX)
			return reject(in, why, "nested too deeply");
		return 0;
	case '}':
	case ']':
		return --in->depth == 0;
	default:
		return 0;
	}
}

int wire_in_next(struct wire_in *in, const char **message, size_t *len, const char **why)
{
	int ret;

	while (in->scan < in->end) {
		unsigned char c = (unsigned char)in->buf[in->scan];

		if (in->skipping || !in->depth) {
			in->start = in->scan;
			if (in->skipping || (c && strchr(" \t\r\n", c))) {
				in->skipping = in->skipping && c != '\n';
				in->start = ++in->scan;
				continue;
			}
			if (c != '{')
				return reject(in, why, "not an object: a message begins with {");
		}
		/* After a rejection the same byte is looked at again: it may be the newline. */
		ret = step(in, c, why);
		if (ret < 0)
			return ret;
		in->scan++;
		if (ret) {
			*message = in->buf + in->start;
			*len = in->scan - in->start;
			in->start = in->scan;
			return 1;
		}
	}
	return in->end - in->start == WIRE_MESSAGE_MAX_BYTES ? -EMSGSIZE : 0;
}

void wire_out_done(struct wire_out *out)
{
	free(out->buf);
	memset(out, 0, sizeof(*out));
}

size_t wire_out_pending(const struct wire_out *out)
{
	return out->end - out->start;
}

int wire_out_put(struct wire_out *out, const char *data, size_t len)
{
	size_t pending = wire_out_pending(out), size = out->size ? out->size : 4096;
	char *buf;

	if (out->end + len > out->size && out->start) {
		memmove(out->buf, out->buf + out->start, pending);
		out->start = 0;
		out->end = pending;
	}
	if (pending + len > out->size) {
		while (size < pending + len)
			size *= 2;
		buf = realloc(out->buf, size);
		if (!buf)
			return -ENOMEM;
		out->buf = buf;
		out->size = size;
	}
	memcpy(out->buf + out->end, data, len);
	out->end += len;
	return 0;
}

int wire_out_flush(struct wire_out *out, int fd)
{
	while (out->start < out->end) {
		ssize_t n = send(fd, out->buf + out->start, out->end - out->start,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		out->start += (size_t)n;
	}
	out->start = out->end = 0;
	if (out->size > OUT_KEEP_BYTES)
		wire_out_done(out);
	return 0;
}
