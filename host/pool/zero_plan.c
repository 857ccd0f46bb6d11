// SPDX-License-Identifier: GPL-2.0-or-later
/* How much to zero, and how fast; see zero_plan.h. Pure: no clock, no thread, no memory. */
#include "zero_plan.h"

#define NS_PER_S 1000000000ULL

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* a * b / c without overflow between, at most UINT64_MAX. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 r = (unsigned __int128)a * b / c;

	return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

void zero_bucket_init(struct zero_bucket *b, uint64_t bytes_per_s, uint64_t burst_bytes,
		      uint64_t now_ns)
{
	*b = (struct zero_bucket){
		.bytes_per_s = bytes_per_s,
		.burst_bytes = burst_bytes,
		.level_bytes = burst_bytes,
		.since_ns = now_ns,
	};
}

/* What came in since; the time that makes no whole byte yet stays. */
static void refill(struct zero_bucket *b, uint64_t now_ns)
{
	uint64_t room = b->burst_bytes - b->level_bytes, in;

	if (now_ns <= b->since_ns)
		return;
	in = mul_div(now_ns - b->since_ns, b->bytes_per_s, NS_PER_S);
	if (in >= room) {
		b->level_bytes = b->burst_bytes;
		b->since_ns = now_ns;
		return;
	}
	b->level_bytes += in;
	b->since_ns += mul_div(in, NS_PER_S, b->bytes_per_s);
}

uint64_t zero_bucket_take(struct zero_bucket *b, uint64_t bytes, uint64_t now_ns)
{
	if (!b->bytes_per_s)
		return 0;
	refill(b, now_ns);
	if (b->level_bytes < bytes)
		return mul_div(bytes - b->level_bytes, NS_PER_S, b->bytes_per_s) + 1;
	b->level_bytes -= bytes;
	return 0;
}

void zero_use_init(struct zero_use *u, uint64_t used, uint64_t now_ns)
{
	*u = (struct zero_use){ .since_ns = now_ns, .used_before = used, .peak_ns = now_ns };
}

/* Half for each whole half-life, and linear in between, which is near enough. */
static uint64_t faded(uint64_t rate, uint64_t age_ns)
{
	uint64_t halves = age_ns / ZERO_USE_HALF_NS;

	if (halves >= 64)
		return 0;
	rate >>= halves;
	return rate - mul_div(rate, age_ns % ZERO_USE_HALF_NS, 2 * ZERO_USE_HALF_NS);
}

uint64_t zero_use_note(struct zero_use *u, uint64_t used, uint64_t now_ns)
{
	uint64_t span = now_ns > u->since_ns ? now_ns - u->since_ns : 0;
	uint64_t old = faded(u->peak_blocks_per_s, now_ns > u->peak_ns ? now_ns - u->peak_ns : 0);
	uint64_t fresh;

	if (span < ZERO_USE_SAMPLE_NS)
		return old;
	fresh = used > u->used_before ? mul_div(used - u->used_before, NS_PER_S, span) : 0;
	u->used_before = used;
	u->since_ns = now_ns;
	if (fresh < old)
		return old;
	u->peak_blocks_per_s = fresh;
	u->peak_ns = now_ns;
	return fresh;
}

struct zero_plan zero_plan_make(const struct zero_bounds *bounds, const struct zero_view *view)
{
	uint64_t most = bounds->most_clean, ready = (uint64_t)view->clean + view->zeroing;
	uint64_t ahead = mul_div(view->use_blocks_per_s, bounds->horizon_ms, 1000);
	struct zero_plan plan = { 0 };
	uint64_t goal;

	/* high is what use asks for; half of it is left when work begins again. */
	plan.high = (uint32_t)min_u64(most, ahead > bounds->least_clean ? ahead : bounds->least_clean);
	plan.low = plan.high / 2 + plan.high % 2;
	goal = view->working || view->clean < plan.low ? plan.high : 0;
	/* A touch that waits takes the first clean block; most_clean bounds the blocks kept, not these. */
	goal = goal + view->waiting;
	plan.want = goal > ready ? (uint32_t)min_u64(goal - ready, view->dirty) : 0;
	plan.work = plan.want > 0 || (goal > view->clean && view->zeroing > 0);
	plan.urgent = view->waiting && view->clean < (uint64_t)view->waiting + plan.low;
	return plan;
}
