// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What growing is for, as pure functions; see need.h. Compiles in the kernel and in
 * user space, and so divides 64-bit numbers through ml_need_div() only.
 */
#include "need.h"

#ifdef __KERNEL__
#include <linux/math64.h>
static u64 ml_need_div(u64 a, u64 b) { return div64_u64(a, b); }
#else
static u64 ml_need_div(u64 a, u64 b) { return a / b; }
#endif

#define ML_NEED_MIB		(1ULL << 20)
#define ML_NEED_US_PER_S	1000000ULL
#define ML_LOW_PER_CPU_BYTES	(64 * ML_NEED_MIB)	/* what one CPU takes before a block is added */
#define ML_LOW_CPUS_MAX_BYTES	(1024 * ML_NEED_MIB)
#define ML_STOCK_MIN_BYTES	(64 * ML_NEED_MIB)
#define ML_STOCK_MAX_BYTES	(256 * ML_NEED_MIB)
#define ML_STOCK_SHARE		4			/* of the low mark */
#define ML_STOCK_AHEAD_MS	200
#define ML_STOCK_MOVED_BYTES	(256 * 1024ULL)
#define ML_RATE_LEAST_US	20000			/* in less time any use looks fast */
#define ML_CACHE_BORNE_BYTES_S	(4 * ML_NEED_MIB)
#define ML_CACHE_CREDIT_BLOCKS	4
#define ML_KERNEL_AHEAD_MS	200
#define ML_KERNEL_KEEP_MARKS	4
#define ML_KERNEL_AFTER_MARKS	2			/* to the kernel, when a block was emptied */
#define ML_MOVABLE_PLENTY_BYTES	(32 * ML_NEED_MIB)
#define ML_MOVE_MARGIN_BYTES	(16 * ML_NEED_MIB)

static u64 ml_least(u64 a, u64 b) { return a < b ? a : b; }
static u64 ml_most(u64 a, u64 b) { return a > b ? a : b; }

const char *ml_for_text(enum ml_reason_grow what)
{
	switch (what) {
	case ML_FOR_AVAILABLE:	return "available";
	case ML_FOR_STOCK:	return "stock";
	case ML_FOR_CACHE:	return "cache";
	case ML_FOR_KERNEL:	return "kernel";
	case ML_FOR_OOM:	return "oom";
	case ML_FOR_COUNT:
		break;
	}
	return "unknown";
}

struct ml_marks ml_marks_on(struct ml_marks marks, u64 total_bytes, u32 cpus, u64 mb_bytes)
{
	u64 least = ml_least(cpus * ML_LOW_PER_CPU_BYTES,
			     ml_least(total_bytes, ML_LOW_CPUS_MAX_BYTES));

	if (marks.low < least) {
		marks.low = least;
		marks.high = least + ml_least(least / 2, 4 * mb_bytes);
	}
	return marks;
}

u64 ml_for_programs(const struct ml_marks *marks, u64 available, u64 kernel_available)
{
	u64 keep = ml_least(kernel_available, ML_KERNEL_KEEP_MARKS * marks->kernel);

	return available > keep ? available - keep : 0;
}

u64 ml_stock_mark(const struct ml_marks *marks)
{
	return ml_least(ml_most(marks->low / ML_STOCK_SHARE, ML_STOCK_MIN_BYTES),
			ML_STOCK_MAX_BYTES);
}

u64 ml_stock_have(const struct ml_stock *stock)
{
	return stock->large + (stock->cache - stock->least);
}

void ml_stock_look(struct ml_stock *stock, u64 large, u64 cache, u64 added, u64 elapsed_us)
{
	u64 had = ml_stock_have(stock) + added, have;

	stock->large = large;
	stock->cache = cache;
	stock->least = ml_least(stock->least, cache);
	have = ml_stock_have(stock);
	stock->rate /= 2;
	if (had > have)
		stock->rate = ml_most(stock->rate,
				      ml_need_div((had - have) * ML_NEED_US_PER_S,
						  ml_most(elapsed_us, ML_RATE_LEAST_US)));
}

bool ml_stock_missed(struct ml_stock *stock, u64 mark, u64 moved)
{
	if (stock->large >= mark / 4 || stock->cache == stock->least || moved >= ML_STOCK_MOVED_BYTES)
		return false;
	stock->least = stock->cache;
	return true;
}

