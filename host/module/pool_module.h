/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memlease_pool.ko: the parts and how they lock. Included by each of them; what a
 * part does for the others stands here, one section a file. The interface to the
 * daemon is proto/memlease_ioctl.h.
 *
 * Lock order, outermost first:
 *   mlp_lock		(mutex: ranges, the list of windows, who has control)
 *     mmap lock or VMA lock of a task	(faults are called with it)
 *       window.lock	(rwsem: read by faults, write by whoever changes slots)
 *         mlp_rings_lock	(spinlock: both rings, waiting, owners of blocks)
 * No user memory is read or written under window.lock: a fault on it might need it.
 *
 * Why no mapping outlives its slot. A fault looks the slot up and inserts the
 * entry under window.lock for reading. Who takes a block away changes the slot
 * and removes the entries under the same lock for writing. So an entry is either
 * removed with the others, or inserted after the change, from the new word.
 */
#ifndef MEMLEASE_POOL_MODULE_H
#define MEMLEASE_POOL_MODULE_H

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "../../proto/memlease_ioctl.h"

#define MLP_BLOCK_BYTES		(1UL << MEMLEASE_POOL_BLOCK_SHIFT)
#define MLP_BLOCK_PAGES		(MLP_BLOCK_BYTES >> PAGE_SHIFT)
#define MLP_NO_BLOCK		U32_MAX

/* --- ranges.c: the memory, and who has each block ------------------------------- */

/* Owner of a block: 0 is nobody, else a window's id and slot, or one of these. */
#define MLP_OWNER(window, slot)	((u64)(window) << 32 | (slot))
#define MLP_OWNER_RETIRED	(~0ULL)
#define MLP_OWNER_MODULE	(~0ULL - 1)	/* the block of zeros */

struct mlp_range {
	u64 base;		/* physical */
	u64 bytes;
	u32 first_block;
	u32 blocks;
	int node;
	struct resource *resource;
	void *memory;		/* mapped write-back as long as the range is ours */
	u64 *owner;		/* per block; under mlp_rings_lock */
};

/* Under mlp_lock. Errors as MEMLEASE_POOL_CLAIM has them. */
int mlp_range_claim(struct memlease_pool_range *arg);
int mlp_range_read(struct memlease_pool_range *arg);
void mlp_ranges_release(void);

/* Any context. A block below mlp_blocks() exists for good. */
u32 mlp_blocks(void);
unsigned long mlp_block_pfn(u32 block);
void *mlp_block_memory(u32 block);
u32 mlp_block_of_pfn(unsigned long pfn);	/* or MLP_NO_BLOCK */
u64 *mlp_block_owner(u32 block);
/* The block that vacant slots show, or MLP_NO_BLOCK before the first claim. */
u32 mlp_zero_block(void);
u64 mlp_ranges_metadata(void);

/* --- rings.c: supply and touches --------------------------------------------------- */

extern spinlock_t mlp_rings_lock;

int mlp_rings_init(void);
void mlp_rings_exit(void);
int mlp_rings_mmap(struct vm_area_struct *vma);
__poll_t mlp_rings_poll(struct file *file, struct poll_table_struct *table);
u64 mlp_rings_bytes(void);

/* The next good block of the supply, owned by `owner` from now on; or MLP_NO_BLOCK. Under the lock. */
u32 mlp_supply_take(u64 owner);
bool mlp_supply_empty(void);
/* Leave a record. Under the lock. */
void mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block);
/* The daemon has filled the supply: wake who waits. */
void mlp_supplied(void);
/* Counts a waiting task. Sleeps, killable, until there is supply or the limit; false: the limit. */
bool mlp_supply_wait(void);

/* --- window.c: one device per window ------------------------------------------------ */

struct mlp_window {
	u32 id;
	u32 slots;
	char name[MEMLEASE_POOL_NAME_BYTES];
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
	struct device dev;
	struct cdev cdev;
	struct inode *inode;	/* its mapping is every opener's: one place to unmap */
	struct rw_semaphore lock;
	u32 *slot;		/* words as in MEMLEASE_POOL_SLOTS */
	u32 committed;		/* not VACANT; under lock for writing */
	atomic_t resident;
	atomic_t opened;
	bool mapped;		/* somebody has mapped it at some time */
	bool starved;		/* a wait for a block ran into its limit */
};

int mlp_windows_init(void);
void mlp_windows_exit(void);

/* Under mlp_lock. */
int mlp_window_create(struct memlease_pool_window *arg);
int mlp_window_destroy(u32 id);
int mlp_window_read(struct memlease_pool_window *arg);
struct mlp_window *mlp_window_find(u32 id);
u32 mlp_window_count(void);
u32 mlp_windows_resident(void);
u64 mlp_windows_metadata(void);

/* --- slots.c: what changes slots, but for touches ----------------------------------- */

/* The extents lie inside the window: checked here. taken[] has room for all slots. */
int mlp_slots_commit(struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n, bool on,
		     u32 *blocks, u32 *taken);
int mlp_slots_unmap(struct mlp_window *w, const struct memlease_pool_extent *extents, u32 n, u32 *blocks,
		    u32 *taken);
int mlp_slots_map(struct mlp_window *w, u32 slot, u32 block);
int mlp_slots_move(struct mlp_window *w, u32 slot, u32 *block);
/* Retire a block, and lose the slot that it stands behind. */
int mlp_slots_retire(u32 block);
/* Give up all blocks of a window that nobody has open. */
void mlp_slots_empty(struct mlp_window *w);

/* --- fault.c: what QEMU and KVM touch ------------------------------------------------ */

extern const struct vm_operations_struct mlp_window_vm_ops;
extern const struct vm_operations_struct mlp_pool_vm_ops;

/* --- control.c ------------------------------------------------------------------------ */

extern struct mutex mlp_lock;

int mlp_control_init(void);
void mlp_control_exit(void);

#endif /* MEMLEASE_POOL_MODULE_H */
