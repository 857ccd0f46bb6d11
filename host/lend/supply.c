// SPDX-License-Identifier: GPL-2.0-or-later
/* The supply of a source that serves touches; see supply.h. */
#include "supply.h"

#include <errno.h>
#include <stdlib.h>

#include "account.h"
#include "clean.h"

#define SUPPLY_LEAST 64		/* blocks: 128 MiB that can be touched while no daemon runs */
#define SUPPLY_POOL_SHARE 16	/* of a small pool only so much */
#define SUPPLY_MOST_SHARE 8	/* and of any pool no more than this */
#define SUPPLY_BATCH 256

struct supply {
	uint32_t want;		/* blocks that it shall hold, if they can be had */
	bool filled;		/* it has held about as many since `want` changed */
	uint32_t taken;		/* since the last tick */
};

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

int supply_init(struct lender *l)
{
	if (!l->backend->ops->supply)
		return 0;
	l->supply = calloc(1, sizeof(*l->supply));
	if (!l->supply)
		return -ENOMEM;
	l->supply->want = least(l);
	return 0;
}

void supply_free(struct lender *l)
{
	free(l->supply);
	l->supply = NULL;
}

uint32_t supply_want(const struct lender *l)
{
	return l->supply ? l->supply->want : 0;
}

/* What guarantees and the last blocks leave. */
static uint32_t allowed(const struct lender *l)
{
	struct policy_pool pool;
	uint64_t over;

	account_pool(l, &pool);
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
		account_ample(l);
	}
}

void supply_fill(struct lender *l)
{
	uint32_t level, offered, over, want;

	if (!l->supply)
		return;
	level = l->backend->ops->supply_level(l->backend);
	if (level < l->supply->want / 4 && l->supply->filled) {
		l->supply->want = 2 * l->supply->want < most(l) ? 2 * l->supply->want : most(l);
		l->supply->filled = false;
	}
	/* Those that were taken a moment ago are offered still. */
	offered = table_count(&l->pool.table, BLOCK_OFFERED);
	over = allowed(l);
	want = l->supply->want < over ? l->supply->want : over;
	if (offered > over)
		withdraw(l, offered - over);
	else if (!l->waiting && level < want - want / 4 && offered < want)
		put(l, want - offered);
	l->supply->filled |= l->backend->ops->supply_level(l->backend) >= l->supply->want / 2;
	clean_kick(l);
}

void supply_withdraw(struct lender *l)
{
	if (l->supply)
		withdraw(l, l->backend->supply_most);
}

uint32_t supply_get(struct lender *l, struct block_owner owner)
{
	uint32_t block;

	if (!l->supply || !l->backend->ops->unsupply(l->backend, &block, 1))
		return POOL_NO_BLOCK;
	return pool_taken(pool_self(&l->pool), block, owner) < 0 ? POOL_NO_BLOCK : block;
}

void supply_was_taken(struct lender *l)
{
	l->supply->taken++;
}

void supply_tick(struct lender *l)
{
	if (!l->supply)
		return;
	if (l->supply->taken < l->supply->want / 8 && l->supply->want / 2 >= least(l))
		l->supply->want /= 2;
	l->supply->taken = 0;
	if (l->backend->ops->supply_level(l->backend) > l->supply->want)
		withdraw(l, l->backend->ops->supply_level(l->backend) - l->supply->want);
}
