/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam through which the simulation kills the daemon between any two
 * changes of what survives it. Code that changes such a thing calls ml_step()
 * before each change; outside of tests that is one test of a null pointer.
 */
#ifndef ML_BASE_STEP_H
#define ML_BASE_STEP_H

/* Set by tests only; may not return. */
extern void (*ml_step_hook)(const char *where);

static inline void ml_step(const char *where)
{
	if (__builtin_expect(ml_step_hook != 0, 0))
		ml_step_hook(where);
}

#endif /* ML_BASE_STEP_H */
