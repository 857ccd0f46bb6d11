/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What somebody has to see to, and nobody may have been connected to hear: a file that was set
 * aside when the daemon started, plans that cannot be read. Each is an event, told to who is
 * connected and to everybody who connects later, as long as the daemon runs or until it is
 * mended; query-pool lists them. Kept by daemon/ from before there is a control socket.
 * All on the event loop's thread.
 */
#ifndef ML_CTL_NOTICES_H
#define ML_CTL_NOTICES_H

#include <stddef.h>
#include <stdint.h>

#include "../base/why.h"

#define CTL_NOTICES_MAX 64	/* of more the first ones are kept */

struct ctl_notice {
	const char *event;		/* its name, a literal */
	char subject[64];		/* member `name` of the event's data, or "" for none */
	char reason[ML_WHY_BYTES];
	int64_t wall_ms;
};

struct ctl_notices {
	struct ctl_notice at[CTL_NOTICES_MAX];
	size_t count;
};

/* The new one, or NULL if there are too many. subject may be NULL. */
const struct ctl_notice *ctl_notice_add(struct ctl_notices *notices, const char *event,
					const char *subject, const char *reason, int64_t wall_ms);
/* Forget those of this event; subject NULL: of whatever subject. */
void ctl_notice_drop(struct ctl_notices *notices, const char *event, const char *subject);

#endif /* ML_CTL_NOTICES_H */
