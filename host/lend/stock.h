/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supply and the events of its source together: held back, so that what is free is known
 * exactly and can be promised; or filled.
 */
#ifndef ML_LEND_STOCK_H
#define ML_LEND_STOCK_H

#include "lender.h"

/* Take all of the supply back: from here to stock_fill() what is free is known exactly. */
void stock_hold(struct lender *l);
/* The supply holds again what it shall, and dirty blocks are zeroed. */
void stock_fill(struct lender *l);

#endif /* ML_LEND_STOCK_H */
