/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each second: does the file system count what the table says? QEMU has its files
 * open and can fill or empty them past its leases; so can whoever wrote to boot
 * memory before QEMU had its userfaultfd. What is there is metered at once, as
 * a number of foreign blocks. Which slots it is, is searched a stretch at a time:
 * a committed slot found filled becomes resident, and a resident one found empty,
 * committed. Vacant slots that were filled stay foreign until returned or ended. Where foreign
 * blocks are at the cost of what others are guaranteed, whose they are is stopped.
 */
#ifndef ML_LEND_DIRECT_AUDIT_H
#define ML_LEND_DIRECT_AUDIT_H

#include "lender.h"

/* As struct loan_ops has them. */
void direct_audit(struct lend_vm *vm, uint64_t now_ns);
void direct_again(struct lend_region *r, uint64_t slot);

#endif /* ML_LEND_DIRECT_AUDIT_H */
