/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memleased --keep: a small process above the daemon, for hosts without systemd.
 * It starts the daemon, keeps the descriptors the daemon stores, starts it again
 * when it dies or hangs, and hands the descriptors to the new one. It opens no
 * file of the daemon's, serves nobody, and never touches a VM.
 */
#ifndef ML_DAEMON_KEEP_H
#define ML_DAEMON_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#define KEEP_SHORT_LIFE_MS 1000		/* a daemon that dies sooner is started with a delay */
#define KEEP_DELAY_MIN_MS 100
#define KEEP_DELAY_MAX_MS 5000
#define KEEP_WATCHDOG_MS 60000		/* a daemon silent for so long hangs, and is killed */

/*
 * Supervise `argv` without its element keep_index. Returns the exit status for
 * the process: the daemon's own when it ends by itself with 0, or on SIGTERM or
 * SIGINT, or before it was ever ready. SIGHUP ends and restarts the daemon (to
 * run a new version installed at the same path).
 */
int keep_run(int argc, char **argv, int keep_index);

/* How long to wait before starting again a daemon that lived so long; delay_ms was the last such wait. */
uint64_t keep_delay_ms(uint64_t lived_ms, uint64_t delay_ms);

#endif /* ML_DAEMON_KEEP_H */
