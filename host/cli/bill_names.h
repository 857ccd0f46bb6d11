/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Was there ever such a tenant, such a VM? For bills, whose lines alone do not tell a name
 * with a typo in it from one without usage.
 */
#ifndef ML_CLI_BILL_NAMES_H
#define ML_CLI_BILL_NAMES_H

#include <stdbool.h>

#include "qmp.h"

/*
 * Has the ledger, or is there now, a VM of this tenant and this name? Either may be NULL, for
 * any. Complains where not, and suggests what may be meant. True also where the daemon does
 * not say.
 */
bool bill_names_known(struct qmp *c, const char *tenant, const char *name);

#endif /* ML_CLI_BILL_NAMES_H */
