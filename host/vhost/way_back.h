/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way back of a QEMU that became another user: started by root, it connected as root, and
 * gave that up. A VM's socket is the daemon's user's alone, so when the daemon was restarted, or
 * has closed the connection, that QEMU could not connect again. Its uid, and no other, is let in
 * by an access control list of the socket. Nobody gains by it: whose process is not the VM's is
 * refused, as before.
 */
#ifndef ML_VHOST_WAY_BACK_H
#define ML_VHOST_WAY_BACK_H

#include <sys/types.h>

/*
 * Let the user that process pid is by now connect to the socket at path. Does nothing where
 * that is root or the daemon's own user. -errno; -EOPNOTSUPP: no such lists on this file system.
 */
int way_back_open(const char *path, pid_t pid);

#endif /* ML_VHOST_WAY_BACK_H */
