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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plans.h"

#define BILL_LINES_MAX 20000		/* lines of one bill */
#define BILL_AMOUNT_DIGITS 6		/* decimals of an amount: micros of the currency */
#define BILL_LEDGER_VERSION 1		/* PRAGMA user_version */
#define BILL_UNPRICED_MAX 16		/* names of missing plans that a bill lists */

typedef unsigned __int128 bill_u128;

/* What one line is about. */
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
};

struct bill_usage {
	bill_u128 resident_block_ns;	/* exceeds 64 bits for a large host within hours */
	bill_u128 committed_block_ns;
	bill_u128 guarantee_block_ns;
	int64_t covered_ms;		/* sum of the lengths of the periods counted */
	bool priced;			/* false: a plan is missing, amount_micro says nothing */
	int64_t amount_micro;
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
};

/*
 * Price what the filter selects. -ENOENT (no ledger there), -EPROTO (a ledger of
 * another version), -EUCLEAN (a row that cannot be), -E2BIG (more than
 * BILL_LINES_MAX lines), -EOVERFLOW, -ENOMEM, -EBUSY or -EIO (SQLite); *why then
 * holds one line for people. No rows is no error: a bill of 0 lines, amount 0.
 */
int bill_query(const char *ledger_path, const struct plans *plans,
	       const struct bill_filter *filter, struct bill **out,
	       char *why, size_t why_size);

void bill_free(struct bill *bill);

/* "vm", "tenant" or "period" to *by; -EINVAL. */
int bill_by_parse(const char *text, enum bill_by *by);

/* What query-bill returns; a new reference, or NULL when out of memory. */
json_t *bill_to_json(const struct bill *bill);

static inline void bill_cleanup(struct bill **bill)
{
	bill_free(*bill);
}
#define bill_auto __attribute__((cleanup(bill_cleanup)))

#endif /* ML_BILL_BILL_H */
