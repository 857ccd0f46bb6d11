/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of host/base/porter.h without a porter, for random and fuzzed messages:
 * a process for each that has descriptors would leave them a few a second
 * under sanitizers. They know whose descriptors they send, so they may drop them.
 */
#ifndef TEST_PORTER_DIRECT_H
#define TEST_PORTER_DIRECT_H

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../host/base/porter.h"
#include "../../host/base/porter_process.h"

static struct porter_receipt direct_receipt;	/* one connection, so one at a time */
static unsigned int direct_open;

int ml_porter_start(void)
{
	return 0;
}

int ml_porter_pidfd(void)
{
	return -1;
}

void ml_peek_prepare(int conn)
{
	(void)conn;
}

ssize_t ml_peek(int conn, void *bytes, size_t size, bool *descriptors)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(conn, &msg, MSG_PEEK | MSG_DONTWAIT);

	*descriptors = n >= 0 && msg.msg_flags & MSG_CTRUNC;
	return n < 0 ? -errno : n;
}

int ml_porter_receive(uint64_t owner, int conn, size_t want, int *receipt)
{
	int came[ML_FDMSG_MAX];

	(void)owner;
	ml_porter_fill(conn, want, &direct_receipt, came);
	for (size_t i = 0; i < direct_receipt.fd_count; i++) {
		struct porter_fd *f = i < PORTER_FDS_MAX && direct_receipt.fd_count <= PORTER_FDS_MAX ?
				      &direct_receipt.fds[i] : NULL;

		if (f && f->kind >= PORTER_EVENTFD)
			continue;
		close(came[i]);
		if (f)
			f->fd = -1;
	}
	*receipt = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*receipt < 0)
		return -errno;
	direct_open++;
	return 0;
}

int ml_porter_take(uint64_t owner, int receipt, struct porter_receipt *out)
{
	(void)owner;
	*out = direct_receipt;
	direct_open--;
	close(receipt);
	return 0;
}

void ml_porter_forget(uint64_t owner, int receipt)
{
	(void)owner;
	if (receipt < 0)
		return;
	for (size_t i = 0; i < direct_receipt.fd_count && direct_receipt.fd_count <= PORTER_FDS_MAX; i++) {
		if (direct_receipt.fds[i].fd >= 0)
			close(direct_receipt.fds[i].fd);
	}
	direct_open--;
	close(receipt);
}

unsigned int ml_porter_open_receipts(void)
{
	return direct_open;
}

void ml_porter_dispose(uint64_t owner, int fd)
{
	(void)owner;
	if (fd >= 0)
		close(fd);
}

void ml_porter_catch_up(void)
{
}

void ml_porter_finish(int limit_ms)
{
	(void)limit_ms;
}

bool ml_hang_up(uint64_t owner, int conn)
{
	ml_porter_dispose(owner, conn);
	return true;
}

void ml_stop_listening(uint64_t owner, int fd)
{
	ml_porter_dispose(owner, fd);
}

#endif /* TEST_PORTER_DIRECT_H */
