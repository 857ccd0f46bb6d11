/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where sockets are, and how the control socket comes to be. Used by daemon/ and by the
 * commands about VMs.
 */
#ifndef ML_CTL_SOCKETS_H
#define ML_CTL_SOCKETS_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Bind and listen at path, mode 0660, belonging to uid and gid, in place of a
 * socket that nobody serves. Returns the descriptor, or -ENAMETOOLONG,
 * -EEXIST (something else than a socket), -EADDRINUSE (served by somebody), or
 * the system's. The reason is logged.
 */
int ctl_listen(const char *path, uid_t uid, gid_t gid);

/* A VM's socket: vm_dir/NAME.vhost.sock. -ENAMETOOLONG if a socket cannot have that path. */
int ctl_vhost_path(const char *vm_dir, const char *vm, char *path, size_t size);

#endif /* ML_CTL_SOCKETS_H */
