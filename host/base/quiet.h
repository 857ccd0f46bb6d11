/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps whoever can cause a line of the log, or an event, at will from filling the log: such
 * lines are asked for here first. One object for each who can; everything else logs as usual.
 */
#ifndef ML_BASE_QUIET_H
#define ML_BASE_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#define ML_QUIET_LINES 10	/* at most, in ML_QUIET_WINDOW_US */
#define ML_QUIET_WINDOW_US (10 * 1000000ULL)

struct ml_quiet {
	uint64_t since_us;
	unsigned int lines;
	unsigned int missed;	/* since the last one that was allowed */
};

/* May there be another line now, by any clock that only goes on? */
static inline bool ml_quiet_allows(struct ml_quiet *q, uint64_t now_us)
{
	if (q->lines == 0 || now_us - q->since_us > ML_QUIET_WINDOW_US) {
		q->since_us = now_us;
		q->lines = 0;
	}
	if (q->lines >= ML_QUIET_LINES) {
		q->missed++;
		return false;
	}
	q->lines++;
	return true;
}

/* How many were not allowed before the one that was just now. */
static inline unsigned int ml_quiet_missed(struct ml_quiet *q)
{
	unsigned int missed = q->missed;

	q->missed = 0;
	return missed;
}

#endif /* ML_BASE_QUIET_H */
