/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bill queries in threads of their own, because reading a year of a ledger takes
 * longer than a touch may wait. A job belongs to a client by its serial number;
 * when the client is gone the answer is dropped. Used by cmd_bill.c and ctl.c.
 */
#ifndef ML_CTL_BILL_JOBS_H
#define ML_CTL_BILL_JOBS_H

#include <stdint.h>

#include "../bill/bill.h"

#define BILL_JOBS_RUNNING_MAX 2		/* threads at a time; others wait in order */

struct bill_jobs;
struct ctl_server;

/* -ENOMEM or the system's. Starts no thread. */
int bill_jobs_new(struct bill_jobs **out, struct ctl_server *server);

/* Waits for the threads that run; drops what waits. NULL is fine. */
void bill_jobs_free(struct bill_jobs *jobs);

/* Begin, or queue; the answer goes to the client. Copies the filter. -ENOMEM, -EAGAIN (no thread). */
int bill_jobs_add(struct bill_jobs *jobs, uint64_t client_serial, const struct bill_filter *filter);

#endif /* ML_CTL_BILL_JOBS_H */
