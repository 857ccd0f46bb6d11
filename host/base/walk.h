/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths that root follows into directories of others. A directory of the daemon's user (--user)
 * can have anything planted in it, between two starts or during one; who walks it with root's
 * rights must not be led elsewhere by a symbolic or hard link. So a path is walked name by name:
 * a symbolic link is followed only where root made it (or who runs this), in a directory where
 * nobody else could have put it in place of something. What is found is held by a descriptor,
 * and changed by that alone.
 *
 * Called by daemon/ at its start and by cli/, never from the event loop.
 */
#ifndef ML_BASE_WALK_H
#define ML_BASE_WALK_H

#include <stdbool.h>
#include <sys/types.h>

#include "why.h"

/*
 * Open a directory: a descriptor of O_PATH, good for *at() and fstat(). -ELOOP: a link on the
 * way that others may have planted; -ENOTDIR, -ENOENT, and others of openat(). *why says which
 * part of the path it was.
 */
int ml_walk_dir(const char *path, struct ml_why *why);

/* The same; what is missing is made, with mode 0755, the last with mode. *made: was that one? */
int ml_walk_make(const char *path, mode_t mode, bool *made, struct ml_why *why);

/* The directory that the last part of the path is in. *last points to that part, in path. */
int ml_walk_parent(const char *path, const char **last, struct ml_why *why);

/*
 * Open a regular file with one name for writing, or make it (mode 0600). Nothing is cut off. Of
 * flags O_RDWR, O_WRONLY, O_APPEND make sense. -EEXIST: there is something else, or a file that
 * has another name besides.
 */
int ml_walk_file(const char *path, int flags, struct ml_why *why);

/* A path that leads to what a descriptor holds, for calls that take no descriptor. */
#define ML_WALK_PROC 64
const char *ml_walk_proc(int fd, char buf[ML_WALK_PROC]);

#endif /* ML_BASE_WALK_H */
