/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reporting: tells the host which slots hold free memory, through the kernel's
 * free page reporting, which neither allocates nor zeroes. Drives the kernel's
 * own work instead of waiting for its slow pace.
 */
#ifndef MEMLEASE_REPORT_H
#define MEMLEASE_REPORT_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/page_reporting.h>
#include <linux/workqueue.h>

#include "pure.h"

#define ML_REPORT_INTERVAL_MS	400	/* between looks for newly freed memory */

struct ml_device;
struct ml_request;

struct ml_report {
	struct page_reporting_dev_info prdev;
	struct delayed_work drive;
	struct mutex one_pass;		/* req and spans, across the wait for the answer */
	struct ml_request *req;
	struct ml_span *spans;
	bool registered;
	bool held;			/* device gone, broken or asleep */
	bool now;			/* report all that is free, whether it is news or not */
	bool hurry;			/* the run of drive was asked for by the host */
	u64 paced_ns;			/* when the last batch was through, pause included */
	u32 interval_ms;
	unsigned long last_drain;	/* jiffies */
	u32 drain_pause_ms;
	u64 offered;			/* slots, in this life of the driver */
	atomic64_t reported;		/* slots that the host took */
	atomic64_t requests;
	atomic64_t isolated_bytes;	/* free, but in our hands until the host has answered */
	int status;			/* 0, or why the kernel refused us */
};

/*
 * Registers, if the device offers it and the kernel allows it; a refusal is
 * logged and is no error. -ENOMEM otherwise.
 */
int ml_report_init(struct ml_device *ml);
/* After ml_queue_stop(), because the callback may wait for an answer. */
void ml_report_exit(struct ml_device *ml);

/* Report while not held. */
void ml_report_hold(struct ml_device *ml, bool held);

/* Report all that is free, at once. Any context. */
void ml_report_now(struct ml_device *ml);

#endif /* MEMLEASE_REPORT_H */
