/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPU as an engine that zeroes memory; see zero_engine.h. */
#ifndef ML_POOL_ZERO_CPU_H
#define ML_POOL_ZERO_CPU_H

#include "zero_engine.h"

/*
 * The CPU's engine: the store loop that was found to be the best, by zero_choose() of
 * zero_loops.h, at the first call, which takes some tens of milliseconds and logs what was
 * found. A bus error while it writes is that job's -EFAULT. NULL: out of memory. Not to be
 * freed. From one thread at a time.
 */
const struct zero_engine *zero_cpu_engine(void);

#endif /* ML_POOL_ZERO_CPU_H */
