/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeroing for a source that does not do it: the pool's dirty blocks for the workers of
 * pool/zero.c, and the event loop woken when somebody waits for a clean one. All here is
 * called on the event loop's thread, and does nothing in a lender without zeroing.
 */
#ifndef ML_LEND_CLEAN_H
#define ML_LEND_CLEAN_H

#include "../pool/zero.h"
#include "lender.h"

/* Start the workers, which keep at least so many blocks clean. 0 or -errno. */
int clean_start(struct lender *l, uint32_t least_clean);
/* Before the pool is closed. */
void clean_stop(struct lender *l);
/* Blocks were taken, or became dirty. */
void clean_kick(struct lender *l);
/* There is no clean block, and somebody wants one: clean_fd() tells. */
void clean_want(struct lender *l);
/* Readable when somebody waited for a clean block and there is one, or one cannot be written; or -1. */
int clean_fd(const struct lender *l);
/* clean_fd() is readable, or a second has passed. */
void clean_look(struct lender *l);
/* False: nobody zeroes here. */
bool clean_stats(const struct lender *l, struct zero_stats *out);

#endif /* ML_LEND_CLEAN_H */
