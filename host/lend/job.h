/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What takes longer than the event loop may wait: emptying all of a VM as it ends,
 * and all of its window at a reset. 1 TiB is seconds of work, in which touches of
 * other VMs would wait. So it is done in slices, in turn between the VMs that have
 * such work.
 *
 * What is to be done stands in the record (ending, resetting) before the first
 * slice, and is cleared after the last: recover.c starts it over. How far it came
 * does not, because the slots say so.
 *
 * A VM that ends is off the list of VMs at once, and its name is free; it stays on
 * the list of jobs, its blocks metered, until it is empty.
 */
#ifndef ML_LEND_JOB_H
#define ML_LEND_JOB_H

#include "lender.h"

/* Begin; the VM is ENDING from here on. why is for people. */
void job_end(struct lend_vm *vm, const char *why);
/* Begin: the target is cleared, a broken device mended, the window is to be emptied. */
void job_reset(struct lend_vm *vm);
/* A slice of this VM's job. The last closes the meter and removes the VM, or ends the reset. */
void job_slice(struct lend_vm *vm);
/* A slice for the VM whose turn it is, if there is one. */
void job_turn(struct lender *l);

#endif /* ML_LEND_JOB_H */
