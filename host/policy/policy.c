// SPDX-License-Identifier: GPL-2.0-or-later
/* Decisions; see policy.h. Pure functions only. */
#include "policy.h"

#include <errno.h>
#include <stdio.h>

#include "../base/size.h"
#include "../base/wide.h"

static uint64_t room(uint64_t bound, uint64_t used)
{
	return bound > used ? bound - used : 0;
}

/* How much the pool's bound on commitments leaves; a VM's guarantee is always left to it. */
static uint64_t pool_room(const struct policy_pool *pool, const struct policy_vm *vm)
{
	uint64_t own = room(vm->guarantee, vm->committed), left;

	if (!pool->overbook_percent)
		return UINT64_MAX;
	left = room(ml_clamp64((ml_u128)pool->blocks * pool->overbook_percent / 100),
		    pool->committed);
	return left > own ? left : own;
}

struct policy_grant policy_grant(const struct policy_pool *pool, const struct policy_vm *vm,
				 uint64_t want)
{
	struct policy_grant g = { .blocks = want, .reason = MEMLEASE_WHY_OK };
	uint64_t left;

	left = room(room(vm->limit, vm->boot), vm->window_committed);
	if (left < g.blocks)
		g = (struct policy_grant){ left, MEMLEASE_WHY_LIMIT };
	if (vm->window_target != MEMLEASE_NO_TARGET && pool->waiting) {
		left = room(vm->window_target, vm->window_committed);
		if (left < g.blocks)
			g = (struct policy_grant){ left, MEMLEASE_WHY_TARGET };
	}
	left = pool_room(pool, vm);
	if (left < g.blocks)
		g = (struct policy_grant){ left, MEMLEASE_WHY_POOL };
	return g;
}

uint64_t policy_kept(const struct policy_pool *pool)
{
	uint64_t part = pool->blocks / POLICY_KEPT_PART;

	return part < POLICY_KEPT_MOST ? part : POLICY_KEPT_MOST;
}

bool policy_at_last(const struct policy_pool *pool)
{
	return policy_offer(pool) == 0;
}

uint64_t policy_offer(const struct policy_pool *pool)
{
	return room(room(pool->free + pool->offered, pool->unfilled), policy_kept(pool));
}

bool policy_touch(const struct policy_pool *pool, const struct policy_vm *vm)
{
	uint64_t kept = policy_kept(pool), share = pool->vms ? kept / pool->vms : kept;

	if (!pool->free && !pool->offered)
		return false;
	if (vm->resident < vm->guarantee || pool->offered)
		return true;
	if (pool->free <= pool->unfilled)
		return false;
	return !policy_at_last(pool) || !kept || vm->kept_taken < (share ? share : 1);
}

int policy_next_waiter(const struct policy_pool *pool, const struct policy_vm *vms, size_t count)
{
	int best = -1;

	for (size_t i = 0; i < count; i++) {
		bool own = vms[i].resident < vms[i].guarantee, best_own;

		if (!vms[i].waiting || !policy_touch(pool, &vms[i]))
			continue;
		if (best < 0) {
			best = (int)i;
			continue;
		}
		best_own = vms[best].resident < vms[best].guarantee;
		if (own != best_own ? own : vms[i].oldest_wait_ns < vms[best].oldest_wait_ns)
			best = (int)i;
	}
	return best;
}

bool policy_ask(const struct policy_vm *vm, uint64_t now_ns)
{
	/* What a VM gives back below its guarantee stays reserved for it: no use to who waits. */
	if (!vm->connected || vm->resident <= vm->guarantee)
		return false;
	return !vm->asked_ns || now_ns >= vm->asked_ns + POLICY_ASK_INTERVAL_NS;
}

int policy_guarantee(const struct policy_pool *pool, uint64_t from, uint64_t to,
		     uint64_t resident, struct ml_why *why)
{
	uint64_t others = pool->guarantee - from;
	uint64_t lack = policy_unfilled(to, resident);
	uint64_t other_lack = pool->unfilled - policy_unfilled(from, resident);
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT], c[ML_SIZE_TEXT];

	if (to <= from)
		return 0;
	if (to > pool->blocks || others > pool->blocks - to)
		return ml_refuse(why, -ENOSPC,
				 "a guarantee of %s does not fit: the pool has %s, of which %s are guaranteed to others; guarantee less, or make the pool larger",
				 ml_size_human(to * MEMLEASE_BLOCK_BYTES, a),
				 ml_size_human(pool->blocks * MEMLEASE_BLOCK_BYTES, b),
				 ml_size_human(others * MEMLEASE_BLOCK_BYTES, c));
	if (other_lack + lack > pool->free)
		return ml_refuse(why, -ENOSPC,
				 "a guarantee of %s cannot be kept now: %s of the pool are free, of which %s are reserved for others; shrink VMs that are above their guarantees (memlease set --target), then try again",
				 ml_size_human(to * MEMLEASE_BLOCK_BYTES, a),
				 ml_size_human(pool->free * MEMLEASE_BLOCK_BYTES, b),
				 ml_size_human(other_lack * MEMLEASE_BLOCK_BYTES, c));
	return 0;
}

int policy_admit(const struct policy_pool *pool, uint64_t boot, uint64_t guarantee,
		 struct ml_why *why)
{
	struct policy_vm vm = { .boot = boot, .guarantee = guarantee };
	char a[ML_SIZE_TEXT], b[ML_SIZE_TEXT];

	if (pool_room(pool, &vm) < boot)
		return ml_refuse(why, -ENOSPC,
				 "boot memory of %s does not fit: %s are committed, the bound is %u %% of the pool; end a VM, shrink one (memlease set --target), or raise the bound",
				 ml_size_human(boot * MEMLEASE_BLOCK_BYTES, a),
				 ml_size_human(pool->committed * MEMLEASE_BLOCK_BYTES, b),
				 pool->overbook_percent);
	return policy_guarantee(pool, 0, guarantee, 0, why);
}
