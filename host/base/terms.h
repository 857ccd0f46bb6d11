/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon and the CLI must both know beside the control protocol: where the control
 * socket is, bounds and defaults of what may be asked for, and words for it.
 */
#ifndef ML_BASE_TERMS_H
#define ML_BASE_TERMS_H

/* Where root's daemon has its sockets; of another user, ML_RUN_SUBDIR of $XDG_RUNTIME_DIR. */
#define ML_RUN_DIR "/run/memlease"
#define ML_RUN_SUBDIR "memlease"
#define ML_CONTROL_SOCKET "control.sock"	/* in that directory */

/* Files of a VM beside each other, of its name and one of these. */
#define ML_VHOST_SOCKET_TAIL ".vhost.sock"
#define ML_QMP_SOCKET_TAIL ".qmp.sock"
#define ML_UNSTARTED_TAIL ".unstarted"	/* there until its QEMU has connected */

/* A VM's share when the pool is short: from 1 on. */
#define ML_WEIGHT_MAX 10000
#define ML_WEIGHT_DEFAULT 100

#define ML_DEADLINE_DEFAULT_MS 10000	/* of a target, where none is given */

/* What a line of a bill is about, in the order of enum bill_by. */
#define ML_BILL_CUTS "vm", "tenant", "period"

#endif /* ML_BASE_TERMS_H */
