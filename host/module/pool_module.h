/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memlease_pool.ko: its parts, what each does for the others (one section a file),
 * and how they lock. Included by each of them. The interface to the daemon is
 * proto/memlease_ioctl.h.
 *
 * Locks, outermost first
 * ----------------------
 *   mlp_lock		mutex: ranges, windows by their numbers, who has them open. Taken by
 *			ioctls, open and release; never with an mmap lock held, so not
 *			in mmap or in a fault.
 *   window.lock	rwsem: a fault reads; one that makes a page table, and whoever
 *			else changes slots, writes. Its holder may sleep, but touches no
 *			user memory: a fault on that could need this lock.
 *     mmap lock of a task: had for an instant only, for mlp_lock_slots(): tried, or waited
 *			for by a worker, and no longer than a limit. Faults come with it,
 *			or with a VMA lock, and so only try window.lock; if someone has it,
 *			they give theirs up before they wait, and have the fault done again.
 *     mlp_view_lock	rwsem of view.c: the same for faults of the daemon's view, which
 *			wait for it with their mmap lock held: only faults take it.
 *     i_mmap_rwsem of mlp_mapping, page-table locks	(the kernel's, while unmapping)
 *     mlp_rings_lock()	spinlock: both rings and the owners of blocks. Nobody sleeps
 *			under it. Process context only.
 *     window.mappers_lock	spinlock, innermost.
 *
 * The races
 * ---------
 * Fault and unmap. A fault looks the slot up and inserts the entry under
 * window.lock. Who takes a block away changes the slot and removes the entries
 * under the same lock for writing. So an entry is either removed with the others
 * or inserted afterwards, from the new word. All mappings of all windows are in
 * one address space of the kernel (mlp_mapping), each window at an offset of its
 * own, so none is missed. fork() would copy entries without looking at the slot:
 * mappings are VM_DONTCOPY, and VM_IO so that nobody may undo that.
 *
 * KVM's fault and unmap. KVM looks for an entry, has the fault done if there is
 * none, and looks again; if the entry was removed in between it takes that for an
 * error, and the VM stops (hva_to_pfn_remapped() up to 7.2 at least). It does the
 * three under one holding of its mmap lock. So who removes entries has had that lock
 * once, for writing, with window.lock held (mlp_lock_slots()): whoever had a fault
 * done has looked again by then, and nobody can have another done. A process that
 * keeps its lock for longer than MLP_SETTLE_MS is not waited for: what KVM then takes
 * for an error stops that process's own VM.
 *
 * Fault and fault. Two huge faults of one slot hold the lock for reading: the slot
 * gets its block under mlp_rings_lock(), once, and both insert the same entry. So do
 * faults of single pages where there is a page table. Where there is none they build
 * one, and a huge fault may be about to put its entry there, which the kernel would
 * take for a mistake and warn of: so they hold the lock for writing, and a huge fault
 * looks first. So does a single-page fault: where huge pages were switched off just now
 * it may find a huge entry, which leaves no place for its own, and will do instead. The
 * daemon's view has a lock of its own for this (view.c); faults wait for it, for nobody
 * has it for long.
 *
 * The first write through a read-only entry. A huge entry is asked for again with
 * the write flag, under the lock. For a single page the kernel would make the entry
 * that it saw writable after .pfn_mkwrite has returned, and without our lock: by
 * then the same entry can stand for a vacant slot again. So .pfn_mkwrite never says
 * yes: it removes the entry, and the fault comes anew. Entries with a block behind
 * them are writable from the start.
 *
 * Fault and wait. A task that waits for a block has given up its mmap lock, so its
 * mapping may go meanwhile, and its window be closed. It holds the file: the window,
 * and this module, stay until the task leaves the kernel, when the file is put. It
 * takes the block as any touch does, under window.lock, if its slot is still
 * COMMITTED, and has the fault done again. It queues itself before it looks at slot
 * and supply, and who changes one of them wakes after that; should both be missed it
 * looks every quarter of a second. Who may not give up its mmap lock (futexes) sleeps
 * with it a tenth of a second at a time, and the daemon is not told.
 *
 * Move. Under window.lock for writing: entries removed, contents copied, word
 * changed. Whoever touches the slot meanwhile waits for the lock.
 *
 * Close and destroy. Files count as open until the last mapping is gone. open,
 * release and destroy hold mlp_lock. Destroy removes the device first, so that no
 * one comes in, and frees the window only when nobody has it open, so that no
 * fault is under way. Ioctls that found it before hold a reference to its device,
 * and see `dead` once they have its lock.
 *
 * Memory errors. A block is marked retired under mlp_rings_lock(): from then on
 * nothing gets it anew. Then its slot is lost under window.lock, if the block is
 * still behind it: an unmap or move may have been faster, and then the daemon has
 * the block and the record that says it is retired, in either order. MOVE may be
 * copying to it: the slot is lost right after.
 *
 * The daemon's death. Nothing here depends on it: windows, slots and rings stay;
 * touches are served until the supply is empty. Who waits tells the next one of it,
 * for what the last one had read of the touches went with it. What it wrote to the
 * rings is read once, word by word, and checked. Its own view of the pool goes with its
 * process.
 *
 * A node that was kept. Who has the node of a device that is gone (a descriptor of
 * O_PATH, a bind mount) opens by its minor number whatever has that now. Minors go
 * round all of a million before one comes again.
 *
 * Unloading. A window holds the module; so does an open file of the control device.
 * Without either there is no mapping. Poison is then delivered no longer, and the
 * work that it left is waited for, before ranges are given back.
 */
#ifndef MEMLEASE_POOL_MODULE_H
#define MEMLEASE_POOL_MODULE_H

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "../../proto/memlease_ioctl.h"
#include "compat.h"

#define MLP_BLOCK_BYTES		(1UL << MEMLEASE_POOL_BLOCK_SHIFT)
#define MLP_BLOCK_PAGES		(MLP_BLOCK_BYTES >> PAGE_SHIFT)
#define MLP_NO_BLOCK		U32_MAX

/* --- ranges.c: the memory, and who has each block ------------------------------ */

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
	void *memory;		/* mapped write-back as long as the range is ours */
	u64 *owner;		/* per block; under mlp_rings_lock() */
	unsigned long *poison;	/* a bit per block: an error was reported, see poison.c */
	struct mlp_pfn_watch watch;	/* poison.c's */
};

