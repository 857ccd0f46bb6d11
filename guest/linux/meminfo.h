/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Linux says of its memory, in bytes. Cheap enough to ask some hundred
 * times a second; never sleeps.
 */
#ifndef MEMLEASE_MEMINFO_H
#define MEMLEASE_MEMINFO_H

#include <linux/nodemask.h>
#include <linux/types.h>

u64 ml_total_bytes(void);
u64 ml_free_bytes(void);
u64 ml_available_bytes(void);	/* free, or freed without swapping */
u64 ml_cache_bytes(void);
u64 ml_slab_bytes(void);	/* caches of the kernel's that can go: of names, of files */
u64 ml_file_bytes(void);	/* page cache less what has no file to go back to */

/* Free memory in pages of 2 MiB and more that programs may have at once. */
u64 ml_large_free_bytes(void);

/* Since boot: page cache that was given up and read again, and waits for a large page. */
u64 ml_read_again_bytes(void);
u64 ml_large_waits(void);
u64 ml_stolen_bytes(void);		/* reclaimed for want of memory; not by a cgroup's own limit */
u64 ml_block_io_bytes(void);	/* read and written by block devices, since boot */

/* Zones that kernel allocations can use, and those that only movable ones can. */
u64 ml_kernel_available_bytes(void);
u64 ml_kernel_free_bytes(void);		/* also what is kept for emergencies */
u64 ml_kernel_lack_bytes(void);		/* by so much these zones are under the marks that the kernel keeps */
u64 ml_movable_free_bytes(void);
u64 ml_movable_available_bytes(void);	/* free, or page cache that can go */
/*
 * Room for pages that move, in all zones: free, or page cache that can go. Unlike available
 * memory it does not count one zone's shortage against another.
 */
u64 ml_room_bytes(void);
/* Is there a free page of this order, or larger, in a kernel zone? */
bool ml_kernel_has_page(unsigned int order);
/*
 * Would the kernel rather kill a process than give out a page of its zones on these nodes, one
 * of up to eight? Only so large do its allocations insist on a page.
 */
bool ml_kernel_tight(const nodemask_t *nodes);
u64 ml_movable_free_on(const nodemask_t *nodes);	/* ml_movable_free_bytes() of these nodes */

/* The nodes that the current task may use: all, unless it is bound (set_mempolicy, cpusets). */
nodemask_t ml_nodes_of_current(void);

#endif /* MEMLEASE_MEMINFO_H */
