// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decisions about page cache as pure functions; see cold.h. Compiles in the kernel
 * and in user space.
 */
#include "cold.h"

#define ML_COLD_MIB		(1ULL << 20)
#define ML_COLD_QUIET_MS	5000
#define ML_COLD_NOISE_BYTES	(1 * ML_COLD_MIB)	/* what an idle guest reads */
#define ML_COLD_RATE_BYTES_S	(4 * ML_COLD_MIB)
#define ML_COLD_LEAST_BYTES	(8 * ML_COLD_MIB)	/* less is not worth it */
#define ML_COLD_STEP_BYTES	(32 * ML_COLD_MIB)
#define ML_COLD_SHARE		4			/* of what is unused, at a look */
#define ML_COLD_MISTAKE_MS	30000			/* "soon after" */
#define ML_COLD_MISTAKE_BYTES	(4 * ML_COLD_MIB)
#define ML_COLD_PAUSE_MS	60000
#define ML_COLD_PAUSE_MAX_MS	3600000
#define ML_COLD_BOOST_MIN	64			/* pages */

static u64 ml_cold_min(u64 a, u64 b) { return a < b ? a : b; }
static u64 ml_cold_max(u64 a, u64 b) { return a > b ? a : b; }

/* Was the last trim a mistake? Then leave the cache alone, longer each time. */
static void ml_cold_judge(struct ml_cold *cold, const struct ml_cold_look *look)
{
	if (!cold->trimmed_ms)
		return;
	if (look->now_ms - cold->trimmed_ms > ML_COLD_MISTAKE_MS) {
		cold->trimmed_ms = 0;
		cold->pause_ms = 0;
	} else if (look->again - cold->again >= ML_COLD_MISTAKE_BYTES) {
		cold->pause_ms = ml_backoff_ms(cold->pause_ms, ML_COLD_PAUSE_MS,
					       ML_COLD_PAUSE_MAX_MS);
		cold->not_before_ms = look->now_ms + cold->pause_ms;
		cold->trimmed_ms = 0;
	}
}

static bool ml_cold_quiet(const struct ml_cold *cold, const struct ml_cold_look *look)
{
	return look->file <= cold->file + ML_COLD_NOISE_BYTES &&
	       look->again - cold->again < ML_COLD_NOISE_BYTES &&
	       look->rate < ML_COLD_RATE_BYTES_S;
}

u64 ml_cold_want(struct ml_cold *cold, const struct ml_cold_look *look)
{
	u64 want;

	if (!cold->seen || !ml_cold_quiet(cold, look))
		cold->quiet_since_ms = look->now_ms;
	if (cold->seen)
		ml_cold_judge(cold, look);
	cold->seen = true;
	cold->file = look->file;
	cold->again = look->again;
	if (look->now_ms - cold->quiet_since_ms < ML_COLD_QUIET_MS ||
	    look->now_ms < cold->not_before_ms || look->unused < ML_COLD_LEAST_BYTES)
		return 0;
	want = ml_cold_max(look->unused / ML_COLD_SHARE, ML_COLD_STEP_BYTES);
	cold->trimmed_ms = look->now_ms;
	return ml_cold_min(want, look->unused);
}

u64 ml_cold_for_move(u64 moving, u64 free, u64 margin, u64 unused)
{
	u64 need = moving + margin;

	return need > free ? ml_cold_min(need - free, unused) : 0;
}

u64 ml_cold_boost(u64 want, u64 free, u64 high)
{
	u64 spare = free > high ? (free - high) / 2 : 0;
	u64 boost = ml_cold_min(want, spare);

	return boost >= ML_COLD_BOOST_MIN ? boost : 0;
}

u64 ml_cold_boost_firm(u64 want, u64 free, u64 min, u64 high)
{
	u64 gap = high > min ? (high - min) / 2 : 0;

	if (free < high)	/* out of balance as it is */
		return 0;
	return free - high + ml_cold_min(want, gap);
}
