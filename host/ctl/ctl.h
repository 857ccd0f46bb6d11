/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: QMP's wire format, the commands of schema.json. Made by
 * daemon/; everything runs on the event loop's thread, except bill queries,
 * which read the ledger in a thread of their own. Clients are hostile: each is
 * bounded in what it may send, queue and keep waiting, and none can delay the
 * serving of touches (its sources have a lower priority than vhost/'s).
 */
#ifndef ML_CTL_CTL_H
#define ML_CTL_CTL_H

#include "subjects.h"

struct ctl_server;

/*
 * Serve on listen_fd, a listening unix socket, which is taken in every case. All
 * pointers of config must live as long as the server. -EINVAL (the embedded
 * schema is broken, or does not fit the commands: a bug), -ENOMEM, or sd-event's
 * errors. Starts no thread.
 */
int ctl_new(struct ctl_server **out, const struct ctl_config *config, int listen_fd);

/* Cuts off every client and waits for bill queries under way. NULL is fine. */
void ctl_free(struct ctl_server *server);

/* What happened in the lender, told to every client. server may be NULL. */
void ctl_lend_event(struct ctl_server *server, const struct lend_event *event);

/*
 * The plans from now on. why: they are not those of the file, for this reason; NULL: they are.
 * Told as an event PLANS_REFUSED or PLANS_READ; the first is a notice. server may be NULL.
 */
void ctl_set_plans(struct ctl_server *server, const struct plans *plans,
		   struct ctl_notices *notices, const char *why, const struct ml_clock *clock);

/*
 * Of what happened keep what somebody has to see to: also before there is a server, which is
 * told of it, too.
 */
void ctl_keep_lend_event(struct ctl_notices *notices, const struct lend_event *event,
			 const struct ml_clock *clock);
#endif /* ML_CTL_CTL_H */
