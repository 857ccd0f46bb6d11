/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host says in the config space. The truth about limit and target:
 * events are only a nudge to look here.
 */
#ifndef MEMLEASE_CONFIG_H
#define MEMLEASE_CONFIG_H

#include <linux/virtio.h>

#include "../think/pure.h"

/* The part of the config space that changes. */
struct ml_host {
	u64 limit_blocks;
	u64 target_blocks;	/* MEMLEASE_NO_TARGET: grow freely */
	u32 target_seq;
	u32 target_deadline_ms;
	u16 broken_reason;	/* enum memlease_broken */
	bool broken;
};

/* The part that does not change. */
struct ml_fixed {
	struct ml_layout layout;
	u32 max_extents;
};

/* Read the part that changes. May sleep. */
void ml_config_read(struct virtio_device *vdev, struct ml_host *host);
/* Does the host call the device broken? May sleep. */
bool ml_config_broken(struct virtio_device *vdev);

/*
 * Read and check what does not change. -EPROTO, with a line in the log, if this
 * driver cannot work with it.
 */
int ml_config_fixed(struct virtio_device *vdev, struct ml_fixed *fixed);

#endif /* MEMLEASE_CONFIG_H */
