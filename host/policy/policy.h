/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decisions: what to grant, whom to serve, whom to ask, whom to admit. Pure
 * functions of snapshots that lend/ takes; nothing here keeps state, reads a
 * clock or moves a block. Counts are blocks; boot memory is included unless a
 * name says window.
 *
 * The guarantee rule, which everything here keeps: the pool's free blocks are
 * never fewer than the sum of what VMs still lack of their guarantees
 * (unfilled). So a VM below its guarantee always finds a block, and only the
 * others ever wait.
 *
 * The last blocks (policy_kept) go to each VM in equal parts: a VM whose every
 * vCPU waited for a block could free none, and were it so with all VMs, nothing
 * would ever be free again. So who fills the pool stops a little before its end,
 * and the others can go on as far as giving back. Where blocks are offered to
 * whoever touches first, neither the last blocks nor what guarantees reserve are
 * among them (policy_offer): of those nobody has one but by policy_touch().
 */
#ifndef ML_POLICY_POLICY_H
#define ML_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../proto/memlease_abi.h"
#include "../base/why.h"

#define POLICY_KEPT_MOST 64			/* blocks */
#define POLICY_KEPT_PART 32			/* of the pool, where that is less */
#define POLICY_ASK_INTERVAL_NS 1000000000ULL	/* between two REPORT_NOW to one VM */

struct policy_pool {
	uint64_t blocks;	/* that can be lent: without retired ones */
	uint64_t free;		/* without those that are offered */
	uint64_t offered;	/* free, and out of our hands: who touches first has them */
	uint64_t committed;	/* sum over VMs */
	uint64_t guarantee;	/* sum over VMs */
	uint64_t unfilled;	/* sum over VMs of guarantee less resident, where positive */
	uint64_t waiting;	/* touches that wait for memory, all VMs; not only for it to be zeroed */
	uint64_t vms;
	uint32_t overbook_percent;	/* most sum of commitments, in percent; 0: no bound */
};

struct policy_vm {
	uint64_t boot, limit, guarantee;
	uint64_t window_committed, committed, resident;
	uint64_t window_target;		/* MEMLEASE_NO_TARGET: none */
	uint64_t oldest_wait_ns;	/* boot time at which its oldest waiting touch began */
	uint64_t waiting;		/* touches */
	uint64_t asked_ns;		/* boot time of its last REPORT_NOW, 0: never */
	uint64_t kept_taken;		/* of the last blocks, since there were more */
	bool connected;
};

struct policy_grant {
	uint64_t blocks;		/* at most what was wanted */
	enum memlease_reason reason;	/* why not all; MEMLEASE_WHY_OK if all */
};

/*
 * How many more window slots may this VM commit, of those it wants? The limit
 * binds always. The target is a wish: a guest above it that asks all the same is
 * about to kill a program, and is refused only while others wait for blocks.
 */
struct policy_grant policy_grant(const struct policy_pool *pool, const struct policy_vm *vm,
				 uint64_t want);

/* How many blocks of what no guarantee reserves are the last ones. */
uint64_t policy_kept(const struct policy_pool *pool);

/* Would the next block for a VM that is not below its guarantee be one of the last? */
bool policy_at_last(const struct policy_pool *pool);

/* How many of the free blocks, offered ones included, may be offered. */
uint64_t policy_offer(const struct policy_pool *pool);

/*
 * May a touch of this VM have a block now? If not it waits. A VM that is not below its
 * guarantee has an offered one, where there are any.
 */
bool policy_touch(const struct policy_pool *pool, const struct policy_vm *vm);

/*
 * Whose touch is served next, of VMs some of which wait: its index, or -1 if none
 * may be served now. Those below their guarantee first, then who waits longest.
 */
int policy_next_waiter(const struct policy_pool *pool, const struct policy_vm *vms, size_t count);

/* Touches wait: ask this VM for its free blocks now? */
bool policy_ask(const struct policy_vm *vm, uint64_t now_ns);

/*
 * May a guarantee grow from `from` to `to`, of a VM with so many blocks resident?
 * (0, resident 0: a new VM.) 0, or -ENOSPC with a sentence in *why.
 */
int policy_guarantee(const struct policy_pool *pool, uint64_t from, uint64_t to,
		     uint64_t resident, struct ml_why *why);

/*
 * May a VM with this boot memory and guarantee come in? Boot memory is committed
 * from the start, so it counts against the bound on commitments. As above.
 */
int policy_admit(const struct policy_pool *pool, uint64_t boot, uint64_t guarantee,
		 struct ml_why *why);

/* What a VM lacks of its guarantee. */
static inline uint64_t policy_unfilled(uint64_t guarantee, uint64_t resident)
{
	return guarantee > resident ? guarantee - resident : 0;
}

#endif /* ML_POLICY_POLICY_H */
