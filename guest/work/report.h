/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reporting: tells the host which slots hold free memory, through the kernel's
 * free page reporting, which neither allocates nor zeroes. Drives the kernel's
 * own work instead of waiting for its slow pace. Woken as ML_REPORT it reports all
 * that is free at once.
 */
#ifndef MEMLEASE_REPORT_H
#define MEMLEASE_REPORT_H

#include <linux/types.h>

struct ml_report;
struct ml_turn;

/*
 * Registers, if the device offers it and the kernel allows it; a refusal is logged, shown on
 * the board, and no error. Where another driver reports, it tries again every 5 s. -ENOMEM
 * otherwise. Reports while it is not held.
 */
int ml_report_init(struct ml_turn *t, struct ml_report **out);
/* After ml_queue_stop(), because reporting may wait for an answer, and with all held. */
void ml_report_stop(struct ml_report *r);
void ml_report_exit(struct ml_report *r);

/* How often it looks for newly freed memory; 0 leaves that to the kernel. */
u32 ml_report_interval_ms(const struct ml_report *r);
void ml_report_set_interval(struct ml_report *r, u32 ms);

/* Requests answered, so far. */
u64 ml_report_requests(const struct ml_report *r);

#endif /* MEMLEASE_REPORT_H */
