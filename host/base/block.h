/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of 2 MiB in other units. Used by whoever prices, shows or rounds them.
 */
#ifndef ML_BASE_BLOCK_H
#define ML_BASE_BLOCK_H

#include <stdint.h>

#include "../../proto/memlease_abi.h"

#define ML_MIB_PER_BLOCK ((uint64_t)(MEMLEASE_BLOCK_BYTES >> 20))
#define ML_BLOCKS_PER_GIB ((uint64_t)((1ULL << 30) / MEMLEASE_BLOCK_BYTES))

/* Block-nanoseconds in a GiB-hour. */
#define ML_BLOCK_NS_PER_GIB_HOUR (ML_BLOCKS_PER_GIB * 3600 * 1000000000)

#endif /* ML_BASE_BLOCK_H */
