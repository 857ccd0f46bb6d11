/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Acting on what a source that serves touches has told: VMs that broke the rules are
 * stopped, regions that nobody has open are emptied, guests are told of memory errors, and
 * where events were lost all slots are read.
 */
#ifndef ML_LEND_TOLD_ACT_H
#define ML_LEND_TOLD_ACT_H

#include "lender.h"

/* As struct loan_ops has it. */
void told_act(struct lender *l);

#endif /* ML_LEND_TOLD_ACT_H */
