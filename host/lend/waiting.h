/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Touches that wait for a block, over all VMs: put on the queue and taken off it, metered,
 * and told of. Who is served is for serve.c to say.
 */
#ifndef ML_LEND_WAITING_H
#define ML_LEND_WAITING_H

#include "lender.h"

bool waiting_has(const struct lend_vm *vm, enum memlease_region region, uint64_t slot);
/* A slot that is COMMITTED and does not wait yet waits since then. */
void waiting_add(struct lend_vm *vm, enum memlease_region region, uint64_t slot,
		 uint64_t since_ns);
/* The VM's oldest has been served: its toucher is woken. */
void waiting_served(struct lend_vm *vm, uint64_t now_ns);
/* Those of the range wait no longer: the touchers are woken and looked at anew. */
void waiting_drop(struct lend_vm *vm, enum memlease_region region, uint64_t first,
		  uint64_t count);
/* As the VM ends: nobody is woken. */
void waiting_forget(struct lend_vm *vm);

/* Do touches wait for memory, and not only for a block to be zeroed? */
bool waiting_short(const struct lender *l);
/* Say that the pool is short, or that it is not any more, if that is news. */
void waiting_tell(struct lender *l);

#endif /* ML_LEND_WAITING_H */
