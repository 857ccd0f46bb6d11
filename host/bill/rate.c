// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prices times usage, in 128-bit integers. Called by bill.c for each row of the
 * ledger; the only place that rounds money.
 */
#include "rate.h"

#include <assert.h>
#include <errno.h>

#include "../base/block.h"

/* A price fits 2^50 and usage 2^64, so three products fit 128 bits without a check. */
_Static_assert(PLANS_PRICE_MAX_NANO < (1LL << 50), "rate_row() relies on it");

int rate_row(const struct plan *plan, uint64_t resident_block_ns, uint64_t committed_block_ns,
	     uint64_t guarantee_block_ns, int64_t *amount_micro)
{
	const ml_u128 unit = (ml_u128)ML_BLOCK_NS_PER_GIB_HOUR * RATE_NANO_PER_MICRO;
	ml_u128 amount;

	assert(plan->resident_nano >= 0 && plan->committed_nano >= 0 && plan->guarantee_nano >= 0);
	amount = (ml_u128)resident_block_ns * (uint64_t)plan->resident_nano +
		 (ml_u128)committed_block_ns * (uint64_t)plan->committed_nano +
		 (ml_u128)guarantee_block_ns * (uint64_t)plan->guarantee_nano;
	amount = (amount + unit / 2) / unit;
	if (amount > INT64_MAX)
		return -EOVERFLOW;
	*amount_micro = (int64_t)amount;
	return 0;
}

int usage_add(struct bill_usage *sum, const struct bill_usage *row)
{
	if (__builtin_add_overflow(sum->resident_block_ns, row->resident_block_ns,
				   &sum->resident_block_ns) ||
	    __builtin_add_overflow(sum->committed_block_ns, row->committed_block_ns,
				   &sum->committed_block_ns) ||
	    __builtin_add_overflow(sum->guarantee_block_ns, row->guarantee_block_ns,
				   &sum->guarantee_block_ns) ||
	    __builtin_add_overflow(sum->covered_ms, row->covered_ms, &sum->covered_ms) ||
	    __builtin_add_overflow(sum->amount_micro, row->amount_micro, &sum->amount_micro))
		return -EOVERFLOW;
	sum->priced = sum->priced && row->priced;
	return 0;
}
