// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Statistics; see stats.h. Figures in bytes count as changed when they moved by
 * ML_STATS_STEP_BYTES: an idle guest's free memory never stands still.
 */
#include <linux/jiffies.h>
#include <linux/math.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "../../proto/memlease_abi.h"
#include "../linux/meminfo.h"
#include "../turn/turn.h"
#include "stats.h"

#define ML_STATS_PERIOD_MS	1000
#define ML_STATS_QUIET_S	10
#define ML_STATS_STEP_BYTES	(4ULL << 20)
#define ML_STATS_COUNT		11	/* enum memlease_stat_tag */

struct ml_stats {
	struct ml_turn *turn;
	struct delayed_work work;
	struct ml_request *req;		/* NULL: this host wants none */
	u64 sent[ML_STATS_COUNT];
	u32 quiet_s;			/* seconds since the last were sent */
};

static void ml_stats_read(struct ml_turn *t, u64 *value)
{
	const struct ml_board *board = t->board;

	value[0] = ml_total_bytes();
	value[1] = ml_free_bytes();
	value[2] = ml_available_bytes();
	value[3] = ml_cache_bytes();
	value[4] = READ_ONCE(board->target_seq);
	value[5] = READ_ONCE(board->target_state);
	value[6] = ml_blocks_borrowed(t->blocks);
	value[7] = atomic64_read(&board->reported_slots);
	value[8] = atomic64_read(&board->oom_rescues);
	value[9] = READ_ONCE(board->reporting);
	value[10] = (u64)ml_blocks_kernel_count(t->blocks) * t->blocks->slots_per_mb;
}

static bool ml_stats_changed(const u64 *old, const u64 *now)
{
	u32 i;

	for (i = 0; i < ML_STATS_COUNT; i++) {
		u64 step = i < 4 ? ML_STATS_STEP_BYTES : 1;

		if (max(old[i], now[i]) - min(old[i], now[i]) >= step)
			return true;
	}
	return false;
}

static void ml_stats_send(struct ml_stats *s)
{
	struct ml_turn *t = s->turn;
	u64 value[ML_STATS_COUNT];
	bool now = ml_turn_woken(t, ML_STATS);
	u32 i;
	int rc;

	ml_stats_read(t, value);
	if (!now && s->quiet_s < ML_STATS_QUIET_S && !ml_stats_changed(s->sent, value)) {
		s->quiet_s++;
		return;
	}
	for (i = 0; i < ML_STATS_COUNT; i++)
		ml_request_stat(s->req, i, MEMLEASE_STAT_TOTAL_BYTES + i, value[i]);
	rc = ml_turn_call(t, s->req);
	if (rc) {
		ml_wire_failed(t->wire, "STATS", rc);
		return;
	}
	memcpy(s->sent, value, sizeof(value));
	s->quiet_s = 0;
}

static void ml_stats_work(struct work_struct *work)
{
	struct ml_stats *s = container_of(to_delayed_work(work), struct ml_stats, work);
	struct ml_turn *t = s->turn;

	if (READ_ONCE(t->held))
		return;
	ml_stats_send(s);
	if (!READ_ONCE(t->held))
		queue_delayed_work(t->wire->wq, &s->work, round_jiffies_relative(
				   msecs_to_jiffies(ML_STATS_PERIOD_MS)));
}

int ml_stats_init(struct ml_turn *t, struct ml_stats **out)
{
	struct ml_stats *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	s->turn = t;
	INIT_DELAYED_WORK(&s->work, ml_stats_work);
	if (virtio_has_feature(t->wire->vdev, MEMLEASE_F_STATS)) {
		s->req = ml_request_alloc();
		if (!s->req) {
			kfree(s);
			return -ENOMEM;
		}
		ml_turn_woken_by(t, ML_STATS, t->wire->wq, &s->work);
	}
	*out = s;
	return 0;
}

void ml_stats_stop(struct ml_stats *s)
{
	cancel_delayed_work_sync(&s->work);
}

void ml_stats_exit(struct ml_stats *s)
{
	ml_stats_stop(s);
	ml_request_free(s->req);
	kfree(s);
}
