/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the host what its meter counts of this VM. On behalf of whoever reads
 * sysfs, who may come many at a time, be killed, or find the daemon away: so a
 * worker asks, and readers wait for it, not for the host.
 */
#ifndef MEMLEASE_QUERY_H
#define MEMLEASE_QUERY_H

#include <linux/types.h>

struct ml_query;
struct ml_turn;

/* All as of one instant. Blocks are of the window and of boot memory. */
struct ml_figures {
	u64 resident_blocks;
	u64 resident_boot_blocks;
	u64 committed_blocks;
	u64 metered_block_ms;	/* resident block-milliseconds since the VM was started */
};

/* 0 or -errno. */
int ml_query_init(struct ml_turn *t, struct ml_query **out);
/* After ml_queue_stop(), because the worker may be waiting for an answer, and with all held. */
void ml_query_stop(struct ml_query *q);
void ml_query_exit(struct ml_query *q);

/*
 * What the host counts now. Sleeps, up to 2 s. -EOPNOTSUPP if this host does not
 * tell, -ENODEV while all are held, -ETIMEDOUT if no answer came (the
 * daemon is away), -EPROTO if it makes no sense, -ERESTARTSYS if interrupted.
 */
int ml_query_figures(struct ml_query *q, struct ml_figures *figures);

#endif /* MEMLEASE_QUERY_H */
