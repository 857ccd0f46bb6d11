/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom the commands are about: the lender, the vhost-user server, the plans; and where the
 * daemon keeps what. Filled in by daemon/, read by the files of this folder.
 */
#ifndef ML_CTL_SUBJECTS_H
#define ML_CTL_SUBJECTS_H

#include <systemd/sd-event.h>

#include "../base/clock.h"
#include "../bill/plans.h"
#include "../lend/lend.h"
#include "../vhost/vhost.h"
#include "notices.h"

struct ctl_config {
	sd_event *event;
	struct lender *lender;
	struct vhost_server *vhost;
	const struct plans *plans;
	const struct ml_clock *clock;
	const struct ctl_notices *notices;
	const char *state_dir, *pool_dir, *ledger_path;	/* shown by query-pool; absolute */
	const char *vm_dir;		/* sockets of VMs: NAME.vhost.sock, NAME.qmp.sock */
};

#endif /* ML_CTL_SUBJECTS_H */
