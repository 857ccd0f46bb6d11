/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The windows of the backend `reserved`: functions of struct backend_ops for regions, each of
 * which is a window that lend/ has opened.
 */
#ifndef ML_POOL_RESERVED_WINDOW_H
#define ML_POOL_RESERVED_WINDOW_H

#include "reserved_inner.h"

/* The module's window of this number, or NULL. */
struct reserved_window *reserved_window_by_id(struct reserved *r, uint32_t id);
/* At start: what windows there are. 0 or -errno. */
int reserved_read_windows(struct reserved *r);

/* As in struct backend_ops. */
int reserved_create(struct backend *b, const char *name, uint64_t blocks);
int reserved_open(struct backend *b, const char *name, uint64_t blocks,
		  struct backend_region *region);
void reserved_close(struct backend_region *region);
int reserved_remove(struct backend *b, const char *name);
int reserved_open_memory(struct backend_region *region);
void reserved_tick(struct backend *b);
int reserved_each(struct backend *b, int (*one)(void *ctx, const char *name), void *ctx);
int reserved_left(struct backend *b, const char *name, struct backend_left *left);
int reserved_discard(struct backend *b, const char *name,
		     void (*gone)(void *ctx, uint32_t block), void *ctx);

#endif /* ML_POOL_RESERVED_WINDOW_H */
