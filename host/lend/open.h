/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seam by which tests and the simulation open a lender on a backend of their own. */
#ifndef ML_LEND_OPEN_H
#define ML_LEND_OPEN_H

#include "lend.h"
#include "lender.h"

enum lender_flags {
	LENDER_LEDGER_INLINE = 1,	/* no writer thread */
	LENDER_NO_ZEROING = 2,		/* no zeroing threads: the caller zeroes */
};

/*
 * lender_open() on a backend given (and owned from then on, also on failure).
 * config->pool_dir is not used.
 */
int lender_open_on(struct lender **out, const struct lender_config *config,
		   const struct lend_hooks *hooks, struct backend *backend, unsigned int flags);

#endif /* ML_LEND_OPEN_H */
