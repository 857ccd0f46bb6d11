// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decisions about page cache as pure functions; see trim.h. Compiles in the kernel
 * and in user space.
 */
#include "trim.h"

#define ML_TRIM_MIB		(1ULL << 20)
#define ML_TRIM_QUIET_MS	5000
#define ML_TRIM_NOISE_BYTES	(1 * ML_TRIM_MIB)	/* what an idle guest reads */
#define ML_TRIM_RATE_BYTES_S	(4 * ML_TRIM_MIB)
#define ML_TRIM_LEAST_BYTES	(8 * ML_TRIM_MIB)	/* less is not worth it */
#define ML_TRIM_STEP_BYTES	(32 * ML_TRIM_MIB)
#define ML_TRIM_SHARE		4			/* of what is unused, at a look */
#define ML_TRIM_MISTAKE_MS	30000			/* "soon after" */
#define ML_TRIM_MISTAKE_BYTES	(4 * ML_TRIM_MIB)
#define ML_TRIM_PAUSE_MS	60000
#define ML_TRIM_PAUSE_MAX_MS	3600000
#define ML_TRIM_BOOST_MIN	64			/* pages */

static u64 ml_trim_min(u64 a, u64 b) { return a < b ? a : b; }
static u64 ml_trim_max(u64 a, u64 b) { return a > b ? a : b; }

/* Was the last trim a mistake? Then leave the cache alone, longer each time. */
static void ml_trim_judge(struct ml_trim *trim, const struct ml_trim_look *look)
{
	if (!trim->trimmed_ms)
		return;
	if (look->now_ms - trim->trimmed_ms > ML_TRIM_MISTAKE_MS) {
		trim->trimmed_ms = 0;
		trim->pause_ms = 0;
	} else if (look->again - trim->again >= ML_TRIM_MISTAKE_BYTES) {
		trim->pause_ms = ml_backoff_ms(trim->pause_ms, ML_TRIM_PAUSE_MS,
					       ML_TRIM_PAUSE_MAX_MS);
		trim->not_before_ms = look->now_ms + trim->pause_ms;
		trim->trimmed_ms = 0;
	}
}

static bool ml_trim_quiet(const struct ml_trim *trim, const struct ml_trim_look *look)
{
	return look->file <= trim->file + ML_TRIM_NOISE_BYTES &&
	       look->again - trim->again < ML_TRIM_NOISE_BYTES &&
	       look->rate < ML_TRIM_RATE_BYTES_S;
}

u64 ml_trim_want(struct ml_trim *trim, const struct ml_trim_look *look)
{
	u64 want;

	if (!trim->seen || !ml_trim_quiet(trim, look))
		trim->quiet_since_ms = look->now_ms;
	if (trim->seen)
		ml_trim_judge(trim, look);
	trim->seen = true;
	trim->file = look->file;
	trim->again = look->again;
	if (look->now_ms - trim->quiet_since_ms < ML_TRIM_QUIET_MS ||
	    look->now_ms < trim->not_before_ms || look->unused < ML_TRIM_LEAST_BYTES)
		return 0;
	want = ml_trim_max(look->unused / ML_TRIM_SHARE, ML_TRIM_STEP_BYTES);
	trim->trimmed_ms = look->now_ms;
	return ml_trim_min(want, look->unused);
}

u64 ml_trim_for_move(u64 moving, u64 free, u64 margin, u64 unused)
{
	u64 need = moving + margin;

	return need > free ? ml_trim_min(need - free, unused) : 0;
}

u64 ml_trim_boost(u64 want, u64 free, u64 high)
{
	u64 spare = free > high ? (free - high) / 2 : 0;
	u64 boost = ml_trim_min(want, spare);

	return boost >= ML_TRIM_BOOST_MIN ? boost : 0;
}

u64 ml_trim_boost_firm(u64 want, u64 free, u64 min, u64 high)
{
	u64 gap = high > min ? (high - min) / 2 : 0;

	if (free < high)	/* out of balance as it is */
		return 0;
	return free - high + ml_trim_min(want, gap);
}
