/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serving touches: who gets a block, by what policy says, and whom to ask for some. */
#ifndef ML_LEND_SERVE_H
#define ML_LEND_SERVE_H

#include "../policy/policy.h"
#include "lender.h"

/* -ENOMEM. */
int serve_init(struct lender *l);
void serve_free(struct lender *l);

/*
 * A touch of a COMMITTED slot gets a block, of a pool that is so and of which policy lets
 * it have one: of what is offered, if the VM is not below its guarantee and there is any.
 * As loan_in().
 */
int serve_touch(struct lend_vm *vm, enum memlease_region region, uint64_t slot, uint64_t now_ns,
		const struct policy_pool *pool);
/*
 * Blocks may have become free: serve who waits and may be served, as many as a turn has
 * time for; DUE_SERVE says that there may be more.
 */
void serve_waiting(struct lender *l);
/* Ask the guest to report its free blocks at once. */
void serve_ask_vm(struct lend_vm *vm);
/* Touches wait for memory: ask those guests that policy says, not too often. */
void serve_ask(struct lender *l, uint64_t now_ns);

#endif /* ML_LEND_SERVE_H */
