/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of verbs, and help: all that --help, completion and the manual page say comes
 * from it. Used by main.c.
 */
#ifndef ML_CLI_VERBS_H
#define ML_CLI_VERBS_H

#include "verb.h"

/* The verb of this name; or, after a complaint, NULL. --help and --version are names, too. */
const struct verb *verbs_find(const char *name);

/* Print which verbs there are. */
void verbs_print(void);

#endif /* ML_CLI_VERBS_H */
