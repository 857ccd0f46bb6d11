/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts: of each VM, summed up over VMs, as the meter has them, and as policy sees them.
 * The only file that writes a lender's sums; while VMs run all changes of counts reach their
 * meters by account_meter(). All in blocks; times are the boot clock's. Moves no block.
 */
#ifndef ML_LEND_ACCOUNT_H
#define ML_LEND_ACCOUNT_H

#include "../policy/policy.h"
#include "lender.h"

uint64_t account_committed(const struct lend_vm *vm);
/* By the table, and foreign ones. */
uint64_t account_resident(const struct lend_vm *vm);
/* Of these, how many are foreign: see foreign.h. */
uint64_t account_foreign(const struct lend_vm *vm);
/* By the source's own count, rounded up. */
uint64_t account_in_source(const struct lend_vm *vm);
/* Blocks of the pool that are lent to nobody, clean or not. */
uint64_t account_free(const struct lender *l);

/*
 * No QEMU has come for it in time, and it holds nothing any more: see unstarted.h. That is so when
 * its meter counts nothing as committed, of a VM that never had a QEMU: boot memory is at least a block.
 */
bool account_lapsed(const struct lend_vm *vm);
/* What it is guaranteed now. */
uint64_t account_guarantee(const struct lend_vm *vm);

/* What the meter is to count for it. */
struct meter_counts account_counts(const struct lend_vm *vm);
/* The counts have changed as of now_ns: tell the meter and the sums. events may be NULL. */
void account_meter(struct lend_vm *vm, uint64_t now_ns, const struct meter_events *events);
/* From at_ns on it holds nothing. Of one that never had a QEMU. */
void account_lapse(struct lend_vm *vm, uint64_t at_ns);
/*
 * Before a change that happened at at_ns, perhaps a while ago: bring the meter there. At
 * start metering periods may have ended before it.
 */
void account_advance(struct lend_vm *vm, uint64_t at_ns);
/* The counts have changed: bring the lender's sums up to date, not the meter. */
void account_sum(struct lend_vm *vm);

/* For policy. */
void account_vm(const struct lend_vm *vm, struct policy_vm *out);
void account_pool(const struct lender *l, struct policy_pool *out);

/* A VM that is not below its guarantee got a block of a pool that was so before. */
void account_kept(struct lend_vm *vm, const struct policy_pool *before);
/* Others than the last blocks were free, and were given or offered: shares begin anew. */
void account_ample(struct lender *l);

#endif /* ML_LEND_ACCOUNT_H */
