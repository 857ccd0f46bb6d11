/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which physical memory the pool is made of, and whether Linux leaves it alone.
 */
#ifndef ML_POOL_RESERVED_RANGES_H
#define ML_POOL_RESERVED_RANGES_H

#include <stddef.h>

#include "../base/why.h"
#include "reserved_setup.h"

/*
 * "BASE,SIZE[/TIER][,BASE,SIZE[/TIER]]...", as in "0x140000000,512M". -EINVAL with a
 * sentence in why.
 */
int reserved_ranges_parse(const char *text, struct reserved_want want[BACKEND_RANGES_MAX],
			  unsigned int *wants, struct ml_why *why);

/*
 * Does Linux leave these ranges alone? iomem: the text of /proc/iomem, as root sees it. Each
 * range must lie in one reserved entry that nothing else is in, or in none at all. -EEXIST
 * (Linux uses it), -EACCES (the addresses are hidden from us), with a sentence in why.
 */
int reserved_ranges_check(const char *iomem, const struct reserved_want *want,
			  unsigned int wants, struct ml_why *why);

/* What could be named: reserved entries of 2 MiB and more, for a message. Returns buf. */
const char *reserved_ranges_candidates(const char *iomem, char *buf, size_t size);

/*
 * What the daemon calls: fill in the ranges of setup, and check them. text is what stood behind "reserved:", or NULL, and
 * then the device tree is asked. Reads /proc/iomem and /sys/firmware/fdt; logs what is
 * wrong.
 */
int reserved_ranges_find(const char *text, struct reserved_setup *setup);

#endif /* ML_POOL_RESERVED_RANGES_H */
