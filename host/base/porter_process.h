/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The porter, as a process: what porter.c tells it, and what it does. See porter.h for why.
 * Called by porter.c in the forked process, and never left.
 */
#ifndef ML_BASE_PORTER_PROCESS_H
#define ML_BASE_PORTER_PROCESS_H

#include <stdint.h>

#include "fdmsg.h"
#include "porter_receipt.h"

#define PORTER_OWNER_CHILDREN_MAX 4	/* at a time, of one owner */
#define PORTER_CHILDREN_MAX 1024	/* of all; the last quarter of them not for receipts */
#define PORTER_KEPT_MAX 8192		/* descriptors that wait for a child */
#define PORTER_KEPT_OF_OWNER 512	/* of one owner: so many get a child of their own */
#define PORTER_DUE_MAX 8192		/* receipts that wait for a child */

enum porter_what {
	PORTER_RECEIVE,		/* two descriptors: the connection, and where the receipt goes */
	PORTER_KEEP,		/* one: to be kept until the next order of any kind... */
	PORTER_LET_GO,		/* ...or this: the daemon has closed its copies of all */
};

/* One message from the daemon. */
struct porter_order {
	enum porter_what what;
	uint32_t want;		/* PORTER_RECEIVE: bytes at most */
	uint64_t owner;
};

/*
 * orders: a SOCK_SEQPACKET socket. daemon: a pidfd, for after the end of orders. Closes
 * all other descriptors of the process.
 */
void ml_porter_main(int orders, int daemon) __attribute__((noreturn));

/*
 * What a child of the porter does first: take out what has come, and look what each descriptor
 * is. came: all of them, out->fd_count, and as many are in out->fds if these are not too many.
 */
void ml_porter_fill(int conn, size_t want, struct porter_receipt *out, int came[ML_FDMSG_MAX]);

#endif /* ML_BASE_PORTER_PROCESS_H */
