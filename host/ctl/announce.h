/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens in the lender, as events of the control socket.
 */
#ifndef ML_CTL_ANNOUNCE_H
#define ML_CTL_ANNOUNCE_H

#include "client.h"
#include "subjects.h"

/*
 * Tell every client that has left negotiation. Called from the lender's event hook: asks
 * the lender for a status, and nothing else.
 */
void announce_lend_event(const struct ctl_config *config, struct ctl_clients *clients,
			 const struct lend_event *event);

/* What of it is a notice: keep it, or drop the one that it ends. */
void announce_keep(struct ctl_notices *notices, const struct lend_event *event, int64_t wall_ms);

/* A notice of the daemon's own, told to the same clients. */
void announce_notice(struct ctl_clients *clients, const struct ctl_notice *notice);
/* All notices, to a client that has just left negotiation. */
void announce_notices(const struct ctl_config *config, struct ctl_client *client);

#endif /* ML_CTL_ANNOUNCE_H */
