// SPDX-License-Identifier: GPL-2.0-or-later
/* Lending where the daemon serves touches; see direct.h. */
#include "direct.h"

#include "direct_audit.h"
#include "direct_out.h"
#include "direct_settle.h"
#include "foreign.h"

/* What is behind the slot in part is the guest's, and stays. */
static int direct_refused(struct lend_region *r, uint64_t slot, uint32_t block, int error)
{
	(void)slot;
	pool_put(pool_self(&r->vm->lender->pool), block);
	return loan_source_short(r->vm, error);
}

const struct loan_ops direct_loans = {
	.memory = "files",
	.refused = direct_refused,
	.again = direct_again,
	.out = direct_out,
	.end_idle = direct_end_idle,
	.end_out = direct_end_out,
	.end_rest = foreign_end,
	.audit = direct_audit,
	.count = foreign_count,
	.settle = direct_settle,
};
