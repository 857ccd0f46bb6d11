/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeroing in the background: threads that take dirty blocks, have an engine zero them,
 * and hand them on as clean. As many are kept clean as the use of late asks for
 * (zero_plan.h). Made by the owner of a pool whose backend does not zero by itself, which
 * says by a struct zero_source where blocks come from and where they go.
 *
 * The threads run at idle priority (SCHED_IDLE) and in bounded bandwidth, so that zeroing
 * costs VMs nothing while nobody needs it. While a touch waits for a clean block, neither
 * holds. Because a thread of idle priority can be off the CPU for long, whatever others
 * call here takes no lock and waits for nothing, and source's functions must be
 * lock-free against the event loop as well.
 *
 * A block is in one hand at any time: take() gives it to the workers, and exactly one of
 * clean(), undo() and bad() takes it back. If the process dies between, the block is
 * ZEROING in the table, and recovery makes it DIRTY.
 */
#ifndef ML_POOL_ZERO_H
#define ML_POOL_ZERO_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/clock.h"
#include "zero_engine.h"
#include "zero_plan.h"
#include "zero_source.h"

#define ZERO_THREADS_MAX 16

struct zero;

struct zero_config {
	struct zero_source source;
	const struct zero_engine *engine;	/* NULL: zero_cpu_engine() */
	uint64_t block_bytes;
	unsigned int threads;			/* 1 to ZERO_THREADS_MAX; 0: one */
	uint64_t bytes_per_s;			/* bound of all threads together; 0: none */
	struct zero_bounds bounds;		/* all 0: the defaults below */
	const struct ml_clock *clock;
};

#define ZERO_LEAST_CLEAN 64		/* blocks: 128 MiB */
#define ZERO_HORIZON_MS 2000
#define ZERO_BYTES_PER_S (4ULL << 30)	/* default of the options: a few percent of a server's */

/*
 * Start the threads, with signals blocked; after the process has given up its rights.
 * -EINVAL: config; else the engine's or the system's; logged. Without the right to come
 * back from idle priority (ml_priority_can_return()) they stay at ordinary priority.
 */
int zero_start(struct zero **out, const struct zero_config *config);

/*
 * Take no more blocks, finish those in hand, end the threads, free. NULL is fine. Waits for
 * the engine: at most for what is in flight, at ordinary priority.
 */
void zero_stop(struct zero *z);

/*
 * Clean blocks were handed out, or blocks became dirty: look whether there is work. Cheap:
 * two loads and source.counts(). From any thread; to be called at least once per turn of a
 * loop that did either, and about once a second.
 */
void zero_kick(struct zero *z);

/*
 * So many touches wait for a clean block now: 0 or more, not a difference. Call it at each
 * change, from one thread.
 */
void zero_waiting(struct zero *z, uint32_t touches);

/* A snapshot, each number for itself. Sums are since zero_start(). */
struct zero_stats {
	const char *engine;		/* its name */
	uint64_t bound_bytes_per_s;	/* 0: none */
	uint32_t clean, dirty, zeroing;	/* blocks now */
	uint32_t low, high;		/* what is aimed at now */
	uint32_t backlog;		/* dirty blocks that are needed to come to high */
	uint32_t waiting;		/* touches that wait now */
	bool urgent;			/* the bound does not hold now */
	uint64_t zeroed_blocks;
	uint64_t undone_blocks;		/* given back dirty: the engine failed */
	uint64_t bad_blocks;
	uint64_t bytes_per_s;		/* zeroed in the second before last look, or so */
	uint64_t use_blocks_per_s;
	uint64_t busy_ns;		/* spent zeroing, over all threads */
	uint64_t throttled_ns;		/* spent waiting for the bound, over all threads */
	uint64_t waits;			/* times that waiting began */
	uint64_t wait_ns;		/* in which a touch waited, including a wait under way */
	uint64_t longest_wait_ns;
};

void zero_stats(struct zero *z, struct zero_stats *out);

#endif /* ML_POOL_ZERO_H */
