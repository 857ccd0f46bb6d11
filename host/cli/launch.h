/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting QEMU and staying with it, in the foreground or until it runs.
 */
#ifndef ML_CLI_LAUNCH_H
#define ML_CLI_LAUNCH_H

#include <stddef.h>

#include "qmp.h"
#include "words.h"

#define LAUNCH_TIMEOUT_MS 60000

/*
 * From here on SIGINT, SIGTERM and SIGHUP end nothing by themselves, so that what was begun
 * can be undone, and a pipe that nobody reads makes errors. QEMU gets neither.
 */
void launch_hold_signals(void);
/* The signal of those that came since, or 0. */
int launch_signal(void);

/*
 * Run QEMU on this terminal and wait for its end; SIGTERM and SIGHUP go to it.
 * Returns its exit status, 128 + the signal that ended it, or CLI_FAILED after a
 * complaint when it could not be started. It is not where launch_signal() has one.
 */
int launch_foreground(const struct words *qemu);

/*
 * Run QEMU in a session of its own, its messages in the file log, and wait until
 * the daemon says that the VM runs. Complains. Exit status. A signal that is held ends QEMU, and
 * so does LAUNCH_TIMEOUT_MS.
 */
int launch_detached(const struct words *qemu, struct qmp *daemon, const char *name, const char *log);

/*
 * A file for messages, empty, opened for writing: what another user has planted at its path
 * is not followed. -errno after a complaint.
 */
int launch_log(const char *path);

/* The QEMU to use: given, else $MEMLEASE_QEMU, else one installed with this program. NULL after a complaint. */
const char *launch_find_qemu(const char *given, char *buf, size_t size);

#endif /* ML_CLI_LAUNCH_H */
