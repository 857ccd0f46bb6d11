// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost-user messages on one stream socket: see message.h. Each receive asks for
 * no more than is missing of the current message, so bytes and descriptors of
 * the next one stay in the socket.
 */
#include "message.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peerfd.h"

#define HEADER sizeof(struct message_header)

void message_stream_init(struct message_stream *s, int fd)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
}

int message_take_fd(struct message *m, unsigned int i)
{
	int fd;

	assert(i < m->fd_count);
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

void message_done(struct message_stream *s)
{
	for (unsigned int i = 0; i < s->in.fd_count; i++)
		peerfd_close(s->in.fds[i]);
	s->in.fd_count = 0;
	s->have = 0;
}

void message_stream_close(struct message_stream *s)
{
	message_done(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->unsent = 0;
}

/* Takes over the descriptors of one receive. False: more than a message may have. */
static bool message_collect_fds(struct message *in, struct msghdr *hdr)
{
	bool fit = !(hdr->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (in->fd_count < MESSAGE_FDS_MAX) {
				in->fds[in->fd_count++] = fd;
			} else {
				peerfd_close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* One recvmsg() of exactly what is missing up to want bytes. 1: all there. */
static int message_fill(struct message_stream *s, uint8_t *to, size_t want, char *why,
			size_t why_size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = want };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(s->fd, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
	if (!message_collect_fds(&s->in, &hdr)) {
		snprintf(why, why_size, "a message with more than %d descriptors", MESSAGE_FDS_MAX);
		return -EPROTO;
	}
	if (n == 0) {
		if (s->have == 0)
			return -ECONNRESET;
		snprintf(why, why_size, "the stream ends inside a message, after %zu bytes of it",
			 s->have);
		return -EPROTO;
	}
	s->have += (size_t)n;
	return (size_t)n == want;
}

static int message_check_header(const struct message_header *h, char *why, size_t why_size)
{
	if ((h->flags & MESSAGE_VERSION_MASK) != MESSAGE_VERSION ||
	    (h->flags & ~(MESSAGE_VERSION_MASK | MESSAGE_NEED_REPLY))) {
		snprintf(why, why_size, "message %u has flags 0x%x; version 1 was expected",
			 h->request, h->flags);
		return -EPROTO;
	}
	if (h->size > MESSAGE_PAYLOAD_MAX) {
		snprintf(why, why_size, "message %u has %u bytes; at most %d are possible",
			 h->request, h->size, MESSAGE_PAYLOAD_MAX);
		return -EPROTO;
	}
	return 0;
}

int message_receive(struct message_stream *s, char *why, size_t why_size)
{
	int r;

	if (s->have < HEADER) {
		r = message_fill(s, (uint8_t *)&s->in.header + s->have, HEADER - s->have, why,
				 why_size);
		if (r <= 0)
			return r;
		r = message_check_header(&s->in.header, why, why_size);
		if (r < 0)
			return r;
	}
	if (s->have < HEADER + s->in.header.size) {
		r = message_fill(s, s->in.payload + (s->have - HEADER),
				 HEADER + s->in.header.size - s->have, why, why_size);
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
