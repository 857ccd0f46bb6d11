/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reserve for page arrays: a memory block takes 1/64 of its size from memory
 * that is there, unless the kernel puts the array inside, and it is wanted when
 * memory is short. So some pages are kept, and given to the kernel just before it
 * needs them. Used by the growing worker alone.
 */
#ifndef MEMLEASE_RESERVE_H
#define MEMLEASE_RESERVE_H

#include <linux/types.h>

#define ML_RESERVE_PAGES	3	/* of one block of 2 MiB each */

struct ml_device;
struct page;

struct ml_reserve {
	struct page *page[ML_RESERVE_PAGES];
	unsigned long next;	/* jiffies; when to try again to have it */
};

void ml_reserve_init(struct ml_device *ml);
void ml_reserve_exit(struct ml_device *ml);

/* See to it that there is memory for the page array of one more block, or -ENOMEM. */
int ml_reserve_use(struct ml_device *ml);

/* Have the reserve (again), if that is easy. Never waits. */
void ml_reserve_keep(struct ml_device *ml);

#endif /* MEMLEASE_RESERVE_H */
