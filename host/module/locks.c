// SPDX-License-Identifier: GPL-2.0-or-later
/* The locks of the whole module; see locks.h. */
#include "locks.h"

DEFINE_MUTEX(mlp_lock);
DEFINE_SPINLOCK(mlp_rings_spin);
