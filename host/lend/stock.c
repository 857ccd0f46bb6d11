// SPDX-License-Identifier: GPL-2.0-or-later
/* The supply held back, or filled; see stock.h. */
#include "stock.h"

#include "loan.h"
#include "supply.h"

void stock_hold(struct lender *l)
{
	if (!l->supply)
		return;
	supply_withdraw(l);
	loan_read_all(l);
}

void stock_fill(struct lender *l)
{
	if (!l->supply || l->recovering)
		return;
	loan_read_all(l);
	supply_fill(l);
}
