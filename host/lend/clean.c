// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Zeroing for a source that does not do it: the pool's dirty blocks for the workers
 * of pool/zero.c, and the event loop woken when somebody waits for a clean one.
 * What the workers call runs in their threads, and touches nothing but the pool,
 * which is safe from several threads, and a few atomic words.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/log.h"
#include "lender.h"

/* Of this thread: threads end before their lender does. */
static __thread struct pool_user *own;

static struct pool_user *user(struct lender *l)
{
	unsigned int i;

	if (own)
		return own;
	i = atomic_fetch_add(&l->clean.user_count, 1);
	if (i >= ZERO_THREADS_MAX)
		return NULL;
	own = pool_join(&l->pool, POOL_ANY_NODE);
	l->clean.users[i] = own;
	return own;
}

static uint32_t source_take(void *ctx)
{
	struct pool_user *u = user(ctx);
	uint32_t block;

	return u && pool_take_dirty(u, &block, 1) ? block : ZERO_NO_BLOCK;
}

static void source_clean(void *ctx, uint32_t block)
{
	struct lender *l = ctx;
	uint64_t one = 1;

	pool_clean(user(l), block);
	if (atomic_exchange(&l->clean.wanted, false) && write(l->clean.fd, &one, sizeof(one)) < 0)
		atomic_store(&l->clean.wanted, true);
}

static void source_undo(void *ctx, uint32_t block)
{
	pool_undo_dirty(user(ctx), block);
}

static void source_bad(void *ctx, uint32_t block, int error)
{
	struct lender *l = ctx;

	ml_warn("block %u cannot be written (%d): retired", block, error);
	pool_retire(user(l), block);
	for (size_t i = 0; i < sizeof(l->clean.bad) / sizeof(l->clean.bad[0]); i++) {
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&l->clean.bad[i], &none, block + 1))
			return;
	}
}

static void *source_address(void *ctx, uint32_t block)
{
	return (char *)((struct lender *)ctx)->backend->memory +
	       (uint64_t)block * MEMLEASE_BLOCK_BYTES;
}

static void source_counts(void *ctx, struct zero_counts *out)
{
	const struct table *t = &((struct lender *)ctx)->pool.table;

	out->clean = table_count(t, BLOCK_CLEAN) + table_count(t, BLOCK_OFFERED);
	out->dirty = table_count(t, BLOCK_DIRTY);
}

int clean_start(struct lender *l)
{
	const struct zero_config config = {
		.source = {
			.take = source_take, .clean = source_clean, .undo = source_undo,
			.bad = source_bad, .address = source_address, .counts = source_counts,
			.ctx = l,
		},
		.block_bytes = MEMLEASE_BLOCK_BYTES,
		.threads = l->config.zero_threads,
		.bytes_per_s = l->config.zero_bytes_per_s,
		/* What is offered counts as clean, and some is to be left besides. */
		.bounds = {
			.least_clean = 2 * l->supply.want > ZERO_LEAST_CLEAN ? 2 * l->supply.want
									    : ZERO_LEAST_CLEAN,
			.most_clean = UINT32_MAX,
			.horizon_ms = ZERO_HORIZON_MS,
		},
		.clock = l->config.clock,
	};

	l->clean.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->clean.fd < 0)
		return -errno;
	return zero_start(&l->clean.zero, &config);
}

void clean_stop(struct lender *l)
{
	unsigned int n = atomic_load(&l->clean.user_count);

	zero_stop(l->clean.zero);
	l->clean.zero = NULL;
	for (unsigned int i = 0; i < n && i < ZERO_THREADS_MAX; i++) {
		if (l->clean.users[i])
			pool_leave(l->clean.users[i]);
	}
	if (l->clean.fd >= 0)
		close(l->clean.fd);
	l->clean.fd = -1;
}

/* The workers hurry while touches wait. */
static void tell_waiting(struct lender *l)
{
	uint32_t waiting = l->waiting < UINT32_MAX ? (uint32_t)l->waiting : UINT32_MAX;

	if (waiting == l->clean.told)
		return;
	l->clean.told = waiting;
	zero_waiting(l->clean.zero, waiting);
}

void clean_kick(struct lender *l)
{
	if (!l->clean.zero)
		return;
	tell_waiting(l);
	zero_kick(l->clean.zero);
}

void clean_want(struct lender *l)
{
	if (!l->clean.zero)
		return;
	atomic_store(&l->clean.wanted, true);
	clean_kick(l);
}

void clean_look(struct lender *l)
{
	uint64_t count;

	if (!l->clean.zero)
		return;
	if (read(l->clean.fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		ml_warn("zeroing: its descriptor cannot be read: %m");
	for (size_t i = 0; i < sizeof(l->clean.bad) / sizeof(l->clean.bad[0]); i++) {
		uint32_t bad = atomic_exchange(&l->clean.bad[i], 0);

		/* The source must not hand it out either; of its event nothing is new. */
		if (bad && l->backend->ops->retire)
			l->backend->ops->retire(l->backend, bad - 1);
	}
	clean_kick(l);
}
