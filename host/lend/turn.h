/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is next. After whatever has happened, and in each turn of the event loop, events
 * of the source are read, rule-breakers dealt with, touches served that wait, guests asked
 * for memory, the supply filled, and a slice done of what takes long. What is due is said
 * by those below, in the lender's due and by what they have in hand.
 */
#ifndef ML_LEND_TURN_H
#define ML_LEND_TURN_H

#include "lender.h"

/* Blocks may have become free: serve who waits. */
void turn_serve(struct lender *l);
/* A touch has to wait that is not one of the source's events. */
void turn_waits(struct lender *l);

/* See lend.h: lender_tick(), lender_next_tick_boot_ns(), lender_events(), lender_has_work(), lender_work(). */
void turn_tick(struct lender *l);
uint64_t turn_next_tick_ns(const struct lender *l);
void turn_events(struct lender *l);
bool turn_has_work(const struct lender *l);
void turn_work(struct lender *l);

#endif /* ML_LEND_TURN_H */
