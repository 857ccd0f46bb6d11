/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user messages on one stream socket: cutting the stream into messages
 * with their descriptors (by way of the porter), and sending replies. Knows sizes and flags, not
 * meanings. Never blocks: what is incomplete is kept until more comes, and a
 * peer that does not read its replies is given up. Used by device.c only.
 */
#ifndef ML_VHOST_MESSAGE_H
#define ML_VHOST_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/porter_receipt.h"
#include "../base/why.h"

#define MESSAGE_FDS_MAX PORTER_FDS_MAX	/* descriptors of one message, as the protocol says */
#define MESSAGE_PAYLOAD_MAX 512	/* bytes; the largest message we know has 268 */
#define MESSAGE_UNSENT_MAX 4096	/* bytes of replies the peer did not read yet */

/* Flags of the header. */
#define MESSAGE_VERSION 1u
#define MESSAGE_VERSION_MASK 3u
#define MESSAGE_REPLY (1u << 2)
#define MESSAGE_NEED_REPLY (1u << 3)

struct message_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;		/* bytes of payload */
};

_Static_assert(sizeof(struct message_header) == 12, "the header on the wire has 12 bytes");

struct message {
	struct message_header header;
	uint8_t payload[MESSAGE_PAYLOAD_MAX] __attribute__((aligned(8)));
	struct porter_fd fds[MESSAGE_FDS_MAX];
	unsigned int fd_count;
};

struct message_stream {
	int fd;			/* the socket, owned; -1: closed */
	uint64_t owner;		/* the peer, to the porter */
	int receipt;		/* the porter receives what has descriptors, or -1 */
	size_t have;		/* bytes of the message that is coming in */
	struct message in;
	size_t unsent;
	uint8_t out[MESSAGE_UNSENT_MAX];
};

/* Takes fd, or -1 for a closed stream. owner: as for the porter. */
void message_stream_init(struct message_stream *s, int fd, uint64_t owner);
/* Closes the socket and every descriptor that waits. */
void message_stream_close(struct message_stream *s);

/*
 * Go on receiving. 1: s->in is complete; the caller looks at it, takes what
 * descriptors it wants by message_take_fd(), and calls message_done(). 0: not
 * complete yet; with s->receipt >= 0: nor will it be before that is readable and
 * message_received() was called. -ECONNRESET: the peer is gone. -EPROTO: not the
 * protocol; why says what. In the last two cases the stream can only be closed.
 */
int message_receive(struct message_stream *s, struct ml_why *why);
/* The porter has received. 0: go on with message_receive(). Or as that. */
int message_received(struct message_stream *s, struct ml_why *why);
int message_take_fd(struct message *m, unsigned int i);
/* Closes the descriptors that were not taken; the next message may come. */
void message_done(struct message_stream *s);

/* Queue and send a reply. -ENOBUFS: the peer does not read; -ECONNRESET. */
int message_reply(struct message_stream *s, uint32_t request, const void *payload, size_t size);
/* Send what is left; the same errors. */
int message_flush(struct message_stream *s);
static inline bool message_unsent(const struct message_stream *s)
{
	return s->unsent > 0;
}

#endif /* ML_VHOST_MESSAGE_H */
