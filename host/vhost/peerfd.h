/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that a peer handed over. QEMU keeps a copy of each, so what it
 * hands over may be of any kind, and its flags may change at any time: a
 * descriptor that was non-blocking when it came can block when it is used.
 * Everything that reads or writes such a descriptor is here, and comes back
 * whatever the peer does. They come and go by way of the porter (base/porter.h).
 * Used by the other files of this folder.
 */
#ifndef ML_VHOST_PEERFD_H
#define ML_VHOST_PEERFD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../base/porter_receipt.h"

/*
 * Once per process, on the event loop's thread, before anything else here.
 * Uses a POSIX timer and one real-time signal; starts the porter, unless it runs. 0 or -errno.
 */
int peerfd_init(void);

/* Is what came the same regular file as own? */
bool peerfd_same_file(const struct porter_fd *f, int own);
/* Is it a character device of this number, which is not 0? */
bool peerfd_is_device(const struct porter_fd *f, dev_t device);

/*
 * Read an eventfd or userfaultfd. The bytes read, -EAGAIN (nothing there), -EINTR (a
 * userfaultfd: nothing is there just now, or it blocked for a moment), or -EDEADLK: the peer
 * made the descriptor blocking.
 */
ssize_t peerfd_read(int fd, void *buf, size_t size);

/* What an error of the two means, for a log line. */
const char *peerfd_error(int r);

/* Add one to an eventfd. 0 (also if its counter is full), or as peerfd_read(). */
int peerfd_signal(int fd);

#endif /* ML_VHOST_PEERFD_H */
