/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Closing descriptors without being the one who drops the last reference: why that matters
 * stands in porter.h. For processes of one thread that may fork: the porter, and the keeper.
 */
#ifndef ML_BASE_LEAVE_H
#define ML_BASE_LEAVE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Fork a child, which thereby has copies, close fds here, and have the child end. Only for
 * kinds whose close() does not wait unless it is the last: not for files of file systems.
 * The child's pid, to be reaped, or -errno: then nothing was closed.
 */
pid_t ml_leave_to_child(const int *fds, size_t count);

#endif /* ML_BASE_LEAVE_H */
