/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who waits for whom: vCPUs of all VMs wait for the event loop's thread, which uses
 * little of a CPU, so it goes before ordinary programs. The ledger's thread, whose lock
 * it takes, goes with it; those that compute bills or close files do not.
 */
#ifndef ML_BASE_PRIORITY_H
#define ML_BASE_PRIORITY_H

#include <stdbool.h>

#define ML_PRIORITY_EVENT_LOOP (-10)	/* nice value */

/*
 * On the event loop's thread, before others are made and rights are given up. A nice value
 * that the daemon was started with stands; without the right to raise its own it goes on
 * as it is.
 */
void ml_priority_event_loop(void);

/* First of all on a thread that nothing waits for. */
void ml_priority_ordinary(void);

/*
 * Threads of idle priority (SCHED_IDLE) get the CPU when nobody else wants it. The kernel
 * lets a process without rights take a thread back from there only if RLIMIT_NICE allows
 * what it comes back to. This raises that limit as far as nice 0, which takes
 * CAP_SYS_RESOURCE: call it before rights are given up. Without the right it changes nothing.
 */
void ml_priority_allow_return(void);
/* May threads come back? To be asked after rights were given up. */
bool ml_priority_can_return(void);

/*
 * The calling thread goes to idle priority; a thread of this process (its tid) comes back.
 * 0 or -errno.
 */
int ml_priority_idle(void);
int ml_priority_return(int tid);

#endif /* ML_BASE_PRIORITY_H */
