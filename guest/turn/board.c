// SPDX-License-Identifier: GPL-2.0-or-later
/* The board; see board.h. */
#include <linux/cpumask.h>
#include <linux/jiffies.h>

#include "../../proto/memlease_abi.h"
#include "../linux/meminfo.h"
#include "../think/need.h"
#include "../window/blocks.h"
#include "../wire/wire.h"
#include "board.h"

void ml_board_init(struct ml_board *board, const struct ml_blocks *blocks)
{
	board->blocks = blocks;
	board->last_add = jiffies - HZ;
}

struct ml_marks ml_board_marks(const struct ml_board *board)
{
	u64 total = ml_total_bytes(), low = READ_ONCE(board->low_mark_bytes);
	u64 mb_bytes = board->blocks->mb_bytes;
	struct ml_marks marks = ml_marks_of(total, low, mb_bytes);

	return low ? marks : ml_marks_on(marks, total, num_online_cpus(), mb_bytes);
}

bool ml_board_reports(const struct ml_board *board)
{
	return READ_ONCE(board->reporting) == MEMLEASE_REPORTING_ON;
}

bool ml_board_host_is_silent(const struct ml_board *board)
{
	return ml_queue_silent_ms(&board->blocks->wire->queue) > ML_SILENT_MS;
}

/* Free pages that the host is being told of, if they come back soon. */
static u64 ml_board_reporting(const struct ml_board *board)
{
	return ml_board_host_is_silent(board) ? 0 : atomic64_read(&board->reporting_bytes);
}

u64 ml_board_available(const struct ml_board *board)
{
	return ml_available_bytes() + ml_board_reporting(board) +
	       atomic64_read(&board->defragging_bytes);
}

u64 ml_board_large_free(const struct ml_board *board)
{
	return ml_large_free_bytes() + ml_board_reporting(board);
}

s64 ml_board_hidden(const struct ml_board *board, u64 committed_blocks, u64 resident_blocks)
{
	return (s64)(committed_blocks - resident_blocks) -
	       (s64)(ml_board_large_free(board) >> MEMLEASE_BLOCK_SHIFT);
}

bool ml_board_added(const struct ml_board *board, u32 within_ms)
{
	return time_before(jiffies, READ_ONCE(board->last_add) + msecs_to_jiffies(within_ms));
}

void ml_board_wake_under(struct ml_board *board, const struct ml_levels *level)
{
	static const struct ml_levels nothing;

	if (!level)
		level = &nothing;
	WRITE_ONCE(board->wake.free, level->free);
	WRITE_ONCE(board->wake.kernel, level->kernel);
	WRITE_ONCE(board->wake.large, level->large);
}

bool ml_board_is_under(const struct ml_board *board)
{
	u64 kernel = READ_ONCE(board->wake.kernel), large = READ_ONCE(board->wake.large);

	return ml_free_bytes() < READ_ONCE(board->wake.free) ||
	       (kernel && ml_kernel_free_bytes() < kernel) ||
	       (large && ml_large_free_bytes() < large);
}
