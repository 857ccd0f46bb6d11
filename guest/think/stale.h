/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When free memory is reported anew, because the host backs again what it was told is free:
 * somebody has touched it whom the guest's kernel does not know of (a program that reads all
 * memory, a debugger on the host). As a pure function of numbers. Called by work/anew.c, and
 * by tests/unit/test_guest_stale.c in user space.
 *
 * It goes by *hidden* blocks: committed, but neither resident nor free in large pages, so in
 * use and never touched. Nobody knows how many these have to be; but memory that is backed
 * though it is free and reported makes them fewer, by as many.
 */
#ifndef MEMLEASE_STALE_H
#define MEMLEASE_STALE_H

#include "pure.h"

/* What is seen at a look. */
struct ml_stale_look {
	u64 now_ms;
	s64 hidden;		/* blocks; may be less than 0: what is freed just now counts twice */
	bool asked;		/* the host wants all that is free */
};

/* What is remembered from look to look; zeroes to begin with. */
struct ml_stale {
	s64 most;		/* hidden blocks, the most that two looks in a row found since the last time */
	s64 hidden;		/* at the last look */
	s64 before;		/* and at that time */
	u64 last_ms;		/* the last time; valid with `begun` */
	u32 pause_ms;		/* after it, unless asked; doubles */
	u32 fewer;		/* looks in a row that found far fewer */
	bool begun;
	bool judged;		/* what the last time brought is known */
	bool asked;		/* since the last time */
};

struct ml_stale_want {
	bool anew;		/* report all free memory anew, now */
	u32 look_ms;		/* look again after so long */
};

/*
 * One look. The first finds out what is hidden, by reporting all anew. From then on it is
 * time when far fewer blocks are hidden for some seconds, or, asked, a few fewer. A time that
 * brought nothing was a mistake: the next one comes later, unless asked.
 */
struct ml_stale_want ml_stale_think(struct ml_stale *stale, const struct ml_stale_look *look);

/* Blocks that seem to be backed though they are free and reported. */
u64 ml_stale_blocks(s64 most, s64 hidden);

#endif /* MEMLEASE_STALE_H */
