/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the commands about the pool; see call.h and schema.json. */
#ifndef ML_CTL_CMD_POOL_H
#define ML_CTL_CMD_POOL_H

#include "call.h"

ctl_handler cmd_query_pool, cmd_pool_compact;

#endif /* ML_CTL_CMD_POOL_H */
