/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control device, which the daemon opens: ioctls, rings, view of the pool. It comes after
 * all else in the module, and goes before.
 */
#ifndef MEMLEASE_POOL_CONTROL_H
#define MEMLEASE_POOL_CONTROL_H

int mlp_control_init(void);
void mlp_control_exit(void);

#endif /* MEMLEASE_POOL_CONTROL_H */
