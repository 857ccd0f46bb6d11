// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Framing of the control socket; see wire.h. Called by client.c and session.c. Trusts no byte
 * it is given; what it hands on has its brackets closed, and is not yet valid JSON.
 */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define KEEP_BYTES 65536	/* an empty buffer above this is given back */
#define TEXT_LEAST_BYTES 4096

int wire_in_init(struct wire_in *in)
{
	memset(in, 0, sizeof(*in));
	in->raw = malloc(WIRE_READ_BYTES);
	return in->raw ? 0 : -ENOMEM;
}

void wire_in_done(struct wire_in *in)
{
	free(in->raw);
	free(in->text);
	free(in->id_text);
	memset(in, 0, sizeof(*in));
}

char *wire_in_space(struct wire_in *in, size_t *space)
{
	if (in->raw_at == in->raw_end)
		in->raw_at = in->raw_end = 0;
	*space = WIRE_READ_BYTES - in->raw_end;
	return (char *)in->raw + in->raw_end;
}

void wire_in_filled(struct wire_in *in, size_t bytes)
{
	in->raw_end += bytes;
}

/* Begin with the next message. */
static void start_over(struct wire_in *in)
{
	in->len = in->token = in->tokens = 0;
	in->braces = in->brackets = 0;
	in->over = in->skipping = in->id_named = in->at_id = false;
	in->place = WIRE_KEY;
	in->id = in->id_end = 0;
	free(in->id_text);
	in->id_text = NULL;
	if (in->size > KEEP_BYTES) {
		free(in->text);
		in->text = NULL;
		in->size = 0;
	}
}

static int append(struct wire_in *in, const char *bytes, size_t len)
{
	if (in->len + len > in->size) {
		size_t size = in->size ? in->size * 2 : TEXT_LEAST_BYTES;
		char *text = realloc(in->text, size);

		if (!text)
			return -ENOMEM;
		in->text = text;
		in->size = size;
	}
	memcpy(in->text + in->len, bytes, len);
	in->len += len;
	return 0;
}

/* Refuse the message. It is skipped to its end, with nothing of it kept. */
static int refuse_rest(struct wire_in *in)
{
	in->skipping = true;
	in->len = in->token = 0;
	return -EBADMSG;
}

/* Follows the outermost object, to know its member "id". */
static void note_member(struct wire_in *in, enum lexer_token token, char c)
{
	static const char id[] = "\"id\"";
	size_t len = in->len - in->token;
	bool outermost = in->braces == 1 && !in->brackets;

	if (in->at_id && ((outermost && c == ',') || (!in->braces && c == '}'))) {
		in->id_end = in->token;
		in->at_id = false;
	}
	if (!outermost)
		return;
	if (c == ',' || (c == '{' && in->tokens == 1)) {
		in->place = WIRE_KEY;
	} else if (in->place == WIRE_KEY && token == TOKEN_STRING) {
		in->place = WIRE_COLON;
		in->id_named = len == strlen(id) && !memcmp(in->text + in->token, id, len);
	} else if (in->place == WIRE_COLON && c == ':') {
		in->place = WIRE_VALUE;
		in->at_id = in->id_named;
		if (in->at_id)
			in->id = in->len;
	}
}

/* An integer that ours cannot hold is read as a real number, which no argument takes. */
static int widen(struct wire_in *in)
{
	char digits[24];
	size_t len = in->len - in->token - 1;	/* without the blank */

	if (in->at_id)
		return 0;
	if (len < sizeof(digits)) {
		memcpy(digits, in->text + in->token, len);
		digits[len] = '\0';
		errno = 0;
		(void)strtoll(digits, NULL, 10);
		if (!errno)
			return 0;
	}
	in->len--;
	return append(in, ".0 ", 3);
}

/* A token has ended. 0, 1 where the message ends with it, or why it is refused. */
static int end_token(struct wire_in *in, enum lexer_token token, char c, struct ml_why *why)
{
	bool structure = token == TOKEN_STRUCTURE;

	in->tokens++;
	in->braces += structure * ((c == '{') - (c == '}'));
	in->brackets += structure * ((c == '[') - (c == ']'));
	in->over = in->braces < 0 || in->brackets < 0 || (!in->braces && !in->brackets);
	if (in->skipping)
		return 0;
	if (token == TOKEN_INTEGER && widen(in))
		return -ENOMEM;
	note_member(in, token, structure ? c : '\0');
	in->token = in->len;
	if (in->over)
		return 1;
	if (in->tokens >= WIRE_TOKENS_MAX) {
		ml_refuse(why, 0, "a message has at most %d tokens; it is skipped", WIRE_TOKENS_MAX);
		return refuse_rest(in);
	}
	if (in->braces + in->brackets > WIRE_DEPTH_MAX) {
		ml_refuse(why, 0, "a message is nested at most %d deep; it is skipped", WIRE_DEPTH_MAX);
		return refuse_rest(in);
	}
	return 0;
}

/* One byte, or the same once more. As end_token(). */
static int take_byte(struct wire_in *in, struct ml_why *why)
{
	unsigned char c = in->raw[in->raw_at];
	struct lexer_step step;

	lexer_take(&in->lexer, c, &step);
	in->raw_at += !step.again;
	if (step.token == TOKEN_ERROR) {
		ml_refuse(why, 0, "the byte 0x%02x cannot stand there; what came before it is dropped", c);
		in->over = true;
		return -EBADMSG;
	}
	if (!in->skipping && step.len && append(in, step.text, step.len))
		return -ENOMEM;
	if (step.token != TOKEN_NONE)
		return end_token(in, step.token, (char)c, why);
	if (in->len > WIRE_MESSAGE_MAX_BYTES) {
		ml_refuse(why, 0, "a message has at most %d bytes; it is skipped", WIRE_MESSAGE_MAX_BYTES);
		return refuse_rest(in);
	}
	return 0;
}

/* Take the id out of the text; see struct wire_message. */
static int cut_id(struct wire_in *in, struct wire_message *message)
{
	size_t len = in->id_end > in->id ? in->id_end - in->id : 0;

	if (!len)
		return 0;
	in->id_text = malloc(len);
	if (!in->id_text)
		return -ENOMEM;
	memcpy(in->id_text, in->text + in->id, len);
	memset(in->text + in->id, ' ', len);
	in->text[in->id] = '0';
	message->id = in->id_text;
	message->id_len = len;
	return 0;
}

int wire_in_next(struct wire_in *in, struct wire_message *message, struct ml_why *why)
{
	int ret;

	if (in->over)
		start_over(in);
	while (in->raw_at < in->raw_end) {
		ret = take_byte(in, why);
		if (ret < 0)
			return ret;
		if (ret) {
			*message = (struct wire_message){ .text = in->text, .len = in->len };
			ret = cut_id(in, message);
			return ret ? ret : 1;
		}
		if (in->over)	/* the end of one that was refused */
			start_over(in);
	}
	return 0;
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
	if (out->size > KEEP_BYTES)
		wire_out_done(out);
	return 0;
}
