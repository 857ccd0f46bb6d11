// SPDX-License-Identifier: GPL-2.0-or-later
/* SCM_RIGHTS, there and back; see fdmsg.h. Allocates nothing. */
#include "fdmsg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(ML_FDMSG_MAX * sizeof(int))];
};

int ml_fdmsg_send(int sock, const void *bytes, size_t size, const int *fds, size_t count)
{
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	union space space;

	assert(count <= ML_FDMSG_MAX);
	if (count) {
		memset(&space, 0, CMSG_SPACE(count * sizeof(int)));
		msg.msg_control = &space;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t ml_fdmsg_receive(int sock, void *bytes, size_t size, int *fds, size_t *count)
{
	union space space;
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &space, .msg_controllen = sizeof(space),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	*count = 0;
	if (n < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
	}
	return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : n;
}
