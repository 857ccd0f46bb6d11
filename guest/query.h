/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the host what its meter counts of this VM. On behalf of whoever reads
 * sysfs, who may come many at a time, be killed, or find the daemon away: so a
 * worker asks, and readers wait for it, not for the host.
 */
#ifndef MEMLEASE_QUERY_H
#define MEMLEASE_QUERY_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct ml_device;
struct ml_request;

/* All as of one instant. Blocks are of the window and of boot memory. */
struct ml_figures {
	u64 resident_blocks;
	u64 resident_boot_blocks;
	u64 committed_blocks;
	u64 metered_block_ms;	/* resident block-milliseconds since the VM was started */
};

struct ml_query {
	struct work_struct work;
	struct ml_request *req;		/* the worker's */
	wait_queue_head_t wait;
	spinlock_t lock;		/* the three below */
	u32 asked;			/* questions, by readers */
	u32 answered;			/* the last question that the figures answer */
	int status;			/* of that answer */
	struct ml_figures figures;
	bool held;			/* device gone, broken or asleep */
};

int ml_query_init(struct ml_device *ml);
/* After ml_queue_stop(): the worker may be waiting for an answer. */
void ml_query_exit(struct ml_device *ml);
void ml_query_hold(struct ml_device *ml, bool held);

/*
 * What the host counts now. Sleeps, up to 2 s. -EOPNOTSUPP if this host does not
 * tell, -ENODEV while the device is stopped, -ETIMEDOUT if no answer came (the
 * daemon is away), -EPROTO if it makes no sense, -ERESTARTSYS if interrupted.
 */
int ml_query_figures(struct ml_device *ml, struct ml_figures *figures);

#endif /* MEMLEASE_QUERY_H */
