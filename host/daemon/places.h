/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's places in the file system: directories, the lock on the run
 * directory, the pool's tmpfs. Used by main.c at start, while it may still do
 * everything that root may.
 */
#ifndef ML_DAEMON_PLACES_H
#define ML_DAEMON_PLACES_H

#include "config.h"

/*
 * Make run, state and ledger directories where they are missing, belonging to
 * the user the daemon will be. 0, or the system's error; logged.
 */
int places_make(const struct config *config);

/*
 * Take the run directory for this process; held by *fd until that is closed.
 * -EBUSY: another daemon has it. Logged.
 */
int places_lock(const struct config *config, int *fd);

/*
 * Does the pool fit into the host's memory? -ENOSPC; logged. With hugetlbfs the
 * backend checks that itself.
 */
int places_check_memory(const struct config *config);

/*
 * Mount the pool's tmpfs at pool_dir, bounded to exactly the pool; one that is
 * mounted already (a restart) is brought to the size asked for. Only for
 * own_pool. -EPERM (not root), -ENOSPC (more is lent than the new size), or the
 * system's; logged.
 */
int places_mount_pool(const struct config *config);

#endif /* ML_DAEMON_PLACES_H */
