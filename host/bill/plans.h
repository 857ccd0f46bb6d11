/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans: what a GiB costs for an hour, read from a JSON file that the operator
 * writes. Prices are decimal strings and become exact integers; no floating
 * point touches them. Used by rate.c, report.c and the daemon, which refuses to
 * create a VM on a plan that is not there. Immutable once loaded: any thread
 * that uses them may read.
 *
 *   {"currency": "EUR",
 *    "plans": {"standard": {"resident": "0.006", "committed": "0.0005", "guarantee": "0.002"}}}
 */
#ifndef ML_BILL_PLANS_H
#define ML_BILL_PLANS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/why.h"
#include "../lend/lend.h"

#define PLANS_MAX 1024			/* plans in one file */
#define PLANS_FILE_MAX_BYTES (1 << 20)
#define PLANS_CURRENCY_MAX 15		/* bytes, without the NUL */
#define PLANS_PRICE_DIGITS 9		/* decimals of a price: nanos of the currency */
#define PLANS_PRICE_MAX_NANO 1000000000000000LL /* a million of the currency per GiB and hour */

/* Prices in nanos of the currency per GiB and hour; never negative. */
struct plan {
	char name[LEND_NAME_MAX + 1];
	int64_t resident_nano;
	int64_t committed_nano;
	int64_t guarantee_nano;
};

struct plans;

/*
 * Read plans from a file, or, where path is NULL, those built into the daemon.
 * The order of the file is kept. -EINVAL (not JSON, a key missing or unknown, a
 * price that is no decimal string within bounds), -E2BIG, or the system's; *why
 * then holds one line that names file, value and way out.
 */
int plans_load(const char *path, struct plans **out, struct ml_why *why);

/* The same from text; source is the name that errors give it. */
int plans_parse(const char *text, const char *source, struct plans **out, struct ml_why *why);

/* The file as text, in malloc()'s memory; errors as of plans_load(). */
int plans_read(const char *path, char **text, struct ml_why *why);

/* No plans at all, for this reason: nothing can be priced. NULL: out of memory. */
struct plans *plans_none(const char *why);
/* That reason; NULL: these are plans. */
const char *plans_missing(const struct plans *plans);

/*
 * Another user of the same plans, and the end of one: they stay until the last has put them.
 * plans_free() is the end of the one who loaded them. Any thread.
 */
struct plans *plans_get(const struct plans *plans);
void plans_put(struct plans *plans);
void plans_free(struct plans *plans);

/* NULL if there is none of this name. */
const struct plan *plans_find(const struct plans *plans, const char *name);
size_t plans_count(const struct plans *plans);
const struct plan *plans_at(const struct plans *plans, size_t i);
const char *plans_currency(const struct plans *plans);

static inline void plans_cleanup(struct plans **plans)
{
	plans_free(*plans);
}
#define plans_auto __attribute__((cleanup(plans_cleanup)))

#endif /* ML_BILL_PLANS_H */
