/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rating: the amount of one usage row. Pure; any thread.
 */
#ifndef ML_BILL_RATE_H
#define ML_BILL_RATE_H

#include "bill.h"

/* Block-nanoseconds in a GiB-hour. */
#define RATE_BLOCK_NS_PER_GIB_HOUR (512ULL * 3600 * 1000000000)
#define RATE_NANO_PER_MICRO 1000

/*
 * Micros of the currency for one VM's metering period: the three usages, each
 * at its price, added exactly and rounded once, half up. -EOVERFLOW.
 */
int rate_row(const struct plan *plan, uint64_t resident_block_ns, uint64_t committed_block_ns,
	     uint64_t guarantee_block_ns, int64_t *amount_micro);

/* *sum += row. Not priced if either is not. -EOVERFLOW. */
int usage_add(struct bill_usage *sum, const struct bill_usage *row);

#endif /* ML_BILL_RATE_H */
