/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeping out of the way of programs. Called by what works in pieces and is not
 * waited for: growing ahead of need, reporting by itself, shrinking. Where a
 * vCPU is idle nothing is lost, so it waits only if something else wants to run
 * on the vCPU where it runs.
 */
#ifndef MEMLEASE_PACE_H
#define MEMLEASE_PACE_H

#include <linux/delay.h>
#include <linux/sched/stat.h>

#include "../think/pure.h"

#define ML_PACE_BYTES_S	(16ULL << 20)	/* programs that take more memory in a second need it first */
#define ML_PACE_LEAST_US	50	/* under that a timer costs more than it saves */

/*
 * After a piece of work that took so long. May sleep, at most ML_PACE_MAX_US and a bit.
 * In steps, short ones first: what else wants to run may be gone in no time.
 */
static inline void ml_pace(u64 took_ns)
{
	u32 left_us = ml_pace_us(took_ns), step_us = ML_PACE_LEAST_US;

	while (left_us >= ML_PACE_LEAST_US && !single_task_running()) {
		step_us = min(step_us * 2, left_us);
		usleep_range(step_us, step_us + step_us / 8);
		left_us -= step_us;
	}
}

#endif /* MEMLEASE_PACE_H */
