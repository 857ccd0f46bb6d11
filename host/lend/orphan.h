/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orphans: VMs of which only the regions are left, because the record was set aside as
 * damaged, or was taken away. Their QEMU may still run, on memory that nobody else must get.
 * So at start all regions that are of no VM are looked for. Their blocks are lent, to nobody
 * (ORPHAN_ID), as many as the source has behind them: the record that knew which is gone.
 * Once a second it is looked whether somebody still has them open; when nobody has, the
 * regions are removed, and the blocks are free.
 *
 * Not metered: whose the usage is, and from when on, stood in the record.
 */
#ifndef ML_LEND_ORPHAN_H
#define ML_LEND_ORPHAN_H

#include "lender.h"

/* In the block table, in place of a VM's number. */
#define ORPHAN_ID LEND_IDS

/*
 * At start, when all VMs are there that have a record: find the orphans, and remove at once
 * those that nobody has open. 0 or -errno.
 */
int orphan_find(struct lender *l);
/*
 * At start, when no block is lent to an orphan any more: lend as many as the source has
 * behind them. Only where numbers of blocks just count; elsewhere each is kept by number.
 */
void orphan_lend(struct lender *l);
/*
 * Where they do not only count: what an orphan has is lent to orphan_owner(), block by block, by
 * the caller, who then says how many there are; each is told by orphan_each_block() (0 or -errno).
 */
struct block_owner orphan_owner(void);
int orphan_each_block(struct lender *l, void (*one)(void *ctx, uint32_t block), void *ctx);
void orphan_settled(struct lender *l, uint64_t lent);
/* A touch took a block of the supply, and not of a VM. False: nor is it an orphan's. */
bool orphan_took(struct lender *l, uint32_t block);
/* Once a second. */
void orphan_tick(struct lender *l);

size_t orphan_count(const struct lender *l);
/* Blocks of the pool that are lent to orphans. */
uint64_t orphan_blocks(const struct lender *l);

void orphan_free(struct lender *l);

#endif /* ML_LEND_ORPHAN_H */
