// SPDX-License-Identifier: GPL-2.0-or-later
/* Nice values of the daemon's threads; see priority.h. On Linux each thread has its own. */
#include "priority.h"

#include <stdbool.h>
#include <string.h>
#include <errno.h>
#include <sys/resource.h>

#include "log.h"

static bool raised;

void ml_priority_event_loop(void)
{
	int now = getpriority(PRIO_PROCESS, 0);

	if (now == 0 && setpriority(PRIO_PROCESS, 0, ML_PRIORITY_EVENT_LOOP) < 0)
		ml_info("touches are served at ordinary priority: %s", strerror(errno));
	raised = getpriority(PRIO_PROCESS, 0) < 0;
}

void ml_priority_ordinary(void)
{
	if (raised)
		setpriority(PRIO_PROCESS, 0, 0);
}
