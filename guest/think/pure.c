// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver's decisions as pure functions; see pure.h. Compiles in the kernel
 * and in user space, so it divides by constants and 32-bit numbers only through
 * ml_div(), and includes no kernel header but types.
 */
#include "../../proto/memlease_abi.h"
#include "pure.h"

#ifdef __KERNEL__
#include <linux/math64.h>
static u64 ml_div(u64 a, u64 b) { return div64_u64(a, b); }
#else
static u64 ml_div(u64 a, u64 b) { return a / b; }
#endif

#define ML_MIB			(1ULL << 20)
#define ML_LOW_MIN_BYTES	(128 * ML_MIB)
#define ML_LOW_MAX_BYTES	(1024 * ML_MIB)
#define ML_LOW_SHARE		8	/* of all memory */
#define ML_RESERVE_MIN_BYTES	(32 * ML_MIB)
#define ML_RESERVE_MAX_BYTES	(256 * ML_MIB)
#define ML_KERNEL_MIN_BYTES	(16 * ML_MIB)
#define ML_KERNEL_MAX_BYTES	(64 * ML_MIB)
#define ML_KERNEL_SHARE		64	/* of all memory */
#define ML_AHEAD_MS		200	/* grow for what this long will take */
#define ML_LOOK_MIN_MS		4
#define ML_LOOK_MAX_MS		500
#define ML_RATE_MIN_US		20000
#define ML_SUDDEN_BYTES_S	(512ULL << 20)
#define ML_USEC_PER_SEC		1000000ULL

static u64 ml_min(u64 a, u64 b) { return a < b ? a : b; }
static u64 ml_max(u64 a, u64 b) { return a > b ? a : b; }

static u64 ml_clamp(u64 v, u64 lo, u64 hi)
{
	return ml_min(ml_max(v, lo), hi);
}

/* Add the slots wholly inside [start, end) of a region that begins at base. */
static u32 ml_span_push(struct ml_span *spans, u32 n, u32 region, u64 base, u64 start, u64 end)
{
	struct ml_span *last = n ? &spans[n - 1] : NULL;
	u64 first, stop;

	if (start >= end)
		return n;
	first = (start - base + MEMLEASE_BLOCK_BYTES - 1) >> MEMLEASE_BLOCK_SHIFT;
	stop = (end - base) >> MEMLEASE_BLOCK_SHIFT;
	if (first >= stop)
		return n;

	if (last && last->region == region && last->first + last->count == first) {
		last->count += stop - first;
		return n;
	}
	if (last && last->region == region && stop == last->first) {
		last->first = first;
		last->count += stop - first;
		return n;
	}
	spans[n] = (struct ml_span){ .region = region, .count = stop - first, .first = first };
	return n + 1;
}

u32 ml_spans_add(const struct ml_layout *layout, struct ml_span *spans, u32 n, u64 addr, u64 bytes)
{
	u64 end = addr + bytes;
	u64 window_end = layout->window_addr + layout->window_bytes;

	if (end < addr)
		return n;
	n = ml_span_push(spans, n, MEMLEASE_REGION_BOOT, 0, addr,
			 ml_min(end, layout->window_addr));
	return ml_span_push(spans, n, MEMLEASE_REGION_WINDOW, layout->window_addr,
			    ml_max(addr, layout->window_addr), ml_min(end, window_end));
}

static bool ml_span_before(const struct ml_span *a, const struct ml_span *b)
{
	return a->region != b->region ? a->region < b->region : a->first < b->first;
}

u32 ml_spans_join(struct ml_span *spans, u32 n)
{
	u32 i, j, out = 0;

	/* Insertion sort: n is at most some dozens, and often sorted already. */
	for (i = 1; i < n; i++) {
		struct ml_span span = spans[i];

		for (j = i; j > 0 && ml_span_before(&span, &spans[j - 1]); j--)
			spans[j] = spans[j - 1];
		spans[j] = span;
	}
	for (i = 0; i < n; i++) {
		struct ml_span *last = out ? &spans[out - 1] : NULL;

		if (last && last->region == spans[i].region &&
		    last->first + last->count == spans[i].first)
			last->count += spans[i].count;
		else
			spans[out++] = spans[i];
	}
	return out;
}

u32 ml_trim_window(const struct ml_layout *layout, u64 usable_first, u64 usable_last,
		   u64 mb_bytes, u64 *addr)
{
	u64 mask = mb_bytes - 1;
	u64 start = ml_max(layout->window_addr, usable_first);
	u64 end = layout->window_addr + layout->window_bytes;
	u64 count;

	if (end < layout->window_addr || usable_last < usable_first)
		return 0;
	if (end - 1 > usable_last)	/* usable_last + 1 may be 2^64 */
		end = usable_last + 1;
	if (start + mask < start)
		return 0;
	start = (start + mask) & ~mask;
	end &= ~mask;
	if (start >= end)
		return 0;
	count = ml_div(end - start, mb_bytes);
	*addr = start;
	return ml_min(count, 0xffffffffULL);
}

struct ml_marks ml_marks_of(u64 total_bytes, u64 low_bytes, u64 mb_bytes)
{
	struct ml_marks marks;

