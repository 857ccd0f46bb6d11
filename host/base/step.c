// SPDX-License-Identifier: GPL-2.0-or-later
/* The hook of step.h; null outside of tests. */
#include "step.h"

void (*ml_step_hook)(const char *where);
