/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that a peer handed over. QEMU keeps a copy of each, so what it
 * hands over may be of any kind, and its flags may change at any time: a
 * descriptor that was non-blocking when it came can block when it is used.
 * Everything that reads, writes or closes such a descriptor is here, and comes
 * back whatever the peer does. Used by the other files of this folder.
 */
#ifndef ML_VHOST_PEERFD_H
#define ML_VHOST_PEERFD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Once per process, on the event loop's thread, before anything else here.
 * Uses a POSIX timer and one real-time signal. 0 or -errno.
 */
int peerfd_init(void);

/* Kinds, told by the kernel's own name for the open file, which cannot be forged. */
bool peerfd_is_eventfd(int fd);
bool peerfd_is_uffd(int fd);
bool peerfd_is_unix_stream(int fd);

/* Is fd the same regular file as own? Never asks a file system of the peer's. */
bool peerfd_same_file(int fd, int own);
/* Is fd a character device of this number, which is not 0? Asks no file system either. */
bool peerfd_is_device(int fd, dev_t device);

/*
 * Read an eventfd or userfaultfd. The bytes read, -EAGAIN (nothing there), or
 * -EDEADLK: the peer made the descriptor blocking.
 */
ssize_t peerfd_read(int fd, void *buf, size_t size);

/* What an error of the two means, for a log line. */
const char *peerfd_error(int r);

/* Add one to an eventfd. 0 (also if its counter is full), or as peerfd_read(). */
int peerfd_signal(int fd);

/* Close a descriptor of any kind, -1 included; closing cannot block the caller either. */
void peerfd_close(int fd);

#endif /* ML_VHOST_PEERFD_H */
