/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Surviving a bus error: memory behind a mapping can go away (a peer truncates its file,
 * the hardware reports an error). A thread that touches such memory says so with a guard,
 * and finds itself behind it if the kernel sends SIGBUS. Used by pool/ and vhost/.
 *
 *	sigjmp_buf env;
 *
 *	if (sigsetjmp(env, 0))
 *		return -EFAULT;		(the guard is gone)
 *	ml_bus_guard(&env);
 *	... touch the memory; nothing that must be undone ...
 *	ml_bus_guard(NULL);
 */
#ifndef ML_BASE_BUS_H
#define ML_BASE_BUS_H

#include <setjmp.h>

/*
 * Install the handler of SIGBUS, unless it stands; it passes on what no guard is for. Once,
 * before there are other threads, or before they need it. 0 or -errno.
 */
int ml_bus_init(void);

/* The calling thread's guard; NULL takes it away. env's function must not have returned. */
void ml_bus_guard(sigjmp_buf *env);

#endif /* ML_BASE_BUS_H */
