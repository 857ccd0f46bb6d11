// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's ends of the two rings that it shares with the module; used by
 * reserved.c only. The module is trusted, but nothing here loops on what it says.
 *
 * What is in the rings outlives the daemon. A record of the touches is taken off
 * only when the next one is asked for: the caller has carried it out by then. A
 * block is written into the supply before the head that shows it, and words of
 * the block table are changed before, so that a new daemon finds every block of
 * the supply by reading it.
 */
#include "reserved_ring.h"

#include <errno.h>
#include <stddef.h>

#include "../base/step.h"

void reserved_ring_init(struct reserved_ring *r, struct reserved_device *device)
{
	*r = (struct reserved_ring){ .rings = device->rings, .device = device };
	/* A new daemon reads all slots in any case. */
	r->overflow_seen = __atomic_load_n(&r->rings->overflow, __ATOMIC_ACQUIRE);
}

static void let_go(struct reserved_ring *r)
{
	if (!r->holding)
		return;
	r->holding = false;
	ml_step("touch record");
	__atomic_store_n(&r->rings->touches_tail, r->rings->touches_tail + 1, __ATOMIC_RELEASE);
}

int reserved_ring_next(struct reserved_ring *r, struct memlease_touch *out)
{
	uint64_t overflow;
	uint32_t tail;

	let_go(r);
	tail = r->rings->touches_tail;
	if (__atomic_load_n(&r->rings->touches_head, __ATOMIC_ACQUIRE) != tail) {
		*out = r->rings->touches[tail % MEMLEASE_POOL_TOUCHES];
		r->holding = true;
		return 1;
	}
	/* Records are lost while the ring is full: those that were in it come first. */
	overflow = __atomic_load_n(&r->rings->overflow, __ATOMIC_ACQUIRE);
	if (overflow == r->overflow_seen)
		return 0;
	r->overflow_seen = overflow;
	return -EOVERFLOW;
}

/* A head behind the tail, left by a predecessor that was taking back, is an empty supply. */
static uint32_t ring_fill(uint32_t head, uint32_t tail)
{
	return head - tail <= MEMLEASE_POOL_SUPPLY ? head - tail : 0;
}

uint32_t reserved_ring_level(const struct reserved_ring *r)
{
	return ring_fill(r->rings->supply_head,
			 __atomic_load_n(&r->rings->supply_tail, __ATOMIC_ACQUIRE));
}

static int wake_waiting(struct reserved_ring *r)
{
	return r->device->ioctl(r->device, MEMLEASE_POOL_SUPPLIED, NULL);
}

int reserved_ring_put(struct reserved_ring *r, const uint32_t *blocks, uint32_t n)
{
	struct memlease_rings *rings = r->rings;
	uint32_t head = rings->supply_head;

	if (n > MEMLEASE_POOL_SUPPLY - reserved_ring_level(r))
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++)
		rings->supply[(head + i) % MEMLEASE_POOL_SUPPLY] = blocks[i];
	ml_step("supply");
	__atomic_store_n(&rings->supply_head, head + n, __ATOMIC_RELEASE);
	/* A task that waits is counted first and looks at the supply then; here it is the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* The blocks are in, even if this fails: a task that is not woken looks for itself before long. */
	if (n && __atomic_load_n(&rings->waiting, __ATOMIC_RELAXED))
		wake_waiting(r);
	return 0;
}

uint32_t reserved_ring_take_back(struct reserved_ring *r, uint32_t *blocks, uint32_t n)
{
	struct memlease_rings *rings = r->rings;
	uint32_t head = rings->supply_head, level = reserved_ring_level(r), from, tail, got;

	if (n > level)
		n = level;
	if (!n)
		return 0;
	from = head - n;
	ml_step("supply taken back");
	__atomic_store_n(&rings->supply_head, from, __ATOMIC_RELEASE);
	/* From here on the module sees the new head, and has done with the old one. */
	if (wake_waiting(r) < 0) {
		__atomic_store_n(&rings->supply_head, head, __ATOMIC_RELEASE);
		return 0;
	}
	tail = __atomic_load_n(&rings->supply_tail, __ATOMIC_ACQUIRE);
	if ((int32_t)(tail - from) > 0) {
		from = tail;
		ml_step("supply taken back");
		__atomic_store_n(&rings->supply_head, from, __ATOMIC_RELEASE);
	}
	got = head - from;
	for (uint32_t i = 0; i < got; i++)
		blocks[i] = rings->supply[(from + i) % MEMLEASE_POOL_SUPPLY];
	return got;
}

uint32_t reserved_ring_read(struct reserved_ring *r, uint32_t *blocks, uint32_t n)
{
	struct memlease_rings *rings = r->rings;
	uint32_t tail = __atomic_load_n(&rings->supply_tail, __ATOMIC_ACQUIRE);
	uint32_t level = ring_fill(rings->supply_head, tail);

	if (!level && rings->supply_head != tail)
		__atomic_store_n(&rings->supply_head, tail, __ATOMIC_RELEASE);
	if (level < n)
		n = level;
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = rings->supply[(tail + i) % MEMLEASE_POOL_SUPPLY];
	return n;
}
