/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cleanup by attribute: what a function acquires is released when its scope
 * ends, and handed on with ml_steal_*. Used by every folder of host/.
 */
#ifndef ML_BASE_CLEANUP_H
#define ML_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void ml_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void ml_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void ml_cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define ml_autofree __attribute__((cleanup(ml_cleanup_free)))
#define ml_autoclose __attribute__((cleanup(ml_cleanup_close)))
#define ml_autofclose __attribute__((cleanup(ml_cleanup_fclose)))

/* Take a descriptor or pointer out of an automatic variable. */
static inline int ml_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define ml_steal_ptr(p) ({ __typeof__(p) ml_taken = (p); (p) = NULL; ml_taken; })

#endif /* ML_BASE_CLEANUP_H */
