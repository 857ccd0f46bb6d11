/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics: tells the host how the guest is doing, about every second while
 * something changes, every 10 s otherwise, and at once when a target is met or
 * given up, or when woken as ML_STATS.
 */
#ifndef MEMLEASE_STATS_H
#define MEMLEASE_STATS_H

struct ml_stats;
struct ml_turn;

/* 0 or -errno. Sends while not held, if the device takes statistics. */
int ml_stats_init(struct ml_turn *t, struct ml_stats **out);
/* After ml_queue_stop(), because the worker may be waiting for an answer, and with all held. */
void ml_stats_stop(struct ml_stats *s);
void ml_stats_exit(struct ml_stats *s);

#endif /* MEMLEASE_STATS_H */
