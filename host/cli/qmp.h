/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of QMP's wire format, for the daemon's control socket and for QEMU's
 * own. One thread, one command at a time; no wait is without a limit.
 */
#ifndef ML_CLI_QMP_H
#define ML_CLI_QMP_H

#include <jansson.h>
#include <stddef.h>

#include "../base/why.h"

#define QMP_MESSAGE_MAX_BYTES (64 << 20)
#define QMP_EVENTS_MAX 1024		/* kept while nobody asks; older ones go */

struct qmp;

/*
 * Connect, read the greeting, negotiate. why gets one line. -ENOENT or
 * -ECONNREFUSED (nobody there), -EACCES, -ETIMEDOUT, -EPROTO (not QMP), or the
 * system's.
 */
int qmp_open(const char *path, int timeout_ms, struct qmp **out, struct ml_why *why);
void qmp_close(struct qmp *c);

/*
 * Carry out a command; arguments is taken, and may be NULL. *ret is what it
 * returned, a new reference. -EREMOTEIO (it answered with an error: see
 * qmp_error and qmp_error_class), -ETIMEDOUT, -ECONNRESET, -EPROTO; after
 * one of the last three the client is of no more use.
 */
int qmp_call(struct qmp *c, const char *command, json_t *arguments, int timeout_ms,
		json_t **ret);

/* What went wrong in the last call, in words; and the class the server gave, or "". */
const char *qmp_error(const struct qmp *c);
const char *qmp_error_class(const struct qmp *c);

/* The next event; waits up to timeout_ms (-1: for ever). -EAGAIN when none came; else as above. */
int qmp_event(struct qmp *c, int timeout_ms, json_t **event);

static inline void qmp_cleanup(struct qmp **c)
{
	qmp_close(*c);
}
#define auto_qmp __attribute__((cleanup(qmp_cleanup)))

#endif /* ML_CLI_QMP_H */
