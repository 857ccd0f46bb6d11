/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool's ranges by the host's device tree.
 */
#ifndef ML_POOL_RESERVED_FDT_H
#define ML_POOL_RESERVED_FDT_H

#include <stddef.h>

#include "../base/why.h"
#include "reserved_setup.h"

/*
 * The ranges of a flattened device tree: all of each node under /reserved-memory that is
 * compatible with "memlease,pool". The blob is not trusted. -ENOENT: there is none;
 * -EINVAL: the blob is damaged, or a node is not as it must be; a sentence in why.
 */
int reserved_ranges_of_tree(const void *blob, size_t size,
			    struct reserved_want want[BACKEND_RANGES_MAX], unsigned int *wants,
			    struct ml_why *why);

#endif /* ML_POOL_RESERVED_FDT_H */
