// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost-user messages on one stream socket: see message.h. Each receive asks for
 * no more than is missing of the current message, so bytes and descriptors of
 * the next one stay in the socket. Bytes with descriptors are received by the porter.
 */
#include "message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/porter.h"

#define HEADER sizeof(struct message_header)

void message_stream_init(struct message_stream *s, int fd, uint64_t owner)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->owner = owner;
	s->receipt = -1;
	if (fd >= 0)
		ml_peek_prepare(fd);
}

int message_take_fd(struct message *m, unsigned int i)
{
	int fd;

	assert(i < m->fd_count);
	fd = m->fds[i].fd;
	m->fds[i].fd = -1;
	return fd;
}

void message_done(struct message_stream *s)
{
	for (unsigned int i = 0; i < s->in.fd_count; i++)
		ml_porter_dispose(s->owner, s->in.fds[i].fd);
	s->in.fd_count = 0;
	s->have = 0;
}

void message_stream_close(struct message_stream *s)
{
	message_done(s);
	ml_porter_forget(s->owner, s->receipt);
	s->receipt = -1;
	ml_hang_up(s->owner, s->fd);
	s->fd = -1;
	s->unsent = 0;
}

/* What is missing of the part that is coming in, header or payload, and where it belongs. */
static size_t message_missing(struct message_stream *s, uint8_t **to)
{
	if (s->have < HEADER) {
		*to = (uint8_t *)&s->in.header + s->have;
		return HEADER - s->have;
	}
	*to = s->in.payload + (s->have - HEADER);
	return HEADER + s->in.header.size - s->have;
}

static int message_ended(const struct message_stream *s, struct ml_why *why)
{
	if (s->have == 0)
		return -ECONNRESET;
	return ml_refuse(why, -EPROTO, "the stream ends inside a message, after %zu bytes of it",
			 s->have);
}

/* Read what is missing of this part, if no descriptors come with it. 1: all there. */
static int message_fill(struct message_stream *s, struct ml_why *why)
{
	bool descriptors;
	uint8_t *to;
	size_t want = message_missing(s, &to);
	ssize_t n;
	int r;

	n = ml_peek(s->fd, to, want, &descriptors);
	if (n < 0)
		return n == -EAGAIN ? 0 : -ECONNRESET;
	if (n == 0)
		return message_ended(s, why);
	if (descriptors) {
		r = ml_porter_receive(s->owner, s->fd, want, &s->receipt);
		return r < 0 ? ml_refuse(why, -EPROTO, "descriptors cannot be received: %s",
					 strerror(-r)) : 0;
	}
	n = recv(s->fd, to, (size_t)n, MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -ECONNRESET;
	s->have += (size_t)n;
	return (size_t)n == want;
}

/* False: more than a message may have. */
static bool message_collect_fds(struct message_stream *s, const struct porter_receipt *receipt)
{
	bool fit = receipt->fd_count <= PORTER_FDS_MAX - s->in.fd_count;

	for (size_t i = 0; receipt->fd_count <= PORTER_FDS_MAX && i < receipt->fd_count; i++) {
		if (fit)
			s->in.fds[s->in.fd_count++] = receipt->fds[i];
		else
			ml_porter_dispose(s->owner, receipt->fds[i].fd);
	}
	return fit;
}

int message_received(struct message_stream *s, struct ml_why *why)
{
	struct porter_receipt receipt;
	uint8_t *to;
	size_t want = message_missing(s, &to);
	int r = ml_porter_take(s->owner, s->receipt, &receipt);

	if (r != -EAGAIN)
		s->receipt = -1;
	if (r == -EBUSY)
		return ml_refuse(why, -EPROTO,
				 "no descriptors can be received now: too many receipts wait");
	if (r < 0)
		return ml_refuse(why, -EPROTO, "descriptors cannot be received: %s", strerror(-r));
	if (!message_collect_fds(s, &receipt))
		return ml_refuse(why, -EPROTO, "a message with more than %d descriptors",
				 MESSAGE_FDS_MAX);
	if (receipt.bytes == 0)
		return message_ended(s, why);
	if (receipt.bytes < 0)
		return receipt.bytes == -EAGAIN ? 0 : -ECONNRESET;
	assert((size_t)receipt.bytes <= want);
	memcpy(to, receipt.data, (size_t)receipt.bytes);
	s->have += (size_t)receipt.bytes;
	return 0;
}

static int message_check_header(const struct message_header *h, struct ml_why *why)
{
	if ((h->flags & MESSAGE_VERSION_MASK) != MESSAGE_VERSION ||
	    (h->flags & ~(MESSAGE_VERSION_MASK | MESSAGE_NEED_REPLY)))
		return ml_refuse(why, -EPROTO, "message %u has flags 0x%x; version 1 was expected",
				 h->request, h->flags);
	if (h->size > MESSAGE_PAYLOAD_MAX)
		return ml_refuse(why, -EPROTO, "message %u has %u bytes; at most %d are possible",
				 h->request, h->size, MESSAGE_PAYLOAD_MAX);
	return 0;
}

int message_receive(struct message_stream *s, struct ml_why *why)
{
	int r;

	if (s->receipt >= 0)
		return 0;
	if (s->have < HEADER) {
		r = message_fill(s, why);
		if (r <= 0)
			return r;
	}
	r = message_check_header(&s->in.header, why);
	if (r < 0)
		return r;
	if (s->have < HEADER + s->in.header.size) {
		r = message_fill(s, why);
		if (r <= 0)
			return r;
	}
	return 1;
}

int message_flush(struct message_stream *s)
{
	while (s->unsent > 0) {
		ssize_t n = send(s->fd, s->out, s->unsent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
		s->unsent -= (size_t)n;
		memmove(s->out, s->out + n, s->unsent);
	}
	return 0;
}

int message_reply(struct message_stream *s, uint32_t request, const void *payload, size_t size)
{
	struct message_header h = {
		.request = request,
		.flags = MESSAGE_VERSION | MESSAGE_REPLY,
		.size = (uint32_t)size,
	};

	if (s->unsent + HEADER + size > sizeof(s->out))
		return -ENOBUFS;
	memcpy(s->out + s->unsent, &h, HEADER);
	memcpy(s->out + s->unsent + HEADER, payload, size);
	s->unsent += HEADER + size;
	return message_flush(s);
}
