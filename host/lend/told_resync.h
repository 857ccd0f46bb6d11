/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where table and source may have fallen apart, because the source lost events or counts
 * otherwise: the source is asked, and is right.
 */
#ifndef ML_LEND_TOLD_RESYNC_H
#define ML_LEND_TOLD_RESYNC_H

#include "lender.h"

/* Only this slot. */
void told_resync_slot(struct lend_region *r, uint64_t slot);
/* All slots of a VM. */
void told_resync(struct lend_vm *vm);
/*
 * All slots of all VMs. Costs milliseconds for a pool of a TiB: so not more often than every
 * LEND_RESYNC_NS, whatever a QEMU does to have events lost. Until then each slot that matters
 * is looked at by itself (told.c), and what was taken meanwhile counts as offered still.
 */
void told_resync_all(struct lender *l);
/* Blocks that the source has retired, or needs for itself, are RETIRED in the table, too. 0 or -errno. */
int told_find_retired(struct lender *l);

#endif /* ML_LEND_TOLD_RESYNC_H */