/* Under mlp_lock. Errors as MEMLEASE_POOL_CLAIM and _RANGE have them. */
int mlp_range_claim(struct memlease_pool_range *arg);
int mlp_range_read(struct memlease_pool_range *arg);
u32 mlp_range_number(void);
/* At unloading. */
void mlp_ranges_release(void);

/* Any context. What is counted, and ranges, never change or go until unloading. */
u32 mlp_blocks(void);
struct mlp_range *mlp_range_at(u32 index);	/* or NULL */
u32 mlp_block_of_pfn(unsigned long pfn);	/* or MLP_NO_BLOCK */
u64 mlp_ranges_metadata(void);
extern atomic_t mlp_retired;	/* blocks, raised by mlp_slots_retire() */

/* Any context. The block is below mlp_blocks(). */
unsigned long mlp_block_pfn(u32 block);
void *mlp_block_memory(u32 block);
u64 *mlp_block_owner(u32 block);

/* The block that vacant slots show; MLP_NO_BLOCK if there is none, or it broke. */
u32 mlp_zero_block(void);
void mlp_zero_broke(void);

/* --- rings.c: supply and touches ----------------------------------------------- */

/* The lock of both rings, and of the owners of blocks. The daemon is woken, if need be, at the end. */
void mlp_rings_lock(void);
void mlp_rings_unlock(void);

int mlp_rings_init(void);
void mlp_rings_exit(void);
/* Another daemon: who waits tells it so. Under mlp_lock. */
void mlp_rings_opened(void);
/* Which daemon it is: a number that changes with each. */
u32 mlp_rings_daemon(void);
int mlp_rings_mmap(struct vm_area_struct *vma);
__poll_t mlp_rings_poll(struct file *file, struct poll_table_struct *table);
u64 mlp_rings_bytes(void);

/* Entries of the supply that may be read. Any context. */
u32 mlp_supply_fill(void);
/* The next good block of the supply, `owner`'s from now on; or MLP_NO_BLOCK. Under the lock. */
u32 mlp_supply_take(u64 owner);
/* Leave a record of the current task. Under the lock. False: there is no room, which is counted. */
bool mlp_touch(enum memlease_touch_type type, u32 window, u32 slot, u32 block);
/*
 * The same, but not while the daemon has yet to read the one before, which *mark
 * stands for: of what a VM can do as often as it likes, one is enough. A mark has 30
 * bits; 0 is none. False: there was no room.
 */
bool mlp_touch_once(enum memlease_touch_type type, u32 window, u32 slot, u32 *mark);
/* A task waits, and no more. */
void mlp_rings_wait_begins(void);
void mlp_rings_wait_ends(u64 ns);

/* --- wait.c: tasks that wait for a block ----------------------------------------- */

struct mlp_window;
/* Waits for whoever is taking a block, then wakes all who wait. */
void mlp_supplied(void);
/* Wakes those who wait for a block of these slots, which may have one, or are no longer COMMITTED. */
void mlp_slots_changed(const struct mlp_window *w, u32 first, u32 count);
/*
 * Wait for a block for a COMMITTED slot, without any lock but a reference to the
 * window. True: the fault is worth another try (a block is there, the slot is
 * another, or a deadly signal came; for others a VM could wait, and leave a record,
 * without end). False: the time limit is over (MEMLEASE_POOL_WAIT_MS, or the module's parameter wait_ms).
 */
bool mlp_supply_wait(struct mlp_window *w, u32 slot);
/* For who cannot give up its mmap lock: sleep a moment. False: a deadly signal came. */
bool mlp_supply_pause(void);

