/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lending where the source serves touches by itself (backend.h) and tells of it afterwards:
 * told_read.h hears it, told_out.h takes blocks away, told_resync.h asks where the two may
 * have fallen apart, told_act.h acts on what was heard, told_settle.h starts up.
 */
#ifndef ML_LEND_TOLD_H
#define ML_LEND_TOLD_H

#include "loan.h"

extern const struct loan_ops told_loans;

#endif /* ML_LEND_TOLD_H */
