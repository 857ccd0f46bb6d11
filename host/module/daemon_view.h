/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's own view of the pool: what no window has. */
#ifndef MEMLEASE_POOL_DAEMON_VIEW_H
#define MEMLEASE_POOL_DAEMON_VIEW_H

#include <linux/mm_types.h>

#include "ranges.h"

/* What a mapping of it has. */
extern const struct vm_operations_struct mlp_view_vm_ops;

/* Errors as mmap() of MEMLEASE_POOL_OFF_BLOCKS has them. */
int mlp_view_mmap(struct vm_area_struct *vma);
/* What mlp_view_hide() does where there may be something to do. Sleeps. */
void mlp_view_hide_shown(u32 block);
/* At unloading. */
void mlp_view_exit(void);

/*
 * Take a block out of the view that has an owner, which it keeps meanwhile, and is not to be
 * seen from now on: to be called before a window shows it. Costs a look at a bit, unless the
 * view has shown it a moment ago; then it sleeps.
 */
static inline void mlp_view_hide(u32 block)
{
	if (mlp_block_marked(block, MLP_MARK_SHOWN))
		mlp_view_hide_shown(block);
}

#endif /* MEMLEASE_POOL_DAEMON_VIEW_H */
