/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supply: clean blocks that a source which serves touches may hand out by itself.
 * There is none, and nothing here does anything, where the daemon serves them.
 *
 * How many. What is in the supply goes to whoever touches first, so it is never
 * more than policy_offer(): what is free beyond what VMs lack of their guarantees,
 * and beyond the last blocks, which are shared out. So a VM below its guarantee always
 * finds a block, and so does one whose turn at the last blocks has come; what others
 * take from the supply changes nothing for them. When it comes to the last blocks the
 * supply is empty, each touch waits for the daemon, and policy decides it. Up to
 * that it follows demand: it doubles whenever it was full and is found nearly used up,
 * and halves in each second in which little of it was used; an eighth of the pool is the
 * most, for blocks of the supply break up the GiBs that they are of. While touches wait it
 * gets nothing: they are served one by one, in the order that policy says.
 *
 * Order. All events are read before a block is put in (backend.h says why): stock.h does. A
 * block is OFFERED before it is in the supply, and stays so until it is seen to have left
 * it, whichever way: told_settle.c finds those that a crash left in neither.
 */
#ifndef ML_LEND_SUPPLY_H
#define ML_LEND_SUPPLY_H

#include "lender.h"

/* -ENOMEM. */
int supply_init(struct lender *l);
void supply_free(struct lender *l);
/* How many blocks it shall hold at the present demand. */
uint32_t supply_want(const struct lender *l);

/*
 * Bring it to what it shall hold, no more than others leave over their guarantees. Only when
 * all events have been read: stock_fill() does both.
 */
void supply_fill(struct lender *l);
/* Take it all back. */
void supply_withdraw(struct lender *l);
/* A block of it in place of one from the pool, lent to the owner; or POOL_NO_BLOCK. */
uint32_t supply_get(struct lender *l, struct block_owner owner);
/* An event has told of a block that a touch took. */
void supply_was_taken(struct lender *l);
/* Once a second. */
void supply_tick(struct lender *l);

#endif /* ML_LEND_SUPPLY_H */
