/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the other files of this folder need of server.c, beyond vhost.h.
 */
#ifndef ML_VHOST_SERVER_H
#define ML_VHOST_SERVER_H

#include "device.h"

struct vhost_server {
	sd_event *event;
	struct lender *lender;
	struct vhost_store store;
	struct vhost_device *devices;
};

/* QEMU handed over its userfaultfd: keep it in the store, and serve it. Takes fd. 0 or -errno. */
int server_take_uffd(struct vhost_device *d, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT]);

#endif /* ML_VHOST_SERVER_H */
