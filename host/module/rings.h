/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supply of blocks, which the daemon fills, and the touches, which it is told of: two rings
 * in pages that it maps.
 */
#ifndef MEMLEASE_POOL_RINGS_H
#define MEMLEASE_POOL_RINGS_H

#include <linux/fs.h>
#include <linux/mm_types.h>
#include <linux/poll.h>

#include "../../proto/memlease_ioctl.h"

/* The records of one kind that a window has had since all of them were read. */
struct mlp_few {
	u32 last;	/* the mark of the latest */
	u32 unread;
};

/*
 * The lock of both rings, and of the owners of blocks. Letting go of it wakes the daemon if
 * a record was left that it has to be woken for.
 */
void mlp_rings_lock(void);
void mlp_rings_unlock(void);

int mlp_rings_init(void);
void mlp_rings_exit(void);
/* A daemon has opened the control device: tasks that wait tell it so. Under mlp_lock. */
void mlp_rings_opened(void);
/* Which daemon it is: a number that changes with each. */
u32 mlp_rings_daemon(void);
/* For the control device's mmap() and poll(). */
int mlp_rings_mmap(struct vm_area_struct *vma);
__poll_t mlp_rings_poll(struct file *file, struct poll_table_struct *table);
/* Of both rings, in whole pages. */
u64 mlp_rings_bytes(void);

/* Entries of the supply that may be read. Any context. */
u32 mlp_supply_fill(void);
/* The next good block of the supply, `owner`'s from now on; or MLP_NO_BLOCK. Under the lock. */
u32 mlp_supply_take(u64 owner);
/* Leave a record of the current task. Under the lock. False: there is no room, which is counted. */
bool mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block);
/*
 * The same for what a VM can do as often as it likes, of which one unread record is enough:
 * none is left while the daemon has yet to read the one that *mark stands for. *mark becomes
 * that of the record; it has 30 bits, 0 is none. False: there was no room.
 */
bool mlp_touch_once(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark);
/*
 * The same for a kind of which a window can have many at once. False, and nothing is counted as
 * lost: there are so many of this window, or of all, that are not read yet; ask again later.
 */
bool mlp_touch_if_few(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark, struct mlp_few *few);
/* A task begins to wait for a block, and has waited for so long. */
void mlp_rings_wait_begins(void);
void mlp_rings_wait_ends(u64 ns);

#endif /* MEMLEASE_POOL_RINGS_H */
