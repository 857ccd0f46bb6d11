/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors of strangers: how they are received, and how they are got rid of, without
 * making anybody wait.
 *
 * Whoever drops the last reference to an open file does what its end takes, and that may take
 * as long as a stranger likes: a TCP socket lingers, a memfd of many GiB is freed page by
 * page, a userfaultfd wants the lock of its process's memory map, an eventfd the lock of an
 * epoll set it is in, a unix socket drops the descriptors that were sent to it and not
 * received. Some files make every close() wait, not the last only: FUSE asks its server. And
 * references are dropped by more than close(): by recv() without room for descriptors, by
 * closing a unix socket that has some in its queue, by the end of a process.
 *
 * So the daemon never receives a descriptor of a kind that it does not want, and never drops
 * the last reference to one that it did. There is a second process, the *porter*, which the
 * daemon forks when it starts. The porter has no work but this, and itself does nothing that
 * can wait; what can, it leaves to throw-away children:
 *
 *	ml_peek()		the bytes that have come, and whether descriptors came with
 *				them. A look takes nothing out of the socket, and so drops nothing.
 *	ml_porter_receive()	a child takes them out, with their descriptors, looks what each is,
 *				and sends on those that may be kept. It ends, and the rest with it.
 *	ml_porter_dispose()	the porter gets a copy of what the daemon has; the daemon closes its
 *				own, which is not the last, and then says so; a child ends, and with
 *				it the last copy.
 *	ml_hang_up()		for a stranger's connection: shut down, so that nothing can come any
 *				more; closed if nothing had, disposed of otherwise.
 *
 * Kinds that are sent on (porter_receipt.h) are those whose close() does not wait as long as
 * it is not the last. Regular files and devices are not sent on: who wants to know which file
 * a stranger has gets its numbers.
 *
 * Each stranger is an *owner*, a number: one VM, or one user of the control socket. A child
 * that never ends (FUSE again) occupies one of its owner's PORTER_OWNER_CHILDREN_MAX places,
 * and nobody else's. When they are all taken, its receipts wait, and who waits for one decides how
 * long; what is to be disposed of stays with the porter, up to PORTER_KEPT_MAX descriptors of all
 * owners; above that they stay with the daemon.
 *
 * If the porter ends, the daemon cannot go on: ml_porter_pidfd(). When the daemon ends, the
 * porter waits until it has, and ends too; children that hang stay, and hold nothing that a
 * next daemon needs. All functions are to be called on one thread, the event loop's.
 */
#ifndef ML_BASE_PORTER_H
#define ML_BASE_PORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "porter_receipt.h"

/*
 * Fork the porter. To be called once rights have been given up, and before there are threads
 * or a filter of system calls, which the porter does not share. Repeated calls do nothing.
 * 0 or -errno.
 */
int ml_porter_start(void);

/* Readable when the porter has ended, whereupon the daemon must. -1 before the start. */
int ml_porter_pidfd(void);

/* Once for each connection of a stranger, right after accept(): no byte is out of band. */
void ml_peek_prepare(int conn);

/*
 * Look at what has come over a stranger's connection, a stream, without taking it out. The
 * bytes, 0 at its end, -errno (-EAGAIN: nothing). *descriptors: some came with these bytes,
 * and then recv() must not be called. Otherwise it may, for exactly as many bytes.
 */
ssize_t ml_peek(int conn, void *bytes, size_t size, bool *descriptors);

/*
 * Have at most want bytes received (1 to PORTER_BYTES_MAX) with their descriptors. Until it is
 * there nobody else may read from conn. 0: *receipt is a descriptor that becomes readable.
 * -errno: it cannot be begun.
 */
int ml_porter_receive(uint64_t owner, int conn, size_t want, int *receipt);

/*
 * Take what came; closes receipt (unless -EAGAIN: it is not there yet). The descriptors are
 * the caller's, who gets rid of them by ml_porter_dispose(). -EBUSY: the porter has too much to
 * do. -EMFILE: this process has too many open files.
 */
int ml_porter_take(uint64_t owner, int receipt, struct porter_receipt *out);
/* Do without it. -1 is fine. */
void ml_porter_forget(uint64_t owner, int receipt);
/* How many receipts were begun and neither taken nor forgotten: for tests. */
unsigned int ml_porter_open_receipts(void);

/* Get rid of a descriptor that ml_porter_take() gave, or the like. -1 is fine. Does not wait. */
void ml_porter_dispose(uint64_t owner, int fd);

/* Now and then, for what the porter could not take at once. */
void ml_porter_catch_up(void);
/* Before the daemon ends: the same, and wait for it, for so long at most. */
void ml_porter_finish(int limit_ms);

/*
 * Close a stranger's connection, with whatever is in it. -1 is fine. Does not wait. False: there
 * were descriptors in it, which took the porter: who can send those at will should be slowed.
 */
bool ml_hang_up(uint64_t owner, int conn);

/*
 * Close a socket that strangers connect to, with those who wait to be accepted. -1 is fine.
 * Does not wait. owner: who has no other.
 */
void ml_stop_listening(uint64_t owner, int fd);

#endif /* ML_BASE_PORTER_H */
