/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Brings free pages from the per-CPU lists back to the buddy allocator. Since
 * 6.7 the kernel lets those lists grow to an eighth of a zone, pages of 2 MiB
 * included, and shrinks them by a few MiB a second; what stands on them can be
 * neither merged nor reported.
 */
#ifndef MEMLEASE_DRAIN_H
#define MEMLEASE_DRAIN_H

#include <linux/types.h>

/*
 * Drain each zone that has at least this much on its per-CPU lists. Returns
 * whether any has become shorter by it: the kernel may not find a page block to
 * begin with. Sleeps; takes about a millisecond a zone.
 */
#define ML_DRAIN_BYTES	(8ULL << 20)
bool ml_drain(void);

/* Drain one zone, however little it has there; the same answer. Sleeps. */
struct zone;
bool ml_drain_zone(struct zone *zone);

/*
 * The same for the zone of a page that is the caller's alone; and all other pages
 * in [start, end), where it lies, are moved elsewhere as far as they can be. Frees
 * the page. The kernel's answer says nothing about the others: look at them.
 */
struct page;
void ml_drain_around(struct page *page, unsigned long start, unsigned long end);

/* Is there a zone to drain? Reads one number per CPU and zone. */
bool ml_drain_due(void);

#endif /* MEMLEASE_DRAIN_H */
