/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shrinking: comes down to the host's target by taking memory blocks away from
 * Linux and returning them, the emptiest first. A thread of its own, because
 * emptying a block takes as long as it takes. Woken as ML_SHRINK. What is of no use goes
 * back unasked: blocks that somebody took off line, and empty ones while the guest has had
 * too much for some minutes.
 */
#ifndef MEMLEASE_SHRINK_H
#define MEMLEASE_SHRINK_H

#include <linux/types.h>

struct ml_shrink;
struct ml_turn;

/*
 * 0 or -errno. Exit comes after ml_queue_stop(), because the thread may be waiting for
 * an answer, and with all held.
 */
int ml_shrink_init(struct ml_turn *t, struct ml_shrink **out);
void ml_shrink_exit(struct ml_shrink *s);

/* Try to return all, for at most timeout_ms. Returns the slots that are left. Sleeps. */
u64 ml_shrink_everything(struct ml_shrink *s, u32 timeout_ms);

/* Page cache that was given up to make room, so far. */
u64 ml_shrink_trimmed_bytes(const struct ml_shrink *s);

/* How often it left off, to go on 200 ms later, because programs took memory. */
u64 ml_shrink_yields(const struct ml_shrink *s);

/* Memory blocks that went back without being asked for. */
u64 ml_shrink_spared(const struct ml_shrink *s);

/* How long the guest must have had too much until some goes back unasked, in ms; 0: for ever. */
u32 ml_shrink_spare_ms(const struct ml_shrink *s);
void ml_shrink_set_spare(struct ml_shrink *s, u32 ms);

#endif /* MEMLEASE_SHRINK_H */
