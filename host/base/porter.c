// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's side of the porter: see porter.h. Everything here comes back at once, but for
 * ml_porter_finish().
 */
#include "porter.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fdmsg.h"
#include "log.h"
#include "porter_process.h"

#define BEHIND_MAX 16384		/* above that they stay open */
#define FINISH_STEP_MS 10
#define DRAIN_STEPS 16		/* reads before a connection is closed by others */

static int orders = -1, porter_pidfd = -1;
static unsigned int open_receipts;

/* What the porter did not take yet, because it has much to do. */
static struct behind {
	uint64_t owner;
	int fd;
} behind[BEHIND_MAX];
static unsigned int behind_count;
static bool complained;

static int fork_porter(int end, int self)
{
	sigset_t all, before;
	pid_t pid;

	/* The porter chooses what it hears; until then nothing. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		ml_porter_main(end, self);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -errno;
	porter_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return porter_pidfd < 0 ? -errno : 0;
}

int ml_porter_start(void)
{
	int pair[2], self, ret;

	if (orders >= 0)
		return 0;
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		ret = -errno;
		close(self);
		return ret;
	}
	ret = fork_porter(pair[1], self);
	close(self);
	close(pair[1]);
	if (ret) {
		close(pair[0]);
		return ret;
	}
	orders = pair[0];
	return 0;
}

int ml_porter_pidfd(void)
{
	return porter_pidfd;
}

static int order(const struct porter_order *o, const int *fds, size_t count)
{
	return orders < 0 ? -ESRCH : ml_fdmsg_send(orders, o, sizeof(*o), fds, count);
}

/* --- receiving ------------------------------------------------------------------ */

void ml_peek_prepare(int conn)
{
	const int on = 1;

	/* A byte out of band would be skipped by a look, and thrown away by the next read. */
	setsockopt(conn, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

ssize_t ml_peek(int conn, void *bytes, size_t size, bool *descriptors)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(conn, &msg, MSG_PEEK | MSG_DONTWAIT);

	*descriptors = false;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	/* There is no room for descriptors, so whatever came is said to be cut off. */
	*descriptors = msg.msg_flags & MSG_CTRUNC;
	return n;
}

int ml_porter_receive(uint64_t owner, int conn, size_t want, int *receipt)
{
	struct porter_order o = {
		.what = PORTER_RECEIVE, .want = (uint32_t)want, .owner = owner,
	};
	int pair[2], fds[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fds[0] = conn;
	fds[1] = pair[1];
	ret = order(&o, fds, 2);
	close(pair[1]);
	if (ret) {
		close(pair[0]);
		return ret;
	}
	open_receipts++;
	*receipt = pair[0];
	return 0;
}

/* Puts the descriptors that were sent on where they belong. */
static int sort_in(struct porter_receipt *out, const int *came, size_t count)
{
	size_t used = 0;

	for (size_t i = 0; i < out->fd_count && i < PORTER_FDS_MAX; i++) {
		struct porter_fd *f = &out->fds[i];
		bool sent = out->fd_count <= PORTER_FDS_MAX && f->kind >= PORTER_EVENTFD;

		f->fd = sent && used < count ? came[used++] : -1;
		if (sent && f->fd < 0)
			return -EMFILE;
	}
	return 0;
}

int ml_porter_take(uint64_t owner, int receipt, struct porter_receipt *out)
{
	int came[ML_FDMSG_MAX], ret = 0;
	size_t count;
	ssize_t n = ml_fdmsg_receive(receipt, out, sizeof(*out), came, &count);

	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	if (n == (ssize_t)sizeof(*out))
		ret = sort_in(out, came, count);
	else
		ret = n == -EMSGSIZE ? -EMFILE : -EBUSY;
	for (size_t i = 0; ret && i < count; i++)
		ml_porter_dispose(owner, came[i]);
	open_receipts--;
	ml_hang_up(owner, receipt);
	return ret;
}

void ml_porter_forget(uint64_t owner, int receipt)
{
	if (receipt < 0)
		return;
	open_receipts--;
	ml_hang_up(owner, receipt);
}

unsigned int ml_porter_open_receipts(void)
{
	return open_receipts;
}

/* --- getting rid ---------------------------------------------------------------- */

static int hand_over(uint64_t owner, int fd)
{
	struct porter_order o = { .what = PORTER_KEEP, .owner = owner };
	int ret = order(&o, &fd, 1);

	if (ret)
		return ret;
	close(fd);
	/* If this one is lost the next order says the same. */
	o.what = PORTER_LET_GO;
	order(&o, NULL, 0);
	return 0;
}

void ml_porter_catch_up(void)
{
	while (behind_count && !hand_over(behind[behind_count - 1].owner, behind[behind_count - 1].fd))
		behind_count--;
}

void ml_porter_dispose(uint64_t owner, int fd)
{
	if (fd < 0)
		return;
	ml_porter_catch_up();
	if (!behind_count && !hand_over(owner, fd))
		return;
	if (behind_count < BEHIND_MAX)
		behind[behind_count++] = (struct behind){ .owner = owner, .fd = fd };
	else if (!complained)
		ml_warn("descriptors of strangers stay open: the porter takes no more");
	complained = behind_count == BEHIND_MAX;
}

void ml_porter_finish(int limit_ms)
{
	struct pollfd p = { .fd = orders, .events = POLLOUT };

	ml_porter_catch_up();
	for (int waited = 0; behind_count && waited < limit_ms; waited += FINISH_STEP_MS) {
		poll(&p, 1, FINISH_STEP_MS);
		ml_porter_catch_up();
	}
}

bool ml_hang_up(uint64_t owner, int conn)
{
	char bytes[4096];
	bool descriptors = false;
	ssize_t n = -EAGAIN;

	if (conn < 0)
		return true;
	ml_peek_prepare(conn);
	/* From here on nothing can come: what is in there now is all there will ever be. */
	shutdown(conn, SHUT_RDWR);
	for (int i = 0; i < DRAIN_STEPS; i++) {
		n = ml_peek(conn, bytes, sizeof(bytes), &descriptors);
		if (n <= 0 || descriptors)
			break;
		n = recv(conn, bytes, (size_t)n, MSG_DONTWAIT);
	}
	if (n == 0 && !descriptors)
		close(conn);
	else
		ml_porter_dispose(owner, conn);
	return !descriptors;
}

void ml_stop_listening(uint64_t owner, int fd)
{
	int conn;

	if (fd < 0)
		return;
	/* After this nobody connects any more, but those who did are accepted. */
	shutdown(fd, SHUT_RDWR);
	while ((conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		ml_hang_up(owner, conn);
	close(fd);
}
