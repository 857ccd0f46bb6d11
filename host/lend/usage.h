/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the meters to the ledger. Rows are posted again each second until the
 * ledger acknowledges them; an ended VM is forgotten when its last row is on
 * disk, not before.
 */
#ifndef ML_LEND_USAGE_H
#define ML_LEND_USAGE_H

#include "lender.h"

/* Post all rows of a VM that the ledger does not have. */
void usage_post(struct lend_vm *vm);
/* Bring every meter to now and post what the ledger lacks. */
void usage_post_all(struct lender *l, uint64_t now_ns, int64_t wall_ms);
/* Take the ledger's acknowledgements, and forget VMs that are through. */
void usage_collect(struct lender *l);
/* Tell when the ledger falls behind or catches up. */
void usage_tell(struct lender *l);

#endif /* ML_LEND_USAGE_H */
