/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reserve for page arrays: a memory block takes 1/64 of its size from memory
 * that is there, unless the kernel puts the array inside, and it is wanted when
 * memory is short. So some pages are kept, and given to the kernel just before it
 * needs them. Part of hotplug.c, by way of the growing worker alone: no lock.
 */
#ifndef MEMLEASE_RESERVE_H
#define MEMLEASE_RESERVE_H

#include <linux/types.h>

#define ML_RESERVE_PAGES	3	/* of one block of 2 MiB each */

struct page;

struct ml_reserve {
	struct page *page[ML_RESERVE_PAGES];
	unsigned long next;	/* jiffies; when to try again to have it */
};

/* An empty reserve; exit leaves one too. */
void ml_reserve_init(struct ml_reserve *r);
void ml_reserve_exit(struct ml_reserve *r);

/*
 * See to it that the kernel has memory for the page array of one more block of
 * mb_bytes, or -ENOMEM. Never waits.
 */
int ml_reserve_use(struct ml_reserve *r, u64 mb_bytes);

/* Have the reserve (again), if that is easy. Never waits. */
void ml_reserve_keep(struct ml_reserve *r);

#endif /* MEMLEASE_RESERVE_H */
