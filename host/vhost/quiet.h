/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps a hostile VM from filling the log: lines that it can cause at will are
 * asked for here first. One object per VM; everything else logs as usual.
 */
#ifndef ML_VHOST_QUIET_H
#define ML_VHOST_QUIET_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define QUIET_LINES 10		/* at most, in QUIET_WINDOW_US */
#define QUIET_WINDOW_US (10 * 1000000ULL)

struct quiet {
	uint64_t since_us;
	unsigned int lines;
};

/* May this VM cause another line now? The event loop's time is used. */
static inline bool quiet_allows(struct quiet *q, sd_event *event)
{
	uint64_t now = 0;

	sd_event_now(event, CLOCK_MONOTONIC, &now);
	if (q->lines == 0 || now - q->since_us > QUIET_WINDOW_US) {
		q->since_us = now;
		q->lines = 0;
	}
	if (q->lines >= QUIET_LINES)
		return false;
	q->lines++;
	return true;
}

#endif /* ML_VHOST_QUIET_H */
