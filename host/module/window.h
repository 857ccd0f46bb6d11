/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A window: what a VM sees, slot by slot. Here are its slots, the lock over them, and the
 * address space that all windows are mapped in. Its device is in window_device.c, the
 * processes that map it are in mappers.c.
 */
#ifndef MEMLEASE_POOL_WINDOW_H
#define MEMLEASE_POOL_WINDOW_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "../../proto/memlease_ioctl.h"
#include "rings.h"

struct mlp_window {
	/* These never change. */
	u32 id;			/* never used again */
	u32 slots;
	char name[MEMLEASE_POOL_NAME_BYTES];
	pgoff_t pgoff;		/* of slot 0 in mlp_mapping */

	/*
	 * 2 MiB of Linux' own memory, pages of their own each: what VACANT slots show. NULL: the
	 * window had none when it was mapped. Set once.
	 */
	struct page *zeros;

	struct rw_semaphore lock;
	bool dead;		/* under lock: about to be freed */
	/*
	 * Words as MEMLEASE_POOL_SLOTS has them, but that COMMITTED comes with a mark for
	 * mlp_touch_once(). Under lock; from COMMITTED to RESIDENT, and for the mark,
	 * under lock for reading and mlp_rings_lock(); read without either.
	 */
	u32 *slot;
	u32 committed;		/* slots not VACANT; under lock for writing */
	atomic_t resident;
	/* Of records, under mlp_rings_lock(). */
	u32 violation_mark;
	u32 timeout_mark;
	struct mlp_few waiting;

	/* Hints, read and written without a lock. */
	bool mapped;		/* it was mapped at some time */
	bool gave_way;		/* a fault found the lock taken, and none was served since */
	bool starved;		/* a wait ran into its limit, and no block came since */

	/* Opened by mappers.c only. */
	spinlock_t mappers_lock;
	struct list_head mappers;
	u32 mapper_count;
};

/* The address space that has all mappings of windows and pool. */
extern struct address_space *mlp_mapping;

int mlp_mapping_init(void);
void mlp_mapping_exit(void);

/* A window of zeroed memory, all slots VACANT, without an id and a place yet. -ENOMEM. */
int mlp_window_init(struct mlp_window *w, const char *name, u32 slots);
/* Its stretch of mlp_mapping, one of MEMLEASE_POOL_MAX_WINDOWS. No two windows share one. */
void mlp_window_place(struct mlp_window *w, u32 place);
/* No slot changes any more. False, and nothing is done: there are RESIDENT slots. */
bool mlp_window_end(struct mlp_window *w);
/* What mlp_window_init() has allocated. */
void mlp_window_free(struct mlp_window *w);

/* Before the window is mapped: have zeros for its VACANT slots, if there are such. Sleeps. -ENOMEM. */
int mlp_window_need_zeros(struct mlp_window *w);
/* The first page frame of what VACANT slots show. False: that had a memory error. Any context. */
bool mlp_window_zeros(const struct mlp_window *w, unsigned long *pfn);
/* A slot's word as MEMLEASE_POOL_SLOTS has it. Any context. */
u32 mlp_window_word(const struct mlp_window *w, u32 slot);
/* Put a block of the supply behind a COMMITTED slot. Under window.lock. Returns the word. */
u32 mlp_window_take(struct mlp_window *w, u32 slot);
/* Remove all entries that show these slots, QEMU's and, through notifiers, KVM's. */
void mlp_window_unshow(struct mlp_window *w, u32 first, u32 count);

#endif /* MEMLEASE_POOL_WINDOW_H */
