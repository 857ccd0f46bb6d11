/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the commands about money; see call.h and schema.json. */
#ifndef ML_CTL_CMD_BILL_H
#define ML_CTL_CMD_BILL_H

#include "call.h"

ctl_handler cmd_query_plans, cmd_query_bill;

#endif /* ML_CTL_CMD_BILL_H */