u32 ml_stock_want(const struct ml_stock *stock, u64 mark, u64 mb_bytes, u32 most)
{
	u64 have = ml_stock_have(stock);
	u64 wanted = mark + ml_need_div(stock->rate * ML_STOCK_AHEAD_MS, 1000);

	if (have >= wanted || !most)
		return 0;
	return ml_least(ml_need_div(wanted - have + mb_bytes - 1, mb_bytes), most);
}

bool ml_stock_vain(u64 added, u64 available_before, u64 available, u64 have_before, u64 have)
{
	return available >= available_before + added / 2 && have < have_before + added / 4;
}

u64 ml_cache_credit(u64 credit, u64 again, u64 *stolen, u64 free, u64 elapsed_us, u64 mb_bytes)
{
	u64 borne = ml_need_div(ML_CACHE_BORNE_BYTES_S * ml_least(elapsed_us, 100 * ML_NEED_US_PER_S),
				ML_NEED_US_PER_S);

	*stolen = ml_least(*stolen, ML_CACHE_CREDIT_BLOCKS * mb_bytes);
	again = ml_least(again, *stolen);
	*stolen -= again;
	if (free >= mb_bytes)
		again = 0;
	credit += again;
	credit -= ml_least(credit, borne);
	return ml_least(credit, ML_CACHE_CREDIT_BLOCKS * mb_bytes);
}

bool ml_cache_wants(u64 credit, u64 mb_bytes)
{
	return credit >= mb_bytes;
}

u32 ml_kernel_want(const struct ml_marks *marks, const struct ml_kernel_have *have, bool tight,
		   u64 mb_bytes, u32 most)
{
	u64 ahead = ml_least(ml_need_div(have->rate * ML_KERNEL_AHEAD_MS, 1000), marks->kernel);
	u64 wanted = marks->kernel + ahead + have->lack, n;

	if (!tight && (have->movable_free <= ML_MOVABLE_PLENTY_BYTES || have->available >= wanted))
		return 0;
	wanted -= ml_least(wanted, have->available);
	n = ml_need_div(wanted + mb_bytes - 1, mb_bytes);
	return ml_least(ml_most(n, 1), most);
}

enum ml_lack ml_lack_of(bool kernel_tight, u64 movable_free)
{
	if (kernel_tight)
		return ML_LACKS_KERNEL;
	return movable_free <= ML_MOVABLE_PLENTY_BYTES ? ML_LACKS_MOVABLE : ML_LACKS_NOTHING;
}

const char *ml_lack_text(enum ml_lack lack)
{
	switch (lack) {
	case ML_LACKS_MOVABLE:	return "memory of programs";
	case ML_LACKS_KERNEL:	return "memory of the kernel";
	case ML_LACKS_NOTHING:
		break;
	}
	return "nothing that can be lent";
}

bool ml_kernel_plenty(const struct ml_marks *marks, u64 kernel_available, u64 mb_bytes)
{
	/* Without the block it must still have twice the mark, so as not to be short at once. */
	return kernel_available >= mb_bytes + 2 * marks->kernel;
}

bool ml_may_convert(u64 movable_available, u64 used, u64 mb_bytes, u64 reserve)
{
	u64 room = mb_bytes + ml_most(reserve / 2, ML_MOVE_MARGIN_BYTES);

	/* Free pages inside the block are no room for its own pages in use. */
	return used <= mb_bytes && movable_available >= room;
}

bool ml_may_move(u64 used, u64 movable_free, u64 kernel_available, const struct ml_marks *marks)
{
	return used <= movable_free ||
	       kernel_available >= used - movable_free + ML_KERNEL_AFTER_MARKS * marks->kernel;
}

bool ml_needs_movable(u64 available, u64 large, u64 mb_bytes, const struct ml_marks *marks)
{
	return available < marks->high + mb_bytes || large < ml_stock_mark(marks) + mb_bytes;
}

u64 ml_promise_kept(const struct ml_promise *own, const struct ml_promise *parent, bool recursive)
{
	u64 claimed = ml_least(own->min, own->usage), kept = claimed;

	if (parent->children > parent->kept)
		return ml_need_div(claimed * parent->kept, parent->children);
	if (recursive && own->usage > claimed && parent->usage > parent->children)
		kept += ml_need_div((parent->kept - parent->children) * (own->usage - claimed),
				    parent->usage - parent->children);
	return ml_least(kept, own->usage);
}