/* --- window.c: one device per window ------------------------------------------- */

struct mlp_window {
	u32 id;			/* never used again */
	u32 minor;		/* not used again soon */
	u32 place;		/* in mlp_mapping: its stretch there */
	u32 slots;
	char name[MEMLEASE_POOL_NAME_BYTES];
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
	u32 opened;		/* files; under mlp_lock */
	bool gone;		/* its device is removed; under mlp_lock */
	struct device dev;
	pgoff_t pgoff;		/* of slot 0 in mlp_mapping */
	bool mapped;		/* somebody has mapped it at some time */
	bool seen;		/* the same, since it was last said to be closed */
	bool gave_way;		/* a fault found the lock taken, and none was served since */
	bool starved;		/* a wait ran into its limit, and no block came since */
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
	u32 violation_mark;	/* for mlp_touch_once(), under mlp_rings_lock() */
	u32 closed_mark;
	spinlock_t mappers_lock;
	struct list_head mappers;	/* of mappers.c, under its lock */
};

/* Where each mapping of windows and pool is found. */
extern struct address_space *mlp_mapping;

int mlp_windows_init(void);
void mlp_windows_exit(void);

/* Under mlp_lock. Errors as the ioctls have them. */
int mlp_window_create(struct memlease_pool_window *arg);
int mlp_window_destroy(u32 id);
int mlp_window_read(struct memlease_pool_window *arg);
void mlp_windows_count(struct memlease_pool_info *info);

/* Takes mlp_lock. A reference, for mlp_window_put(); or NULL. */
struct mlp_window *mlp_window_get(u32 id);
void mlp_window_put(struct mlp_window *w);
/* Takes mlp_lock. Remove what shows the block of zeros, from all windows. */
void mlp_windows_unshow_zeros(void);

/* --- mappers.c: the processes that map a window --------------------------------- */

int mlp_mappers_init(void);
/* Waits for those whose lock is still being waited for. */
void mlp_mappers_exit(void);
/* A process maps the window; one of its mappings becomes two, or goes. */
int mlp_mapper_add(struct mlp_window *w, struct mm_struct *mm);
void mlp_mapper_more(struct mlp_window *w, struct mm_struct *mm);
void mlp_mapper_less(struct mlp_window *w, struct mm_struct *mm);
/*
 * window.lock for writing, for who will remove entries. Lets those go first who gave
 * way to the last one, and KVM's faults come to their end. Sleeps, not for long.
 */
void mlp_lock_slots(struct mlp_window *w);
void mlp_unlock_slots(struct mlp_window *w);

/* --- slots.c: what changes slots, but for touches ------------------------------ */

/* These may sleep, and take window.lock for writing. -ENOENT: destroyed meanwhile. */
int mlp_slots_commit(struct mlp_window *w, struct memlease_pool_slots_op *op);
int mlp_slots_unmap(struct mlp_window *w, struct memlease_pool_slots_op *op);
int mlp_slots_map(struct mlp_window *w, u32 slot, u32 block);
int mlp_slots_move(struct mlp_window *w, u32 slot, u32 *block);
/* Takes mlp_lock, too. Retire a block, and lose the slot that it stands behind. */
int mlp_slots_retire(u32 block);
/* A slot's word as MEMLEASE_POOL_SLOTS has it. Any context. */
u32 mlp_slots_word(const struct mlp_window *w, u32 slot);
/* Put a block of the supply behind a COMMITTED slot. Under window.lock. Returns the word. */
u32 mlp_slots_take(struct mlp_window *w, u32 slot);
/* Remove all entries that show these slots, QEMU's and, through notifiers, KVM's. */
void mlp_slots_unshow(struct mlp_window *w, u32 first, u32 count);

/* --- fault.c: what QEMU and KVM touch; view.c: the daemon's view of the pool ---- */

extern const struct vm_operations_struct mlp_window_vm_ops;

/* Is there room in the mapping for one huge entry at the fault, and none but such? */
bool mlp_fault_fits_huge(struct vm_fault *vmf);
/* For a fault of a single page: has another put a huge entry there? Then it is to be done again. */
bool mlp_fault_is_huge(struct vm_fault *vmf);

int mlp_view_mmap(struct vm_area_struct *vma);
extern const struct vm_operations_struct mlp_view_vm_ops;

/* --- poison.c: memory errors that hardware or kernel report --------------------- */

int mlp_poison_init(void);
/* No report comes in any more, and none is being worked on. */
void mlp_poison_exit(void);
/* A range becomes, or ceases to be, one that the kernel reports errors of. */
void mlp_poison_watch(struct mlp_range *r);
void mlp_poison_unwatch(struct mlp_range *r);

/* --- control.c ------------------------------------------------------------------ */

extern struct mutex mlp_lock;

int mlp_control_init(void);
void mlp_control_exit(void);

#endif /* MEMLEASE_POOL_MODULE_H */
