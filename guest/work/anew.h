/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reporting anew: what the kernel has reported as free, and the host backs again all the
 * same, because somebody touched it in passing. Asks the host's meter now and then whether
 * there is such memory; think/stale.h says when there is. Woken as ML_ANEW it looks at once.
 */
#ifndef MEMLEASE_ANEW_H
#define MEMLEASE_ANEW_H

#include <linux/types.h>

struct ml_anew;
struct ml_turn;

/* 0 or -ENOMEM. Where the host does not tell what it counts (no QUERY), nothing is done. */
int ml_anew_init(struct ml_turn *t, struct ml_anew **out);
/* After ml_queue_stop(), because the worker may be waiting for an answer, and with all held. */
void ml_anew_stop(struct ml_anew *a);
void ml_anew_exit(struct ml_anew *a);

/* How often all was reported anew. */
u64 ml_anew_times(const struct ml_anew *a);

#endif /* MEMLEASE_ANEW_H */
