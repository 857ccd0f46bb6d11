/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages with descriptors over unix sockets between processes of our own. Not for the
 * sockets of strangers: those are looked at by porter.h first. Used by porter.c,
 * porter_process.c and the keeper.
 */
#ifndef ML_BASE_FDMSG_H
#define ML_BASE_FDMSG_H

#include <stddef.h>
#include <sys/types.h>

#define ML_FDMSG_MAX 253	/* descriptors of one message: the kernel's SCM_MAX_FD */

/*
 * One message with count descriptors, of which the caller keeps its own. Never waits and
 * raises no SIGPIPE. 0 or -errno: -EAGAIN where the other side does not read.
 */
int ml_fdmsg_send(int sock, const void *bytes, size_t size, const int *fds, size_t count);

/*
 * One message of at most size bytes; its descriptors, close-on-exec, go to fds, which has
 * room for ML_FDMSG_MAX. Never waits. Bytes received, 0 at the end of the stream, -errno, or
 * -EMSGSIZE if something of it was cut off: then *count descriptors have come all the same.
 */
ssize_t ml_fdmsg_receive(int sock, void *bytes, size_t size, int *fds, size_t *count);

#endif /* ML_BASE_FDMSG_H */
