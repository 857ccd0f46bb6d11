/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory errors: how the module hears of them, and what becomes of the block. */
#ifndef MEMLEASE_POOL_POISON_H
#define MEMLEASE_POOL_POISON_H

#include <linux/types.h>

#include "../../proto/memlease_ioctl.h"

int mlp_poison_init(void);
/* No report comes in any more, of any range, and none is being worked on. */
void mlp_poison_exit(void);
/* The kernel reports errors of this range from now on, where it can. Under mlp_lock. */
void mlp_poison_watch(const struct memlease_pool_range *range);

/*
 * Retire a block, and lose the slot that it stands behind. -EINVAL: there is no such block.
 * May sleep; takes mlp_lock and window.lock.
 */
int mlp_poison_retire(u32 block);
/* How many have been. */
u32 mlp_poison_retired(void);
/* Bytes that are kept for watching ranges. */
u64 mlp_poison_metadata(void);

#endif /* MEMLEASE_POOL_POISON_H */
