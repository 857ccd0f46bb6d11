// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The supply: clean blocks that a source which serves touches may hand out by
 * itself. Called by the other files of lend/ only.
 *
 * How many. What is in the supply goes to whoever touches first, so it is never
 * more than policy_offer(): what is free beyond what VMs lack of their guarantees,
 * and beyond the last blocks, which are shared out. So a VM below its guarantee always
 * finds a block, and so does one whose turn at the last blocks has come; what others
 * take from the supply changes nothing for them. When it comes to the last blocks the
 * supply is empty, each touch waits for the daemon, and policy decides it. Up to
 * that it follows demand: it doubles whenever it was full and is found nearly used up,
 * and halves in each second in which little of it was used; an eighth of the pool is the
 * most, for blocks of the supply break up the GiBs that they are of. While touches wait it gets nothing:
 * they are served one by one, in the order that policy says.
 *
 * Order. All events are read before a block is put in (backend.h says why). A block
 * is OFFERED before it is in the supply, and stays so until it is seen to have left
 * it, whichever way: settle.c finds those that a crash left in neither.
 */
#include "../base/log.h"
#include "lender.h"

#define SUPPLY_LEAST 64		/* blocks: 128 MiB that can be touched while no daemon runs */
#define SUPPLY_POOL_SHARE 16	/* of a small pool only so much */
#define SUPPLY_MOST_SHARE 8	/* and of any pool no more than this */
#define SUPPLY_BATCH 256

static uint32_t least(const struct lender *l)
{
	uint64_t share = l->config.pool_blocks / SUPPLY_POOL_SHARE;

	return share < 1 ? 1 : share < SUPPLY_LEAST ? (uint32_t)share : SUPPLY_LEAST;
}

static uint32_t most(const struct lender *l)
{
	uint64_t share = l->config.pool_blocks / SUPPLY_MOST_SHARE;

	return share < least(l) ? least(l) :
	       share < l->backend->supply_most ? (uint32_t)share : l->backend->supply_most;
}

void supply_init(struct lender *l)
{
	l->supply.want = least(l);
}

/* What guarantees and the last blocks leave. */
static uint32_t allowed(const struct lender *l)
{
	struct policy_pool pool;
	uint64_t over;

	lender_snapshot(l, &pool);
	over = policy_offer(&pool);
	return over < l->backend->supply_most ? (uint32_t)over : l->backend->supply_most;
}

static void withdraw(struct lender *l, uint32_t n)
{
	uint32_t blocks[SUPPLY_BATCH];

	while (n) {
		uint32_t got = l->backend->ops->unsupply(l->backend, blocks,
							 n < SUPPLY_BATCH ? n : SUPPLY_BATCH);

		if (!got)
			return;
		for (uint32_t i = 0; i < got; i++)
			pool_unoffer(pool_self(&l->pool), blocks[i]);
		n -= got;
	}
}

static void put(struct lender *l, uint32_t n)
{
	uint32_t blocks[SUPPLY_BATCH];

	while (n) {
		uint32_t got = pool_offer(pool_self(&l->pool), blocks,
					  n < SUPPLY_BATCH ? n : SUPPLY_BATCH);

		if (!got) {
			clean_want(l);
			return;
		}
		if (l->backend->ops->supply(l->backend, blocks, got) < 0) {
			for (uint32_t i = 0; i < got; i++)
				pool_unoffer(pool_self(&l->pool), blocks[i]);
			return;
		}
		n -= got;
		wait_ample(l);
	}
}

void supply_fill(struct lender *l)
{
	uint32_t level, offered, over, want;

	if (!lend_served(l) || l->recovering)
		return;
	served_read_all(l);
	level = l->backend->ops->supply_level(l->backend);
	if (level < l->supply.want / 4 && l->supply.filled) {
		l->supply.want = 2 * l->supply.want < most(l) ? 2 * l->supply.want : most(l);
		l->supply.filled = false;
	}
	/* Those that were taken a moment ago are offered still. */
	offered = table_count(&l->pool.table, BLOCK_OFFERED);
	over = allowed(l);
	want = l->supply.want < over ? l->supply.want : over;
	if (offered > over)
		withdraw(l, offered - over);
	else if (!l->waiting && level < want - want / 4 && offered < want)
		put(l, want - offered);
	l->supply.filled |= l->backend->ops->supply_level(l->backend) >= l->supply.want / 2;
	clean_kick(l);
}

void supply_hold(struct lender *l)
{
	if (!lend_served(l))
		return;
	withdraw(l, l->backend->supply_most);
	served_read_all(l);
}

uint32_t supply_get(struct lender *l, struct block_owner owner)
{
	uint32_t block;

	if (!lend_served(l) || !l->backend->ops->unsupply(l->backend, &block, 1))
		return POOL_NO_BLOCK;
	return pool_taken(pool_self(&l->pool), block, owner) < 0 ? POOL_NO_BLOCK : block;
}

void supply_tick(struct lender *l)
{
	if (!lend_served(l))
		return;
	if (l->supply.taken < l->supply.want / 8 && l->supply.want / 2 >= least(l))
		l->supply.want /= 2;
	l->supply.taken = 0;
	if (l->backend->ops->supply_level(l->backend) > l->supply.want)
		withdraw(l, l->backend->ops->supply_level(l->backend) - l->supply.want);
}
