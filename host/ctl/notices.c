// SPDX-License-Identifier: GPL-2.0-or-later
/* A short list of what somebody has to see to; see notices.h. */
#include "notices.h"

#include <stdio.h>
#include <string.h>

const struct ctl_notice *ctl_notice_add(struct ctl_notices *notices, const char *event,
					const char *subject, const char *reason, int64_t wall_ms)
{
	struct ctl_notice *n = &notices->at[notices->count];

	if (notices->count == CTL_NOTICES_MAX)
		return NULL;
	n->event = event;
	n->wall_ms = wall_ms;
	snprintf(n->subject, sizeof(n->subject), "%s", subject ? subject : "");
	snprintf(n->reason, sizeof(n->reason), "%s", reason ? reason : "");
	notices->count++;
	return n;
}

void ctl_notice_drop(struct ctl_notices *notices, const char *event, const char *subject)
{
	size_t kept = 0;

	for (size_t i = 0; i < notices->count; i++) {
		const struct ctl_notice *n = &notices->at[i];

		if (strcmp(n->event, event) == 0 && (!subject || strcmp(n->subject, subject) == 0))
			continue;
		if (kept != i)
			notices->at[kept] = *n;
		kept++;
	}
	notices->count = kept;
}
