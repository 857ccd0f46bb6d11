/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A walk of the kernel over our mappings that would take the machine down, and is kept off them. */
#ifndef MEMLEASE_POOL_WALKS_H
#define MEMLEASE_POOL_WALKS_H

/*
 * Before anything can be mapped. An error that says that this kernel cannot be helped is
 * logged, with what to do, and returned unless the operator has loaded the module with
 * `unguarded`.
 */
int mlp_walks_init(void);
/* When nothing is mapped any more. */
void mlp_walks_exit(void);

#endif /* MEMLEASE_POOL_WALKS_H */
