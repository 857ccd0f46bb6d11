/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --check-config: would a daemon with these options start, and by what would it go? A line per
 * file on standard output. Changes nothing; a daemon may run on the same files meanwhile.
 */
#ifndef ML_DAEMON_EXAMINE_H
#define ML_DAEMON_EXAMINE_H

#include "config.h"

/* How many files are not as they should be. */
int examine_files(const struct config *config);

#endif /* ML_DAEMON_EXAMINE_H */
