// SPDX-License-Identifier: GPL-2.0-or-later
/* What need not stay borrowed, as a pure function; see spare.h. In the kernel and in user space. */
#include "spare.h"

#define ML_SPARE_BLOCKS		2	/* more than up to which the guest would grow */
#define ML_SPARE_TIMES_MAX	16
#define ML_SPARE_SOON		4	/* waits after a return: growing within them was our mistake */

static u64 ml_spare_wait_ms(const struct ml_spare *spare, const struct ml_spare_look *look)
{
	return (u64)look->after_ms * (spare->times ? spare->times : 1);
}

/* The guest has grown, or not for a long time: how long to wait from now on. */
static void ml_spare_judge(struct ml_spare *spare, const struct ml_spare_look *look)
{
	u64 wait_ms = ml_spare_wait_ms(spare, look);

	if (look->now_ms - spare->returned_ms > ML_SPARE_SOON * wait_ms) {
		spare->returned = false;
		spare->times = 0;
	} else if (look->given != spare->given) {
		spare->returned = false;
		spare->times = spare->times ? spare->times * 2 : 2;
		if (spare->times > ML_SPARE_TIMES_MAX)
			spare->times = ML_SPARE_TIMES_MAX;
	}
}

bool ml_spare_may(struct ml_spare *spare, const struct ml_spare_look *look,
		  const struct ml_marks *marks)
{
	u64 more = ML_SPARE_BLOCKS * look->mb_bytes;
	bool much = look->available >= marks->high + more && look->large >= look->stock + more &&
		    look->given == spare->given;

	if (spare->returned)
		ml_spare_judge(spare, look);
	spare->given = look->given;
	if (much && !spare->much)
		spare->since_ms = look->now_ms;
	spare->much = much;
	return much && look->after_ms && look->now_ms - spare->since_ms >= ml_spare_wait_ms(spare, look);
}

void ml_spare_returned(struct ml_spare *spare, u64 now_ms)
{
	spare->returned = true;
	spare->returned_ms = now_ms;
}
