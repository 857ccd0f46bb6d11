/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How memlease_pool.ko locks: the order of its locks and the races that it guards against,
 * all in this one place; and the two locks that belong to the whole module.
 *
 * Locks, outermost first
 * ----------------------
 *   mlp_lock		mutex: ranges, windows by their numbers, how many files of a window
 *			are open. Taken by ioctls, open and release; never with an mmap lock
 *			held, so not in mmap or in a fault.
 *   window.lock	rwsem: the slots of a window. A fault takes it for reading; for writing
 *			a fault that makes a page table, and everything else that changes
 *			slots. Its holder may sleep, but touches no user memory: a fault on
 *			that memory could need this lock.
 *     mmap lock of a process: taken for an instant by mlp_lock_slots(), which tries it, and
 *			then has a worker wait for it, for a moment. A fault arrives with
 *			this lock, or with a VMA lock, and therefore only tries window.lock;
 *			if that is taken, the fault drops its mmap lock before it waits, and
 *			is done again.
 *     mlp_block_lock()	a bit for each block: entries of it in the daemon's view come and go.
 *			Taken by a fault of the view, with its mmap lock held; by who makes
 *			the block a window's, if the view may have it still, with window.lock
 *			held and, in a fault of the window, an mmap lock; and by the worker
 *			that empties the view, which tries for many. So nobody waits here but
 *			for a fault of this very block, or for a moment for the worker.
 *     i_mmap_rwsem of mlp_mapping, page-table locks	(the kernel's, while unmapping)
 *     mlp_rings_lock()	spinlock: both rings and the owners of blocks. No holder sleeps.
 *			Process context only.
 *     window.mappers_lock	spinlock, innermost.
 *
 * The races
 * ---------
 * Fault and unmap. A fault looks the slot up and inserts the entry under window.lock.
 * Code that takes a block away changes the slot and removes the entries under the same
 * lock for writing. So an entry is either removed with the others, or inserted later, by
 * the new word of the slot. No entry is missed, for all mappings of all windows are in
 * one address space of the kernel (mlp_mapping), each window at an offset of its own.
 * fork() would copy entries without looking at the slot: mappings are VM_DONTCOPY, and
 * VM_IO so that madvise() cannot undo that.
 *
 * KVM's fault and unmap. KVM looks for an entry, has the fault done if there is none, and
 * looks again; if the entry was removed between fault and second look KVM takes that for
 * an error, and the VM stops (hva_to_pfn_remapped() up to 7.2 at least). KVM holds its
 * process's mmap lock over all three steps. So before entries are removed, the mmap lock
 * of each process that maps the window is taken once for writing, with window.lock held
 * (mlp_lock_slots()): every KVM that had a fault done before has looked again by then, and
 * no further fault can be done. That the lock is held for writing by somebody else says as
 * much. The daemon, which all VMs share, makes these changes, so a process that keeps its
 * mmap lock for reading is waited for MLP_SETTLE_US at most. A MOVE is left then, for a VM
 * that kept the rules may be touching the block. COMMIT and UNMAP go ahead: they take what the
 * guest has given up, so only one that touches it nevertheless can be between the two
 * looks, and the error that its KVM may see stops its own VM only. So does a memory error.
 *
 * Fault and fault. Two huge faults of one slot hold window.lock for reading: the slot gets
 * its block once, under mlp_rings_lock(), and both faults insert the same entry. The same
 * holds for two faults of single pages where there is a page table. Where there is none
 * a single-page fault makes one, while a huge fault may be about to put its entry in the
 * same place, which the kernel would take for a mistake and warn of: so such a fault holds
 * window.lock for writing, and a huge fault looks for a page table first. A single-page
 * fault looks for a huge entry first, which can be there if huge pages were switched off a
 * moment ago: that entry does as well, and there is no place for another. In the daemon's
 * view mlp_block_lock() keeps all of these apart: where a huge entry has its place all
 * faults are of one block.
 *
 * The view and what is lent. While a window may show a block the daemon's view has no entry
 * of it, and no processor has one in its TLB. A fault of the view, with the block's lock,
 * looks at the owner and, if there is none, marks the block as shown, both in one holding of
 * mlp_rings_lock(); then it inserts the entry. Who makes the block a window's sets the owner
 * under mlp_rings_lock(), and hides the block (mlp_view_hide()) before the window shows it: if
 * it is marked, the lock is taken, entries and TLBs are cleared, then the mark.
 *   - The fault is first: its mark stands when the owner is set, so hiding sees it, waits for
 *     the lock, that is until the entry is in, and takes it out.
 *   - The owner is first: the fault finds it, and ends with SIGBUS. So does each until the
 *     owner goes, which hiding need not fear: owners go with window.lock held for writing, and
 *     hiding goes on with that lock held. A block that is retired keeps that for good.
 *   - Two faults of a slot: the one that comes second may find the block there and insert its
 *     entry before the one that took the block has hidden it. So every fault that shows a
 *     block hides it first. It sees the mark, for the slot's word was stored after the owner
 *     was set (window.c).
 *   - The worker clears marks by the same rule, the entries first, with the locks of the
 *     blocks: no fault puts an entry back in between. A mark that is not there means that
 *     there is no entry, whoever cleared it.
 *   - Giving back: the window's entries go first, then the owner. From then on the view may
 *     show the block again, when it is touched.
 * That a block stays zero between its zeroing and its taking is the daemon's word, as the
 * zeroing itself is: the view shows what lies in the supply.
 *
 * The first write through a read-only entry. For a huge entry the kernel asks again, with
 * the write flag, and the answer is given under window.lock. For a single page the kernel
 * would make the entry that it saw writable after .pfn_mkwrite has returned, without our
 * lock: by then that entry can stand for a vacant slot. So .pfn_mkwrite never agrees: it
 * removes the entry, and the fault comes anew. Entries with a block behind them are
 * writable from the start.
 *
 * Fault and wait. A task that waits for a block has dropped its mmap lock, so its mapping
 * may go meanwhile, and the window's device. The task holds a reference to the file, which
 * keeps the window and this module until the task has left the kernel and puts the file.
 * When it is woken it takes a block as any touch does, under window.lock, if its slot is
 * still COMMITTED, and has the fault done again. It queues itself before it looks at slot
 * and supply; code that changes slot or supply wakes waiting tasks after the change. In
 * case a waking is missed, the task looks every quarter of a second. A task that may not
 * drop its mmap lock (in futex calls) sleeps with it, a millisecond at a time, and
 * the daemon is not told.
 *
 * Move. Under window.lock for writing: entries removed, contents copied, word changed. A
 * touch of the slot meanwhile waits for the lock.
 *
 * Close and destroy. A file counts as open until the last mapping of it is gone. open,
 * release and destroy hold mlp_lock. Destroy removes the device first, so that it cannot
 * be opened any more, and frees the window only when no file of it is open, so that no
 * fault is under way. An ioctl that found the window before holds a reference to its
 * device, and sees `dead` once it has window.lock.
 *
 * Memory errors. A block is marked retired under mlp_rings_lock(): from then on it is not
 * handed out. Then its slot becomes LOST under window.lock, if the block is still behind
 * it. If an unmap or a move was faster the daemon has the block, and the record that says
 * that it is retired, in either order. If a MOVE is copying to the block, the slot becomes
 * LOST right after.
 *
 * The daemon's death. Windows, slots and rings do not depend on a daemon: touches are
 * served until the supply is empty. A task that waits tells the next daemon of itself,
 * for the record that the last one read went with it. What a daemon wrote to the rings is
 * read once, word by word, and checked. The daemon's view of the pool goes with its
 * process; marks that it left are of entries that are gone, and are cleared like others. What
 * windows have has an owner as before, so the next daemon's view does not show it.
 *
 * A device node that was kept. A process that has kept the node of a device that is gone
 * (a descriptor of O_PATH, a bind mount) opens, by its minor number, whatever device has
 * that number now. So all of a million minor numbers are used before one is used again.
 *
 * Unloading. Each window holds the module; so does an open file of the control device.
 * Without either there is no mapping. At the exit reports of memory errors are switched
 * off first, and the work that they left is waited for, before ranges are given back.
 */
#ifndef MEMLEASE_POOL_LOCKS_H
#define MEMLEASE_POOL_LOCKS_H

#include <linux/mutex.h>
#include <linux/spinlock.h>

extern struct mutex mlp_lock;
extern spinlock_t mlp_rings_spin;	/* taken by mlp_rings_lock() only */

#endif /* MEMLEASE_POOL_LOCKS_H */
