/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is volatile of a pool, made anew from the table. Included only by pool/. */
#ifndef ML_POOL_REBUILD_H
#define ML_POOL_REBUILD_H

#include "layout.h"

/*
 * Fill in bitmaps, indices and meta of all areas, and the table's counts; p has its ranges,
 * and all else zeroed. ZEROING becomes DIRTY, and DIRTY becomes CLEAN where the backend
 * zeroes what it maps. -EUCLEAN: a word is of no known state.
 */
int rebuild_areas(struct pool *p);

#endif /* ML_POOL_REBUILD_H */
