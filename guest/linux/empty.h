/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Empties a memory block before it is taken offline. The kernel's offlining moves
 * what is in use too, but complains in its log of each page that it could not
 * isolate or move at that moment, and heeds a signal only between two goes at the
 * whole block. Used by blocks.c alone, around the kernel's offlining.
 */
#ifndef MEMLEASE_EMPTY_H
#define MEMLEASE_EMPTY_H

#include <linux/types.h>

/* To a thread that empties or offlines: stop. What empties heeds fatal signals only. */
#define ML_STOP_SIGNAL	SIGKILL

/*
 * Pages in use in [pfn, end) of online memory, other than those that are only
 * poisoned. Exact only while the range is isolated and per-CPU lists are off, as
 * they are when the kernel says MEM_GOING_OFFLINE: then none means that there will
 * be none. Does not sleep.
 */
unsigned long ml_empty_in_use(unsigned long pfn, unsigned long end);

/*
 * Move what is in use in [pfn, end), a whole number of page blocks of one zone,
 * elsewhere; clean page cache is dropped instead. Nothing keeps programs from
 * taking pages of it again right after. Returns 0 if nothing is left, at once and
 * without touching anything if nothing was; -EINTR after ML_STOP_SIGNAL, -ENOMEM
 * if there is no room for it elsewhere, -EBUSY if something does not move: for
 * how long, the kernel does not say. Sleeps, says nothing in the log. Under
 * ml_defrag_keep_off(), and with the memory kept from being removed.
 */
int ml_empty_range(unsigned long pfn, unsigned long end);

#endif /* MEMLEASE_EMPTY_H */
