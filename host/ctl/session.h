/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of the control socket from its greeting to its end: reads commands, has
 * them carried out in order, a few in each turn of the event loop. A client that floods is
 * slowed down, because nothing is read while its answers wait.
 */
#ifndef ML_CTL_SESSION_H
#define ML_CTL_SESSION_H

#include "client.h"
#include "subjects.h"

#define CTL_NEGOTIATE_MS 30000		/* until qmp_capabilities */
#define CTL_COMMANDS_PER_TURN 4		/* of one client, before the loop looks at others */

struct bill_jobs;
struct ctl_schema;

/* What the sessions of one control socket share. */
struct ctl_sessions {
	struct ctl_config config;
	struct ctl_schema *schema;
	struct ctl_clients clients;
	struct bill_jobs *bills;
};

/* Begin with a new connection; there must be room. fd is taken. -ENOMEM, or sd-event's errors. */
int session_begin(struct ctl_sessions *sessions, int fd);

#endif /* ML_CTL_SESSION_H */
