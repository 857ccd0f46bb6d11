/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who waits for whom: vCPUs of all VMs wait for the event loop's thread, which uses
 * little of a CPU, so it goes before ordinary programs. The ledger's thread, whose lock
 * it takes, goes with it; those that compute bills or close files do not.
 */
#ifndef ML_BASE_PRIORITY_H
#define ML_BASE_PRIORITY_H

#define ML_PRIORITY_EVENT_LOOP (-10)	/* nice value */

/*
 * On the event loop's thread, before others are made and rights are given up. A nice value
 * that the daemon was started with stands; without the right to raise its own it goes on
 * as it is.
 */
void ml_priority_event_loop(void);

/* First of all on a thread that nothing waits for. */
void ml_priority_ordinary(void);

#endif /* ML_BASE_PRIORITY_H */
