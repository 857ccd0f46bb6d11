/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When memory that the guest has borrowed and does not need goes back without being asked
 * for, as a pure function of numbers. Called by work/shrink.c, and by
 * tests/unit/test_guest_spare.c in user space.
 */
#ifndef MEMLEASE_SPARE_H
#define MEMLEASE_SPARE_H

#include "pure.h"

/* What is seen at a look. */
struct ml_spare_look {
	u64 now_ms;
	u64 given;		/* counter: bytes that Linux was given */
	u64 available;		/* bytes */
	u64 large;		/* bytes free in large pages */
	u64 stock;		/* mark of these, bytes */
	u64 mb_bytes;
	u32 after_ms;		/* how long the guest must have had too much; 0: never */
};

/* What is remembered from look to look; zeroes to begin with. */
struct ml_spare {
	u64 since_ms;		/* the guest has had too much since; valid with `much` */
	u64 given;		/* at the last look */
	u64 returned_ms;	/* when a block went back last; valid with `returned` */
	u32 times;		/* by which the wait is longer, doubles */
	bool much;
	bool returned;
};

/*
 * One look: may an empty memory block go back now? The guest has too much when it has
 * two memory blocks more than up to which it would grow, and as many more large pages. A
 * guest that grows again soon after was robbed: the next time we wait twice as long.
 */
bool ml_spare_may(struct ml_spare *spare, const struct ml_spare_look *look,
		  const struct ml_marks *marks);

/* A block went back. */
void ml_spare_returned(struct ml_spare *spare, u64 now_ms);

#endif /* MEMLEASE_SPARE_H */