	if (low_bytes)
		marks.low = low_bytes;
	else
		marks.low = ml_clamp(total_bytes / ML_LOW_SHARE, ML_LOW_MIN_BYTES,
				     ML_LOW_MAX_BYTES);
	/* Half a mark more, so that a guest at the mark does not grow at each look. */
	marks.high = marks.low + marks.low / 2;
	marks.reserve = ml_clamp(marks.low / 4, ML_RESERVE_MIN_BYTES, ML_RESERVE_MAX_BYTES);
	/* Whatever the user's mark: page arrays and page tables come from there. */
	marks.kernel = ml_clamp(total_bytes / ML_KERNEL_SHARE, ML_KERNEL_MIN_BYTES,
				ML_KERNEL_MAX_BYTES);
	/* Memory blocks may be small against the mark: then less will do. */
	marks.high = ml_min(marks.high, marks.low + 4 * mb_bytes);
	return marks;
}

u32 ml_room(u64 limit, u64 target, u64 committed, u32 slots_per_mb, u32 vacant, bool urgent)
{
	u64 most = urgent ? limit : ml_min(limit, target);

	if (!slots_per_mb || committed >= most)
		return 0;
	return ml_min(ml_div(most - committed, slots_per_mb), vacant);
}

u32 ml_grow_want(const struct ml_need *need, const struct ml_marks *marks)
{
	u64 ahead = ml_div(need->rate * ML_AHEAD_MS, 1000);
	u64 wanted = marks->high + ahead;
	u64 most = ml_min(need->room, need->step);
	u64 count;

	if (!most)
		return 0;
	if (!need->urgent && need->available >= marks->low + ahead)
		return 0;
	if (need->available >= wanted)
		return 1;
	count = ml_div(wanted - need->available + need->mb_bytes - 1, need->mb_bytes);
	return ml_clamp(count, 1, most);
}

u64 ml_rate(u64 old_rate, u64 before, u64 now, u64 added, u64 elapsed_us)
{
	u64 had = before + added;
	u64 rate = 0;

	/* Over a very short time any allocation looks fast. */
	if (had > now)
		rate = ml_div((had - now) * ML_USEC_PER_SEC,
			      ml_max(elapsed_us, ML_RATE_MIN_US));
	return ml_max(rate, old_rate / 2);
}

bool ml_rate_sudden(u64 old_rate, u64 rate, u64 available, u64 low)
{
	return available >= low && rate > old_rate + ML_SUDDEN_BYTES_S;
}

u32 ml_look_ms(u64 available, u64 low, u64 rate)
{
	u64 left_ms;

	if (!rate)
		return ML_LOOK_MAX_MS;
	if (available <= low)
		return ML_LOOK_MIN_MS;
	left_ms = ml_div((available - low) * 1000, rate);
	return ml_clamp(left_ms / 2, ML_LOOK_MIN_MS, ML_LOOK_MAX_MS);
}

bool ml_may_shrink(u64 available, u64 mb_bytes, u64 reserve)
{
	return available >= mb_bytes && available - mb_bytes >= reserve;
}

u32 ml_backoff_ms(u32 prev_ms, u32 first_ms, u32 max_ms)
{
	if (!prev_ms)
		return first_ms;
	return ml_min((u64)prev_ms * 2, max_ms);
}

u32 ml_pace_us(u64 took_ns)
{
	return ml_min(ml_div(took_ns, 1000) * ML_PACE_TIMES, ML_PACE_MAX_US);
}

const char *ml_reason_text(u32 reason)
{
	switch (reason) {
	case MEMLEASE_WHY_OK:		return "none";
	case MEMLEASE_WHY_LIMIT:	return "limit: this VM is at its limit";
	case MEMLEASE_WHY_TARGET:	return "target: the host wants this VM smaller";
	case MEMLEASE_WHY_POOL:		return "pool: the host sells no more at present";
	case MEMLEASE_WHY_RETIRED:	return "retired: the slot had a memory error";
	case MEMLEASE_WHY_RATE:		return "rate: too many requests";
	case MEMLEASE_WHY_WITHDRAWN:	return "withdrawn: the host gave no answer, and was not waited for";
	}
	return "unknown: a reason this driver does not know";
}

const char *ml_broken_text(u32 broken)
{
	switch (broken) {
	case MEMLEASE_BROKEN_NOT:	return "no reason given";
	case MEMLEASE_BROKEN_RING:	return "a ring or descriptor chain was malformed";
	case MEMLEASE_BROKEN_LENGTH:	return "a request or response had a wrong length";
	case MEMLEASE_BROKEN_TYPE:	return "a request had a type that was not negotiated";
	case MEMLEASE_BROKEN_COUNT:	return "a request had too many or empty extents";
	case MEMLEASE_BROKEN_RANGE:	return "an extent lay outside its region";
	case MEMLEASE_BROKEN_OVERLAP:	return "two extents of a request overlapped";
	case MEMLEASE_BROKEN_ORDER:	return "a slot was reported that was not committed";
	case MEMLEASE_BROKEN_BUSY:	return "a slot was reported that holds a ring";
	case MEMLEASE_BROKEN_TOUCH:	return "a vacant slot was touched";
	}
	return "a reason this driver does not know";
}

const char *ml_reporting_text(u32 reporting)
{
	switch (reporting) {
	case MEMLEASE_REPORTING_ON:		return "on";
	case MEMLEASE_REPORTING_TAKEN:		return "off: another driver reports";
	case MEMLEASE_REPORTING_POISONED:	return "off: page poisoning is on";
	}
	return "off";
}

const char *ml_target_state_text(u32 state)
{
	switch (state) {
	case MEMLEASE_TARGET_NONE:	return "none";
	case MEMLEASE_TARGET_WORKING:	return "working";
	case MEMLEASE_TARGET_MET:	return "met";
	case MEMLEASE_TARGET_PARTLY:	return "partly";
	}
	return "unknown";
}
