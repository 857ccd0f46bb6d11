/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rating: the amount of one usage row, and sums of such. Pure; any thread.
 */
#ifndef ML_BILL_RATE_H
#define ML_BILL_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/wide.h"
#include "plans.h"

#define RATE_NANO_PER_MICRO 1000

struct bill_usage {
	ml_u128 resident_block_ns;	/* exceeds 64 bits for a large host within hours */
	ml_u128 committed_block_ns;
	ml_u128 guarantee_block_ns;
	int64_t covered_ms;		/* sum of the lengths of the periods counted */
	bool priced;			/* false: a plan is missing, amount_micro says nothing */
	int64_t amount_micro;
};

/*
 * Micros of the currency for one VM's metering period: the three usages, each
 * at its price, added exactly and rounded once, half up. -EOVERFLOW.
 */
int rate_row(const struct plan *plan, uint64_t resident_block_ns, uint64_t committed_block_ns,
	     uint64_t guarantee_block_ns, int64_t *amount_micro);

/* *sum += row. Not priced if either is not. -EOVERFLOW. */
int usage_add(struct bill_usage *sum, const struct bill_usage *row);

#endif /* ML_BILL_RATE_H */
