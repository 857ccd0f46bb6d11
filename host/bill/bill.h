/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bills: usage rows of the ledger, priced and summed. Reads the ledger through
 * a read-only connection of its own and writes nothing, so it may run in any
 * thread, beside the daemon's writer; one call sees one snapshot.
 *
 * Exactness: each row (a VM's metering period) is priced by 128-bit integers
 * and rounded once, half up, to micros of the currency; everything else is sums
 * of such amounts, so that a bill cut by VM, tenant or period adds up to the
 * same total to the last digit.
 */
#ifndef ML_BILL_BILL_H
#define ML_BILL_BILL_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rate.h"

#define BILL_LINES_MAX 20000		/* lines of one bill */
#define BILL_AMOUNT_DIGITS 6		/* decimals of an amount: micros of the currency */
#define BILL_GAPS_MAX 4
#define BILL_UNPRICED_MAX 16		/* names of missing plans that a bill lists */

/* What one line is about; ML_BILL_CUTS has the words, in this order. */
enum bill_by {
	BILL_BY_VM,
	BILL_BY_TENANT,
	BILL_BY_PERIOD,		/* one metering period of one VM */
};

/* A row belongs to the bill if from_ms <= start of its period < to_ms. */
struct bill_filter {
	const char *tenant;	/* or NULL: all */
	const char *name;	/* a VM's, or NULL: all */
	int64_t from_ms;	/* INT64_MIN: unbounded */
	int64_t to_ms;		/* INT64_MAX: unbounded */
	enum bill_by by;
	const atomic_bool *give_up;	/* or NULL; when it becomes true the query ends */
};

struct bill_line {
	char tenant[LEND_NAME_MAX + 1];
	char vm[LEND_NAME_MAX + 1];	/* "" by tenant, as the next two */
	char uuid[LEND_UUID_LEN + 1];
	char plan[LEND_NAME_MAX + 1];
	int64_t start_ms, until_ms;	/* first start and last end of what was counted */
	struct bill_usage usage;
	uint64_t peak_resident_blocks;	/* the highest of any row */
	uint64_t touches, waits, wait_ns;
};

/* The ledger began in place of another, which could not be read: usage before is not in it. */
struct bill_gap {
	int64_t until_ms;
	char ledger[PATH_MAX], reason[256];
};

struct bill {
	char currency[PLANS_CURRENCY_MAX + 1];
	int64_t from_ms, to_ms;		/* as in the filter */
	enum bill_by by;
	size_t count;
	struct bill_line *lines;	/* by tenant, then name, then age of the VM, then time */
	struct bill_usage total;
	/* Plans that rows name and plans.json does not; their lines and the total have no amount. */
	size_t unpriced_count;
	char unpriced[BILL_UNPRICED_MAX][LEND_NAME_MAX + 1];
	/* Those that reach into the bill's time, the last ones first. */
	size_t gap_count;
	struct bill_gap gaps[BILL_GAPS_MAX];
};

/*
 * Price what the filter selects. -ENOENT (no ledger there, or no plans), -EPROTO (a ledger of
 * another version), -EUCLEAN (a row that cannot be), -E2BIG (more than
 * BILL_LINES_MAX lines), -EOVERFLOW, -ECANCELED (give_up), -ENOMEM, -EBUSY or -EIO (SQLite); *why then
 * holds one line for people. No rows is no error: a bill of 0 lines, amount 0.
 */
int bill_query(const char *ledger_path, const struct plans *plans,
	       const struct bill_filter *filter, struct bill **out, struct ml_why *why);

void bill_free(struct bill *bill);

static inline void bill_cleanup(struct bill **bill)
{
	bill_free(*bill);
}
#define bill_auto __attribute__((cleanup(bill_cleanup)))

#endif /* ML_BILL_BILL_H */
