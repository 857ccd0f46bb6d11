// SPDX-License-Identifier: GPL-2.0-or-later
/* Nice values of the daemon's threads; see priority.h. On Linux each thread has its own. */
#include "priority.h"

#include <stdbool.h>
#include <string.h>
#include <errno.h>
#include <sched.h>
#include <sys/capability.h>
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

#define NICE_0_LIMIT 20		/* RLIMIT_NICE counts from nice 20 down */

void ml_priority_allow_return(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NICE, &limit) || limit.rlim_cur >= NICE_0_LIMIT)
		return;
	limit.rlim_cur = NICE_0_LIMIT;
	if (limit.rlim_max < NICE_0_LIMIT)
		limit.rlim_max = NICE_0_LIMIT;
	setrlimit(RLIMIT_NICE, &limit);
}

bool ml_priority_can_return(void)
{
	cap_flag_value_t held = CAP_CLEAR;
	struct rlimit limit;
	cap_t caps;

	if (getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= NICE_0_LIMIT)
		return true;
	caps = cap_get_proc();
	if (caps)
		cap_get_flag(caps, CAP_SYS_NICE, CAP_EFFECTIVE, &held);
	cap_free(caps);
	return held == CAP_SET;
}

int ml_priority_idle(void)
{
	struct sched_param param = { 0 };

	return sched_setscheduler(0, SCHED_IDLE, &param) < 0 ? -errno : 0;
}

int ml_priority_return(int tid)
{
	struct sched_param param = { 0 };

	return sched_setscheduler(tid, SCHED_OTHER, &param) < 0 ? -errno : 0;
}
