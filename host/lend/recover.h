/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start-up: read the records of the last daemon, have its half-done moves finished and the
 * time in between accounted for (struct loan_ops, settle), and see which of its QEMUs live.
 */
#ifndef ML_LEND_RECOVER_H
#define ML_LEND_RECOVER_H

#include "lender.h"

/* 0; -EUCLEAN: a record is damaged; or -errno. The reason is logged. */
int recover(struct lender *l);

#endif /* ML_LEND_RECOVER_H */
