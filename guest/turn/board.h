/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The board: what the parts of work/ tell each other, and what follows from it. Each
 * line has one writer, which is named; anybody may read it, at any time, without a
 * lock. Nothing here makes anybody do anything: that is turn.h.
 */
#ifndef MEMLEASE_BOARD_H
#define MEMLEASE_BOARD_H

#include <linux/atomic.h>
#include <linux/types.h>

#include "../think/pure.h"

struct ml_blocks;

/* Bytes free, of all, of what the kernel can use, and in large pages; 0: do not wake. */
struct ml_levels {
	u64 free;
	u64 kernel;
	u64 large;
};

struct ml_board {
	const struct ml_blocks *blocks;
	u64 low_mark_bytes;		/* the user's, or 0; sysfs writes it */

	u64 rate;			/* bytes per second that programs take; growing */
	struct ml_levels wake;		/* under these growing is woken; growing, the watch */
	unsigned long last_add;		/* jiffies; a memory block went to Linux; turn.c */

	atomic64_t reporting_bytes;	/* free, but being reported right now; reporting */
	atomic64_t defragging_bytes;	/* free, but in a block that is being emptied; defragmenting */

	u32 reporting;			/* enum memlease_reporting; reporting */
	atomic64_t reported_slots;	/* that the host took; reporting */
	s64 hidden_most;		/* blocks, see think/stale.h; reporting anew */
	atomic64_t oom_rescues;		/* out-of-memory events that were answered; oom.c */
	u32 target_seq;			/* the target that is being worked on; shrinking */
	u32 target_state;		/* enum memlease_target_state; shrinking */
};

#define ML_SILENT_MS	1000	/* a host that has owed an answer for so long is silent */

void ml_board_init(struct ml_board *board, const struct ml_blocks *blocks);

/* The marks that are in force. Any context. */
struct ml_marks ml_board_marks(const struct ml_board *board);

/* Is free memory reported to the host? May begin at any time, where another driver goes. */
bool ml_board_reports(const struct ml_board *board);

/* Has the host owed an answer for so long that none will come soon? Any context. */
bool ml_board_host_is_silent(const struct ml_board *board);

/*
 * Available memory, with the free pages that are being reported or defragmented:
 * these come back within moments, and are no reason to grow. What the host was told of
 * that gives no answer is not with it. Any context.
 */
u64 ml_board_available(const struct ml_board *board);

/* Free memory in large pages, with what is being reported. Any context. */
u64 ml_board_large_free(const struct ml_board *board);

/*
 * Blocks that are in use and were never touched, by the host's count of those committed and
 * resident; see think/stale.h. Any context.
 */
s64 ml_board_hidden(const struct ml_board *board, u64 committed_blocks, u64 resident_blocks);

/* Was a memory block added this lately? Any context. */
bool ml_board_added(const struct ml_board *board, u32 within_ms);

/* Wake growing, once, when free memory is under one of these; NULL: do not. Any context. */
void ml_board_wake_under(struct ml_board *board, const struct ml_levels *level);
/* Is it? Not consistent with a change of levels under way: look again in a moment. */
bool ml_board_is_under(const struct ml_board *board);

#endif /* MEMLEASE_BOARD_H */
