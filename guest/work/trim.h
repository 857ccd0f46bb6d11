/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trimming: gives up page cache that has not been used for a while, bit by bit, because
 * a tenant pays for it by the second. What shrinking takes of it to make room is
 * shrinking's own (shrink.h).
 */
#ifndef MEMLEASE_TRIM_H
#define MEMLEASE_TRIM_H

#include <linux/types.h>

struct ml_trim;
struct ml_turn;

/* 0 or -errno. Nothing is done before ml_trim_start(). Exit with all held. */
int ml_trim_init(struct ml_turn *t, struct ml_trim **out);
void ml_trim_exit(struct ml_trim *trim);

/* Look from now on until all are held. */
void ml_trim_start(struct ml_trim *trim);

/* Does the user want none of it? */
bool ml_trim_off(const struct ml_trim *trim);
void ml_trim_set_off(struct ml_trim *trim, bool off);

/* Page cache that was given up, so far. */
u64 ml_trim_bytes(const struct ml_trim *trim);

#endif /* MEMLEASE_TRIM_H */
