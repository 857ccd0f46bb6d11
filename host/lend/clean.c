// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Zeroing for a source that does not do it; see clean.h. What the workers call (source_...)
 * runs in their threads, and touches nothing but the pool, which is safe from several
 * threads, and a few atomic words.
 */
#include "clean.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../proto/memlease_abi.h"
#include "../base/log.h"

#define BAD_MOST 64

struct clean {
	struct zero *zero;
	int fd;
	_Atomic bool wanted;
	uint32_t told;			/* touches that wait, as the workers know it */
	struct pool_user *users[ZERO_THREADS_MAX];
	_Atomic unsigned int user_count;
	_Atomic uint64_t bad[BAD_MOST];	/* blocks that could not be written, + 1; above that, the errno */
};

/* Of this thread: threads end before their lender does. */
static __thread struct pool_user *own;

static struct pool_user *user(struct lender *l)
{
	unsigned int i;

	if (own)
		return own;
	i = atomic_fetch_add(&l->clean->user_count, 1);
	if (i >= ZERO_THREADS_MAX)
		return NULL;
	own = pool_join(&l->pool, POOL_ANY_NODE);
	l->clean->users[i] = own;
	return own;
}

static uint32_t source_take(void *ctx)
{
	struct pool_user *u = user(ctx);
	uint32_t block;

	return u && pool_take_dirty(u, &block, 1) ? block : ZERO_NO_BLOCK;
}

static bool wake_loop(struct lender *l)
{
	uint64_t one = 1;

	return write(l->clean->fd, &one, sizeof(one)) == sizeof(one);
}

static void source_clean(void *ctx, uint32_t block)
{
	struct lender *l = ctx;

	pool_clean(user(l), block);
	if (atomic_exchange(&l->clean->wanted, false) && !wake_loop(l))
		atomic_store(&l->clean->wanted, true);
}

static void source_undo(void *ctx, uint32_t block)
{
	pool_undo_dirty(user(ctx), block);
}

/*
 * What is to become of it the event loop finds out; until then, and where too many wait for
 * that, it stays ZEROING, and nobody gets it.
 */
static void source_bad(void *ctx, uint32_t block, int error)
{
	struct lender *l = ctx;

	for (size_t i = 0; i < BAD_MOST; i++) {
		uint64_t none = 0, bad = (uint64_t)-error << 32 | (block + 1);

		if (atomic_compare_exchange_strong(&l->clean->bad[i], &none, bad)) {
			wake_loop(l);
			return;
		}
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

int clean_start(struct lender *l, uint32_t least_clean)
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
		.bounds = {
			.least_clean = least_clean,
			.most_clean = UINT32_MAX,
			.horizon_ms = ZERO_HORIZON_MS,
		},
		.clock = l->config.clock,
	};

	l->clean = calloc(1, sizeof(*l->clean));
	if (!l->clean)
		return -ENOMEM;
	l->clean->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->clean->fd < 0)
		return -errno;
	return zero_start(&l->clean->zero, &config);
}

void clean_stop(struct lender *l)
{
	struct clean *c = l->clean;
	unsigned int n;

	if (!c)
		return;
	zero_stop(c->zero);
	n = atomic_load(&c->user_count);
	for (unsigned int i = 0; i < n && i < ZERO_THREADS_MAX; i++) {
		if (c->users[i])
			pool_leave(c->users[i]);
	}
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	l->clean = NULL;
}

/* The workers hurry while touches wait. */
static void tell_waiting(struct lender *l)
{
	uint32_t waiting = l->waiting < UINT32_MAX ? (uint32_t)l->waiting : UINT32_MAX;

	if (waiting == l->clean->told)
		return;
	l->clean->told = waiting;
	zero_waiting(l->clean->zero, waiting);
}

void clean_kick(struct lender *l)
{
	if (!l->clean)
		return;
	tell_waiting(l);
	zero_kick(l->clean->zero);
}

void clean_want(struct lender *l)
{
	if (!l->clean)
		return;
	atomic_store(&l->clean->wanted, true);
	clean_kick(l);
}

/*
 * A block could not be written: its memory is broken, and the source must not hand it out
 * either; of its event nothing is new. Or the source does not let us, for it is behind a slot,
 * against all rules: then it is well, and a VM's. It stays ZEROING, and is lent to nobody else.
 */
static void give_up(struct lender *l, uint32_t block, int error)
{
	const struct backend_ops *ops = l->backend->ops;
	uint8_t state = BACKEND_UNUSED;

	if (ops->blocks && (ops->blocks(l->backend, block, 1, &state) < 0 || state == BACKEND_BEHIND)) {
		ml_err("block %u was free by the table, and is behind a slot; it was not zeroed, and is not lent any more",
		       block);
		return;
	}
	ml_warn("block %u cannot be written: %s: retired", block, strerror(error));
	pool_retire(pool_self(&l->pool), block);
	if (ops->retire)
		ops->retire(l->backend, block);
}

void clean_look(struct lender *l)
{
	uint64_t count;

	if (!l->clean)
		return;
	if (read(l->clean->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		ml_warn("zeroing: its descriptor cannot be read: %m");
	for (size_t i = 0; i < BAD_MOST; i++) {
		uint64_t bad = atomic_exchange(&l->clean->bad[i], 0);

		if (bad)
			give_up(l, (uint32_t)bad - 1, (int)(bad >> 32));
	}
	clean_kick(l);
}

int clean_fd(const struct lender *l)
{
	return l->clean ? l->clean->fd : -1;
}

bool clean_stats(const struct lender *l, struct zero_stats *out)
{
	if (!l->clean)
		return false;
	zero_stats(l->clean->zero, out);
	return true;
}
