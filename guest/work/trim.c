// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Trimming; see trim.h. Looks are two seconds apart and do not wake a processor that
 * sleeps. Without reporting, memory that becomes free is of no use to the host.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "../linux/cache.h"
#include "../linux/meminfo.h"
#include "../think/cold.h"
#include "../turn/turn.h"
#include "trim.h"

#define ML_TRIM_LOOK_MS	2000
#define ML_TRIM_WORK_MS	500	/* one trim */

struct ml_trim {
	struct ml_turn *turn;
	struct delayed_work work;
	struct ml_cold cold;	/* the worker's */
	bool off;		/* the user's */
	atomic64_t bytes;
};

static void ml_trim_work(struct work_struct *work)
{
	struct ml_trim *trim = container_of(to_delayed_work(work), struct ml_trim, work);
	struct ml_turn *t = trim->turn;
	struct ml_cold_look look = {
		.now_ms = ktime_to_ms(ktime_get_boottime()),
		.file = ml_cache_held_bytes(),
		.unused = ml_cache_unused_bytes(),
		.again = ml_read_again_bytes(),
		.rate = READ_ONCE(t->board->rate),
	};
	u64 want;

	if (READ_ONCE(t->held))
		return;
	want = ml_cold_want(&trim->cold, &look);
	if (want && !READ_ONCE(trim->off) && ml_board_reports(t->board)) {
		atomic64_add(ml_cache_give_up(want, ML_TRIM_WORK_MS, &t->held), &trim->bytes);
		/* What we took is no news to the next look. */
		trim->cold.file = ml_cache_held_bytes();
	}
	ml_trim_start(trim);
}

void ml_trim_start(struct ml_trim *trim)
{
	if (!READ_ONCE(trim->turn->held))
		queue_delayed_work(trim->turn->wire->wq, &trim->work,
				   msecs_to_jiffies(ML_TRIM_LOOK_MS));
}

bool ml_trim_off(const struct ml_trim *trim)
{
	return READ_ONCE(trim->off);
}

void ml_trim_set_off(struct ml_trim *trim, bool off)
{
	WRITE_ONCE(trim->off, off);
}

u64 ml_trim_bytes(const struct ml_trim *trim)
{
	return atomic64_read(&trim->bytes);
}

int ml_trim_init(struct ml_turn *t, struct ml_trim **out)
{
	struct ml_trim *trim = kzalloc(sizeof(*trim), GFP_KERNEL);

	if (!trim)
		return -ENOMEM;
	trim->turn = t;
	INIT_DEFERRABLE_WORK(&trim->work, ml_trim_work);
	*out = trim;
	return 0;
}

void ml_trim_exit(struct ml_trim *trim)
{
	cancel_delayed_work_sync(&trim->work);
	kfree(trim);
}
