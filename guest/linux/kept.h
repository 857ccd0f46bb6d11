/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page cache that cannot go: that of cgroups which are promised it (memory.min). What Linux
 * calls available counts it all the same.
 */
#ifndef MEMLEASE_KEPT_H
#define MEMLEASE_KEPT_H

#include <linux/types.h>

/* Pages, in zones that kernel allocations can use and in those that only movable ones can. */
struct ml_kept {
	u64 kernel;
	u64 movable;
};

/*
 * As of the last 100 ms. Where no cgroup is promised anything that costs one read, otherwise
 * a walk of all cgroups now and then. Never sleeps; any context.
 */
struct ml_kept ml_kept_cache(void);

#endif /* MEMLEASE_KEPT_H */
