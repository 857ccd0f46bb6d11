// SPDX-License-Identifier: GPL-2.0-or-later
/* When free memory is reported anew, as a pure function; see stale.h. In the kernel and in user space. */
#include "stale.h"

#define ML_STALE_LOOK_MS	15000
#define ML_STALE_SOON_MS	2000	/* from a time to its judgement, and between looks that find fewer */
#define ML_STALE_LOOKS		3	/* in a row: what was freed just now is reported by then */
#define ML_STALE_MANY		16	/* blocks; fewer are the guest's own first touches, as a rule */
#define ML_STALE_FEW		4
#define ML_STALE_ASKED_MS	10000	/* between two times that were asked for */
#define ML_STALE_PAUSE_MS	30000u	/* and between others, at first */
#define ML_STALE_PAUSE_MAX_MS	1920000u

u64 ml_stale_blocks(s64 most, s64 hidden)
{
	return most - hidden >= ML_STALE_FEW ? most - hidden : 0;
}

static void ml_stale_judge(struct ml_stale *s, const struct ml_stale_look *look)
{
	bool vain = look->hidden - s->before < ML_STALE_FEW;
	u32 twice = s->pause_ms * 2 > ML_STALE_PAUSE_MAX_MS ? ML_STALE_PAUSE_MAX_MS : s->pause_ms * 2;

	s->pause_ms = !vain || !s->pause_ms ? ML_STALE_PAUSE_MS : twice;
	s->hidden = look->hidden;
	/* Far fewer than at that time: somebody has touched memory meanwhile. */
	s->most = s->before - look->hidden >= ML_STALE_MANY ? s->before : look->hidden;
	s->fewer = 0;
	s->judged = true;
}

/* Is it time, by what was seen so far? */
static bool ml_stale_due(const struct ml_stale *s, const struct ml_stale_look *look)
{
	u64 since_ms = look->now_ms - s->last_ms;

	if (!s->begun)
		return true;
	if (s->asked && since_ms >= ML_STALE_ASKED_MS && ml_stale_blocks(s->most, look->hidden))
		return true;
	return s->fewer >= ML_STALE_LOOKS && since_ms >= s->pause_ms;
}

struct ml_stale_want ml_stale_think(struct ml_stale *s, const struct ml_stale_look *look)
{
	struct ml_stale_want want = { .look_ms = ML_STALE_LOOK_MS };

	s->asked |= look->asked;
	if (s->begun && !s->judged) {
		if (look->now_ms - s->last_ms >= ML_STALE_SOON_MS) {
			ml_stale_judge(s, look);
		} else {
			want.look_ms = ML_STALE_SOON_MS;
			return want;
		}
	}
	if (look->hidden > s->most && s->hidden > s->most)
		s->most = look->hidden < s->hidden ? look->hidden : s->hidden;
	s->hidden = look->hidden;
	s->fewer = s->most - look->hidden >= ML_STALE_MANY ? s->fewer + 1 : 0;
	want.anew = ml_stale_due(s, look);
	if (want.anew) {
		s->before = look->hidden;
		s->last_ms = look->now_ms;
		s->begun = true;
		s->judged = false;
	}
	if (want.anew || look->now_ms - s->last_ms >= ML_STALE_ASKED_MS)
		s->asked = false;
	if (want.anew || s->asked || (s->fewer && s->fewer < ML_STALE_LOOKS))
		want.look_ms = ML_STALE_SOON_MS;
	return want;
}
