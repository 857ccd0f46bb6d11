// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Statistics; see stats.h. Figures in bytes count as changed when they moved by
 * ML_STATS_STEP_BYTES: an idle guest's free memory never stands still.
 */
#include <linux/jiffies.h>
#include <linux/math.h>
#include <linux/virtio_config.h>

#include "memlease.h"

#define ML_STATS_PERIOD_MS	1000
#define ML_STATS_QUIET_S	10
#define ML_STATS_STEP_BYTES	(4ULL << 20)

static void ml_stats_read(struct ml_device *ml, u64 *value)
{
	value[0] = ml_total_bytes();
	value[1] = ml_free_bytes();
	value[2] = ml_available_bytes();
	value[3] = ml_cache_bytes();
	value[4] = READ_ONCE(ml->shrink.seq);
	value[5] = READ_ONCE(ml->shrink.state);
	value[6] = ml_blocks_held(ml);
	value[7] = atomic64_read(&ml->report.reported);
	value[8] = atomic64_read(&ml->grow.oom_rescues);
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

static void ml_stats_send(struct ml_device *ml)
{
	struct ml_stats *s = &ml->stats;
	u64 value[ML_STATS_COUNT];
	bool now = xchg(&s->now, false);
	u32 i;
	int rc;

	ml_stats_read(ml, value);
	if (!now && s->quiet_s < ML_STATS_QUIET_S && !ml_stats_changed(s->sent, value)) {
		s->quiet_s++;
		return;
	}
	for (i = 0; i < ML_STATS_COUNT; i++)
		ml_request_stat(s->req, i, MEMLEASE_STAT_TOTAL_BYTES + i, value[i]);
	rc = ml_queue_call(&ml->queue, s->req);
	if (rc) {
		ml_failed(ml, "STATS", rc);
		return;
	}
	memcpy(s->sent, value, sizeof(value));
	s->quiet_s = 0;
	atomic64_inc(&s->requests);
}

static void ml_stats_work(struct work_struct *work)
{
	struct ml_stats *s = container_of(to_delayed_work(work), struct ml_stats, work);
	struct ml_device *ml = container_of(s, struct ml_device, stats);

	if (READ_ONCE(s->held))
		return;
	ml_stats_send(ml);
	if (!READ_ONCE(s->held))
		queue_delayed_work(ml->wq, &s->work, round_jiffies_relative(
				   msecs_to_jiffies(ML_STATS_PERIOD_MS)));
}

void ml_stats_send_now(struct ml_device *ml)
{
	struct ml_stats *s = &ml->stats;

	if (!s->req || READ_ONCE(s->held))
		return;
	WRITE_ONCE(s->now, true);
	mod_delayed_work(ml->wq, &s->work, 0);
}

void ml_stats_hold(struct ml_device *ml, bool held)
{
	WRITE_ONCE(ml->stats.held, held);
	if (!held)
		ml_stats_send_now(ml);
}

int ml_stats_init(struct ml_device *ml)
{
	struct ml_stats *s = &ml->stats;

	s->held = true;
	INIT_DELAYED_WORK(&s->work, ml_stats_work);
	if (!virtio_has_feature(ml->vdev, MEMLEASE_F_STATS))
		return 0;
	s->req = ml_request_alloc();
	return s->req ? 0 : -ENOMEM;
}

void ml_stats_exit(struct ml_device *ml)
{
	ml_stats_hold(ml, true);
	cancel_delayed_work_sync(&ml->stats.work);
	ml_request_free(ml->stats.req);
}
