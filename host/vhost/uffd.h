/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's userfaultfd: it is served, and a copy of it is kept in the descriptor store, for a
 * daemon that comes after this one. Called by protocol.c and vhost.c.
 */
#ifndef ML_VHOST_UFFD_H
#define ML_VHOST_UFFD_H

#include <stdint.h>

#include "../../proto/memlease_abi.h"

struct vhost_device;

#define VHOST_STORE_PREFIX "uffd."

/*
 * Descriptors that must outlive the daemon. The name is VHOST_STORE_PREFIX and the VM's.
 * store_fd() keeps a copy: fd stays the caller's. Storing under a name again replaces.
 * Either may be NULL, and then nothing survives.
 */
struct vhost_store {
	void (*store_fd)(void *ctx, const char *name, int fd);
	void (*drop_fd)(void *ctx, const char *name);
	void *ctx;
};

/* QEMU handed it over, with where the regions are in QEMU: store and serve. Takes fd. 0 or -errno. */
int uffd_take(struct vhost_device *d, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT]);

/* It came out of the store: serve. Takes fd; what cannot be served is dropped from the store. */
int uffd_adopt(struct vhost_device *d, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT]);

/* Drop it from the store. */
void uffd_drop(struct vhost_device *d);

#endif /* ML_VHOST_UFFD_H */
