// SPDX-License-Identifier: GPL-2.0-or-later
/* Reporting anew; see anew.h. */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "../../proto/memlease_abi.h"
#include "../linux/reported.h"
#include "../think/stale.h"
#include "../turn/turn.h"
#include "anew.h"

#define ML_ANEW_LATER_MS	2000	/* while counts are in motion */
#define ML_ANEW_OFF_MS		15000	/* while nothing is reported */

struct ml_anew {
	struct ml_turn *turn;
	struct delayed_work work;
	struct ml_request *req;		/* NULL: this host does not tell */
	struct ml_stale stale;		/* the worker's */
	bool asked;			/* the worker's: woken, and not looked yet */
	atomic64_t times;
};

/* What is hidden now. 0 or -errno. */
static int ml_anew_ask(struct ml_anew *a, s64 *hidden)
{
	struct ml_turn *t = a->turn;
	u32 tag;
	int rc;

	ml_request_query(a->req, MEMLEASE_QUERY_COUNT);
	rc = ml_turn_call(t, a->req);
	if (rc) {
		ml_wire_failed(t->wire, "QUERY", rc);
		return rc;
	}
	if (ml_request_figures(a->req) < MEMLEASE_QUERY_COMMITTED_BLOCKS)
		return -EPROTO;
	*hidden = ml_board_hidden(t->board,
				  ml_request_figure(a->req, MEMLEASE_QUERY_COMMITTED_BLOCKS - 1, &tag),
				  ml_request_figure(a->req, MEMLEASE_QUERY_RESIDENT_BLOCKS - 1, &tag));
	return 0;
}

/* Blocks on their way to Linux or from it are nobody's for a moment, and would look hidden. */
static bool ml_anew_in_motion(struct ml_turn *t)
{
	return ml_turn_attempt(t) || ml_board_added(t->board, ML_ANEW_LATER_MS);
}

static void ml_anew_forget(struct ml_anew *a)
{
	struct ml_turn *t = a->turn;

	ml_turn_read(t);
	ml_reported_forget();
	ml_turn_read_end(t);
	atomic64_inc(&a->times);
	ml_turn_wake(t, ML_REPORT);
}

/* One look; how long to wait for the next. */
static u32 ml_anew_look(struct ml_anew *a)
{
	struct ml_turn *t = a->turn;
	struct ml_stale_look look = { .asked = a->asked };
	struct ml_stale_want want;

	if (!ml_board_reports(t->board))
		return ML_ANEW_OFF_MS;
	if (ml_anew_in_motion(t) || ml_anew_ask(a, &look.hidden))
		return ML_ANEW_LATER_MS;
	look.now_ms = ktime_to_ms(ktime_get_boottime());
	a->asked = false;
	want = ml_stale_think(&a->stale, &look);
	WRITE_ONCE(t->board->hidden_most, a->stale.most);
	if (want.anew)
		ml_anew_forget(a);
	return want.look_ms;
}

static void ml_anew_work(struct work_struct *work)
{
	struct ml_anew *a = container_of(to_delayed_work(work), struct ml_anew, work);
	struct ml_turn *t = a->turn;
	u32 pause_ms;

	if (READ_ONCE(t->held))
		return;
	a->asked |= ml_turn_woken(t, ML_ANEW);
	pause_ms = ml_anew_look(a);
	if (!READ_ONCE(t->held))
		queue_delayed_work(t->wire->wq, &a->work,
				   round_jiffies_relative(msecs_to_jiffies(pause_ms)));
}

u64 ml_anew_times(const struct ml_anew *a)
{
	return atomic64_read(&a->times);
}

int ml_anew_init(struct ml_turn *t, struct ml_anew **out)
{
	struct ml_anew *a = kzalloc(sizeof(*a), GFP_KERNEL);

	if (!a)
		return -ENOMEM;
	a->turn = t;
	INIT_DELAYED_WORK(&a->work, ml_anew_work);
	if (virtio_has_feature(t->wire->vdev, MEMLEASE_F_QUERY)) {
		a->req = ml_request_alloc();
		if (!a->req) {
			kfree(a);
			return -ENOMEM;
		}
		ml_turn_woken_by(t, ML_ANEW, t->wire->wq, &a->work);
	}
	*out = a;
	return 0;
}

void ml_anew_stop(struct ml_anew *a)
{
	cancel_delayed_work_sync(&a->work);
}

void ml_anew_exit(struct ml_anew *a)
{
	ml_anew_stop(a);
	ml_request_free(a->req);
	kfree(a);
}
