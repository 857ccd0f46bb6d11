/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes out of a stranger's socket by way of the porter: bytes, and the descriptors that
 * came with them; see porter.h. Used by whoever receives.
 */
#ifndef ML_BASE_PORTER_RECEIPT_H
#define ML_BASE_PORTER_RECEIPT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PORTER_FDS_MAX 8		/* descriptors of one receipt */
#define PORTER_BYTES_MAX 1024		/* of one receipt */

enum porter_kind {
	PORTER_OTHER,		/* not sent on; nothing is known of it */
	PORTER_FILE,		/* regular; not sent on */
	PORTER_CHARDEV,		/* a character device; not sent on */
	PORTER_EVENTFD,
	PORTER_UFFD,
	PORTER_UNIX_STREAM,	/* a socket */
};

/* What came with a receipt; fd is ours, or -1 where it was not sent on. */
struct porter_fd {
	int fd;
	enum porter_kind kind;
	dev_t device;		/* of a file: the file system's; of a device: its own */
	uint64_t inode;		/* of a file */
};

struct porter_receipt {
	ssize_t bytes;		/* in data; 0: the stream has ended; -errno */
	size_t fd_count;	/* of those that came; above PORTER_FDS_MAX none is in fds */
	struct porter_fd fds[PORTER_FDS_MAX];
	uint8_t data[PORTER_BYTES_MAX];
};

#endif /* ML_BASE_PORTER_RECEIPT_H */
