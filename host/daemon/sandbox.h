/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what the daemon does not need any more. In two steps, because the
 * ledger's thread and the VMs' files come between them. Used by main.c.
 */
#ifndef ML_DAEMON_SANDBOX_H
#define ML_DAEMON_SANDBOX_H

#include "config.h"

/*
 * Become the user, give up every capability but the one to kill a QEMU of
 * another user, and rule out getting any back. While there is one thread only.
 * 0 or the system's; logged.
 */
int sandbox_drop(const struct config *config);

/*
 * Install the system-call filter for all threads, present and future. What it
 * forbids fails with ENOSYS (SANDBOX_ON), kills the process (SANDBOX_KILL) or passes
 * (SANDBOX_LOG); each of these is audited. 0 or the system's; logged.
 */
int sandbox_filter(const struct config *config);

#endif /* ML_DAEMON_SANDBOX_H */
