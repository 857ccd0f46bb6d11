/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounds the lines that a hostile VM can cause, by the event loop's time: see base/quiet.h. */
#ifndef ML_VHOST_QUIET_H
#define ML_VHOST_QUIET_H

#include <systemd/sd-event.h>

#include "../base/quiet.h"

/* May this VM cause another line now? */
static inline bool quiet_allows(struct ml_quiet *q, sd_event *event)
{
	uint64_t now = 0;

	sd_event_now(event, CLOCK_MONOTONIC, &now);
	return ml_quiet_allows(q, now);
}

#endif /* ML_VHOST_QUIET_H */
