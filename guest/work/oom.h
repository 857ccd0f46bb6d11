/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Out of memory: as a last resort, before the kernel kills a process, growing is made
 * to borrow, and what keeps memory from use to let go of it; the kernel waits for that.
 */
#ifndef MEMLEASE_OOM_H
#define MEMLEASE_OOM_H

struct ml_oom;
struct ml_turn;

/* Registers with the kernel. 0 or -errno. While growing is held it does nothing. */
int ml_oom_init(struct ml_turn *t, struct ml_oom **out);
void ml_oom_exit(struct ml_oom *o);

#endif /* MEMLEASE_OOM_H */
