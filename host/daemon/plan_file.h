/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which plans the daemon goes by. VMs are lent memory and metered whatever a price is, so plans
 * that cannot be read keep no daemon from starting that has VMs: it goes by those that could be
 * read last, of which there is a copy beside the ledger (LEDGER.plans.json), or by none, and
 * then says so to who asks for a bill. Used by main.c; event loop's thread only.
 */
#ifndef ML_DAEMON_PLAN_FILE_H
#define ML_DAEMON_PLAN_FILE_H

#include "../bill/plans.h"
#include "config.h"

struct plan_file {
	char *text;		/* what was read, until there is a copy of it; or NULL */
	struct ml_why trouble;	/* why these are not the plans of the file; or "" */
};

/*
 * At start. -errno: not even by none, for there is no VM that would be the worse for it; why is
 * in trouble.
 */
int plan_file_start(struct plan_file *f, const struct config *config, struct plans **plans);
/* Read the file again. -errno: it cannot be; *plans stays as it is, and why is in trouble. */
int plan_file_again(struct plan_file *f, const struct config *config, struct plans **plans);
/* Keep a copy of what was read. As the daemon's user; where that fails it is logged. */
void plan_file_keep(struct plan_file *f, const struct config *config);
void plan_file_done(struct plan_file *f);

#endif /* ML_DAEMON_PLAN_FILE_H */
