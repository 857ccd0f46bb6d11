/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An empty file beside a VM's socket, there until a QEMU has connected: NAME.unstarted. Whoever
 * writes QEMU's command line has QEMU open it before all else, so that the same line started a
 * second time ends there, and says so, before it puts sockets of its own in the place of those
 * of the QEMU that runs: QEMU unlinks whatever has a path on which it is to listen. No daemon
 * need be there for that. Called by vhost.c only.
 */
#ifndef ML_VHOST_START_MARK_H
#define ML_VHOST_START_MARK_H

/* The file that goes with the VM's vhost-user socket: to be freed; NULL: out of memory. */
char *start_mark_path(const char *socket_path);
/* Make it, in place of whatever is left there; 0 or -errno. */
int start_mark_set(const char *mark);
/* It may have gone already. */
void start_mark_clear(const char *mark);

#endif /* ML_VHOST_START_MARK_H */
