/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Windows as devices: a character device each, with a name, which QEMU opens and maps. Made
 * and removed by the daemon's ioctls; others find a window here by its id.
 */
#ifndef MEMLEASE_POOL_WINDOW_DEVICE_H
#define MEMLEASE_POOL_WINDOW_DEVICE_H

#include "window.h"

/* Before and after all else here. */
int mlp_devices_init(void);
void mlp_devices_exit(void);

/* Under mlp_lock. Errors as the ioctls have them. */
int mlp_device_create(struct memlease_pool_window *arg);
int mlp_device_destroy(u32 id);
int mlp_device_read(struct memlease_pool_window *arg);
/* Add windows, resident blocks and metadata of all devices to the counts in info. */
void mlp_devices_count(struct memlease_pool_info *info);

/* Takes mlp_lock. A reference to the window of this id, for mlp_device_put(); or NULL. */
struct mlp_window *mlp_device_get(u32 id);
void mlp_device_put(struct mlp_window *w);
/* Takes mlp_lock. Remove what shows the module's own block, from all windows. */
void mlp_devices_unshow_zeros(void);

#endif /* MEMLEASE_POOL_WINDOW_DEVICE_H */
