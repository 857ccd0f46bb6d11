/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bill queries in threads of their own, because reading a year of a ledger takes
 * longer than a touch may wait. A job belongs to a client by its serial number, one at a time,
 * so there are no more than clients; when the client goes its job is given up, within
 * milliseconds if it runs. Used by cmd_bill.c and ctl.c.
 */
#ifndef ML_CTL_BILL_JOBS_H
#define ML_CTL_BILL_JOBS_H

#include <stdint.h>

#include "../bill/bill.h"
#include "subjects.h"

#define BILL_JOBS_RUNNING_MAX 2		/* threads at a time; others wait in order */

struct bill_jobs;
struct ctl_clients;

/*
 * Both must live as long as the jobs. Starts the threads, so it comes before the sandbox.
 * -ENOMEM or the system's.
 */
int bill_jobs_new(struct bill_jobs **out, struct ctl_clients *clients,
		  const struct ctl_config *config);

/* Has the queries that run given up; drops what waits. NULL is fine. */
void bill_jobs_free(struct bill_jobs *jobs);

/* Begin, or queue; the answer goes to the client. Copies the filter. -ENOMEM. */
int bill_jobs_add(struct bill_jobs *jobs, uint64_t client_serial, const struct bill_filter *filter);

#endif /* ML_CTL_BILL_JOBS_H */
