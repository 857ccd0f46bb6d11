/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes that map a window, and window.lock for code that will remove entries: KVM of
 * such a process may be between two looks at an entry. locks.h tells that race.
 */
#ifndef MEMLEASE_POOL_MAPPERS_H
#define MEMLEASE_POOL_MAPPERS_H

#include "window.h"

int mlp_mappers_init(void);
/* Waits for the workers that wait for the mmap lock of a process. */
void mlp_mappers_exit(void);
/* A process maps the window. -ENOMEM; -EUSERS: so do as many others as can be waited for. */
int mlp_mapper_add(struct mlp_window *w, struct mm_struct *mm);
/* One of its mappings becomes two; one goes. */
void mlp_mapper_more(struct mlp_window *w, struct mm_struct *mm);
void mlp_mapper_less(struct mlp_window *w, struct mm_struct *mm);
/*
 * Take window.lock for writing, to remove entries. Before that, faults that gave way to the
 * change before are let in; after it, the mmap lock of each process that maps the window is
 * taken once, so that no KVM is between two looks at an entry. Sleeps, some milliseconds at
 * most. False: a process kept its lock for longer, so its KVM may take a fault of a slot that
 * is changed now for an error. Who takes away what the VM uses leaves it then.
 */
bool mlp_lock_slots(struct mlp_window *w);
void mlp_unlock_slots(struct mlp_window *w);

#endif /* MEMLEASE_POOL_MAPPERS_H */
