/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose blocks does the table speak of? Blocks are numbered over the ranges that the
 * source has, in their order. If the source is set up anew with others, what was clean
 * by number may be other memory now. And if a daemon with another state directory had
 * this memory in between, or nobody had it because the module was unloaded, what was
 * clean may hold anything. So the ranges are remembered beside the table, and a mark
 * that the source keeps too, as long as it keeps the rest; each start makes another, so
 * that an older copy of the directory is known as such. Where they differ the table
 * goes: all is dirty then, and what is lent the source knows.
 */
#ifndef ML_LEND_MARK_H
#define ML_LEND_MARK_H

#include "../pool/backend.h"

/*
 * At start, before the block table is opened: it is of this memory, or of no worth, and then
 * it goes. Of these ranges, in this order (more may have come at the end), and nobody else
 * has had them since. 0 or -errno.
 */
int mark_check(int state_fd, const struct backend *backend);

#endif /* ML_LEND_MARK_H */
