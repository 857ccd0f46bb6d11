/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lending where the daemon sees each touch first and puts each block there itself (the
 * backend `file`): direct_out.h takes blocks away, direct_audit.h compares with the file
 * system, direct_settle.h starts up.
 */
#ifndef ML_LEND_DIRECT_H
#define ML_LEND_DIRECT_H

#include "loan.h"

extern const struct loan_ops direct_loans;

#endif /* ML_LEND_DIRECT_H */
