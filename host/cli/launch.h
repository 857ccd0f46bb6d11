/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting QEMU and staying with it, in the foreground or until it runs.
 */
#ifndef ML_CLI_LAUNCH_H
#define ML_CLI_LAUNCH_H

#include <stddef.h>

#include "cli.h"
#include "words.h"

#define LAUNCH_TIMEOUT_MS 60000

/*
 * Run QEMU on this terminal and wait for its end; SIGTERM and SIGHUP go to it.
 * Returns its exit status, 128 + the signal that ended it, or CLI_FAILED after a
 * complaint when it could not be started.
 */
int launch_foreground(const struct words *qemu);

/*
 * Run QEMU in a session of its own, its messages in the file log, and wait until
 * the daemon says that the VM runs. Complains. Exit status.
 */
int launch_detached(const struct words *qemu, struct qmp *daemon, const char *name, const char *log);

/* The QEMU to use: given, else $MEMLEASE_QEMU, else one installed with this program. NULL after a complaint. */
const char *launch_find_qemu(const char *given, char *buf, size_t size);

#endif /* ML_CLI_LAUNCH_H */
