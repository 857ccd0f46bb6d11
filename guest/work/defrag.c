// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Defragmenting; see defrag.h.
 *
 * A round takes a census of a zone, chooses blocks by the policy, and asks the
 * kernel for each run of them as a contiguous range: it moves away what is in
 * use, into the smallest free pieces first, and what is left is one free page for
 * reporting to find. What the kernel could not empty is left
 * alone for a while, longer each time.
 *
 * The thread looks every ML_LOOK_MS at counters of the kernel's. It begins when
 * too much is strewn (ml_strewn_wanted), works ML_CPU_PERCENT of the time, and
 * pauses while programs take memory or memory blocks come and go. After a round
 * that gained nothing it pauses for 10 s, doubling up to 10 min, unless much more
 * is strewn by then.
 *
 * Page arrays are this part's to read (turn/turn.h) while it reads them and while the
 * kernel works on a range. Memory that is taken offline keeps its
 * page array, and the kernel refuses a range that is being taken offline; boot
 * memory is never removed.
 */
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../linux/census.h"
#include "../linux/compat.h"
#include "../linux/drain.h"
#include "../linux/meminfo.h"
#include "../think/choose.h"
#include "../turn/turn.h"
#include "defrag.h"

#define ML_LOOK_MS		2000
#define ML_BUSY_PAUSE_MS	1000
#define ML_VAIN_FIRST_MS	10000
#define ML_VAIN_MAX_MS		600000
#define ML_VAIN_STEPS		8	/* of doubling, for a block */
#define ML_CPU_PERCENT		3
#define ML_CHUNK_BLOCKS		8192	/* of one census: 16 GiB */
#define ML_ROUND_BLOCKS		64
#define ML_ROUND_PAGES		16384
#define ML_RUN_BLOCKS		16	/* 32 MiB that nobody can allocate meanwhile */
#define ML_HOLD_BLOCKS		4	/* a range that is worth another call of the kernel's */
#define ML_GREW			64	/* pages more in a block than when it was chosen: leave it */
#define ML_CALL_COST		128
#define ML_BLOCK_COST		64
#define ML_DROPPED_COST		4
#define ML_WORTH		384	/* in the background */
#define ML_WORTH_HARD		544	/* on demand: any that is not nearly full */
#define ML_FAST_BYTES_S		(64ULL << 20)
#define ML_QUIET_MS		1000	/* after growing */

#define ML_DEFRAG_RUNS		64	/* of one round */
#define ML_DEFRAG_VAIN		1024

/* A block that could not be emptied: when to try it again. */
struct ml_vain {
	u32 block;		/* physical address by 2 MiB; 0 if none */
	u32 failures;
	unsigned long until;	/* jiffies */
};

struct ml_defrag {
	struct ml_turn *turn;
	struct task_struct *task;
	bool off;			/* the user's: not in the background; valid with `chosen` */
	bool chosen;			/* else it is off while a free block is of no use to the host */
	u32 policy;			/* index of ml_choosers; the user's */
	struct ml_defrag_counts counts;

	/* of a round: whoever has the page arrays to read may use them */
	struct ml_census *census;
	struct ml_run runs[ML_DEFRAG_RUNS];
	struct ml_vain *vain;

	/* the thread's */
	bool active;			/* between the high and the low mark */
	u32 pause_ms;			/* after rounds in vain */
	unsigned long not_before;	/* jiffies: after such a pause */
	u64 vain_bytes;			/* how much was strewn then */
};

/* What a round is to bring, and what it has brought. */
struct ml_job {
	u32 blocks;		/* still wanted */
	u32 worth;
	u64 deadline_ns;
	bool gently;		/* with pauses, and not while the guest is busy */
	u32 cleared;
};

/* The first physical address that is not the host's to lend. */
static u64 ml_defrag_end(const struct ml_defrag *d)
{
	const struct ml_layout *layout = &d->turn->wire->fixed.layout;

	return layout->window_addr + layout->window_bytes;
}

static bool ml_defrag_stopped(struct ml_defrag *d)
{
	return READ_ONCE(d->turn->held) || ml_turn_pages_wanted(d->turn);
}

/* Does the guest need its processors and its memory for something better? */
static bool ml_defrag_disturbs(struct ml_defrag *d)
{
	struct ml_board *board = d->turn->board;
	struct ml_marks marks = ml_board_marks(board);

	return ml_turn_attempt(d->turn) || READ_ONCE(board->rate) > ML_FAST_BYTES_S ||
	       ml_board_added(board, ML_QUIET_MS) ||
	       ml_board_available(board) < marks.reserve;
}

static bool ml_job_ends(struct ml_defrag *d, const struct ml_job *job)
{
	if (!job->blocks || ml_defrag_stopped(d) || signal_pending(current))
		return true;
	if (job->gently)
		return ml_defrag_off(d) || kthread_should_stop() || ml_defrag_disturbs(d);
	return ktime_get_ns() > job->deadline_ns;
}

static struct ml_vain *ml_vain_of(struct ml_defrag *d, unsigned long pfn)
{
	return &d->vain[pfn / ML_CENSUS_PAGES % ML_DEFRAG_VAIN];
}

/* Was it tried in vain, not long ago? */
static bool ml_vain_now(struct ml_defrag *d, unsigned long pfn)
{
	struct ml_vain *vain = ml_vain_of(d, pfn);

	return vain->block == pfn / ML_CENSUS_PAGES && time_before(jiffies, vain->until);
}

static void ml_vain_add(struct ml_defrag *d, unsigned long pfn)
{
	struct ml_vain *vain = ml_vain_of(d, pfn);
	u32 block = pfn / ML_CENSUS_PAGES;

	vain->failures = vain->block == block ? min_t(u32, vain->failures + 1, ML_VAIN_STEPS) : 0;
	vain->block = block;
	vain->until = jiffies + msecs_to_jiffies(ML_VAIN_FIRST_MS << vain->failures);
	atomic64_inc(&d->counts.failures);
}

/*
 * Empty n adjacent blocks. What the kernel has emptied it hands out, and kernels
 * that zero what they hand out then zero all of it, in vain, and pass it on page
 * by page. So of a longer range we have its first page before, and hold on to it:
 * the kernel moves all else away and finds in the end that the range is not free.
 */
static void ml_defrag_call(struct ml_defrag *d, unsigned long pfn, u32 n, u64 used)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	unsigned long pages = (unsigned long)n * ML_CENSUS_PAGES;
	u64 holes = (pages - min_t(u64, used, pages)) << PAGE_SHIFT;

	atomic64_add(holes, &d->turn->board->defragging_bytes);
	if (n >= ML_HOLD_BLOCKS && !ml_alloc_contig_range(pfn, pfn + 1, gfp))
		ml_drain_around(pfn_to_page(pfn), pfn, pfn + pages);
	else if (!ml_alloc_contig_range(pfn, pfn + pages, gfp))
		free_contig_range(pfn, pages);
	atomic64_sub(holes, &d->turn->board->defragging_bytes);
}

/* What became of n blocks that were to be emptied? Returns how many are free. */
static u32 ml_defrag_count(struct ml_defrag *d, struct zone *zone, unsigned long pfn,
			   struct ml_census *before, u32 n)
{
	u32 i, cleared = 0;

	for (i = 0; i < n; i++) {
		struct ml_census now = ml_census_block(zone, pfn + i * ML_CENSUS_PAGES,
						       ml_defrag_end(d));

		if (before[i].kind != ML_KIND_FREE && now.kind == ML_KIND_FREE)
			cleared++;
		if (now.kind == ML_KIND_FIXED)
			now.used = before[i].used;
		if (now.used < before[i].used)
			atomic64_add(before[i].used - now.used, &d->counts.moved_pages);
		before[i] = now;
	}
	atomic64_add(cleared, &d->counts.cleared_blocks);
	return cleared;
}

/*
 * Empty a part of a run. If the kernel cannot, because of a single page perhaps,
 * the blocks that it did not get to are tried one by one.
 */
static void ml_defrag_part(struct ml_defrag *d, struct zone *zone, unsigned long pfn,
			   struct ml_census *census, u32 n, struct ml_job *job)
{
	u64 used = 0;
	u32 i, cleared;

	for (i = 0; i < n; i++)
		used += census[i].used;
	ml_defrag_call(d, pfn, n, used);
	cleared = ml_defrag_count(d, zone, pfn, census, n);
	if (n == 1 && !cleared)
		ml_vain_add(d, pfn);
	for (i = 0; n > 1 && i < n; i++) {
		unsigned long at = pfn + i * ML_CENSUS_PAGES;

		if (census[i].kind != ML_KIND_MOVABLE || ml_defrag_stopped(d))
			continue;
		ml_defrag_call(d, at, 1, census[i].used);
		if (ml_defrag_count(d, zone, at, &census[i], 1))
			cleared++;
		else
			ml_vain_add(d, at);
	}
	job->cleared += cleared;
	job->blocks -= min(job->blocks, cleared);
}

/*
 * Empty a run, but for blocks that are not as they were: the pages of the runs
 * before went somewhere, and programs did not wait.
 */
static void ml_defrag_run(struct ml_defrag *d, struct zone *zone, unsigned long pfn,
			  struct ml_census *census, u32 n, struct ml_job *job)
{
	u32 i, from = 0;

	for (i = 0; i <= n; i++) {
		if (i < n) {
			u16 used = census[i].used;

			census[i] = ml_census_block(zone, pfn + i * ML_CENSUS_PAGES,
						       ml_defrag_end(d));
			if (census[i].kind == ML_KIND_MOVABLE && census[i].used <= used + ML_GREW)
				continue;
		}
		if (i > from)
			ml_defrag_part(d, zone, pfn + from * ML_CENSUS_PAGES, census + from,
				       i - from, job);
		from = i + 1;
	}
}

/* In the background, pause after work so that it takes ML_CPU_PERCENT; ends with the job. */
static void ml_defrag_rest(struct ml_defrag *d, const struct ml_job *job, u64 worked_ns)
{
	u64 rest_ns = worked_ns * (100 - ML_CPU_PERCENT) / ML_CPU_PERCENT;

	atomic64_add(div_u64(worked_ns, NSEC_PER_USEC), &d->counts.work_us);
	if (job->gently)
		wait_event_idle_timeout(*ml_turn_waitqueue(d->turn, ML_DEFRAG), ml_job_ends(d, job),
					nsecs_to_jiffies(rest_ns));
	else
		cond_resched();
}

/* One census of up to ML_CHUNK_BLOCKS, and what it leads to. */
static void ml_defrag_chunk(struct ml_defrag *d, struct zone *zone, unsigned long pfn, u32 n,
			    struct ml_job *job)
{
	struct ml_limits limits = {
		.blocks = min_t(u32, job->blocks, ML_ROUND_BLOCKS),
		.pages = ML_ROUND_PAGES,
		.worth = job->worth,
		.run_blocks = ML_RUN_BLOCKS,
		.call_cost = ML_CALL_COST,
		.block_cost = ML_BLOCK_COST,
		.dropped_cost = ML_DROPPED_COST,
	};
	u64 began = ktime_get_ns();
	u32 i, count;

	ml_turn_assert_pages(d->turn);
	if (!ml_census_take(zone, pfn, ml_defrag_end(d), d->census, n,
			    ml_turn_pages_flag(d->turn)))
		return;
	for (i = 0; i < n; i++)
		if (d->census[i].kind == ML_KIND_MOVABLE &&
		    ml_vain_now(d, pfn + i * ML_CENSUS_PAGES))
			d->census[i].kind = ML_KIND_STUCK;
	count = ml_choosers[READ_ONCE(d->policy)].choose(d->census, n, &limits, d->runs,
							 ML_DEFRAG_RUNS);
	ml_defrag_rest(d, job, ktime_get_ns() - began);
	for (i = 0; i < count && !ml_job_ends(d, job); i++) {
		began = ktime_get_ns();
		ml_defrag_run(d, zone, pfn + d->runs[i].first * ML_CENSUS_PAGES,
			      d->census + d->runs[i].first, d->runs[i].count, job);
		ml_defrag_rest(d, job, ktime_get_ns() - began);
	}
}

static void ml_defrag_zone(struct ml_defrag *d, struct zone *zone, struct ml_job *job)
{
	unsigned long pfn = round_up(zone->zone_start_pfn, ML_CENSUS_PAGES);
	unsigned long end = round_down(zone_end_pfn(zone), ML_CENSUS_PAGES);
	u32 before = job->cleared;

	while (pfn < end && !ml_job_ends(d, job)) {
		u32 n = min_t(unsigned long, (end - pfn) / ML_CENSUS_PAGES, ML_CHUNK_BLOCKS);

		ml_defrag_chunk(d, zone, pfn, n, job);
		pfn += (unsigned long)n * ML_CENSUS_PAGES;
	}
	/* The pages emptied last are on this processor's list, where nothing is merged. */
	if (job->cleared != before)
		ml_drain_zone(zone);
}

/*
 * Go once through all zones that are worth it, and have what was gained reported. With
 * the page arrays to read. Returns how many blocks became free.
 */
static u32 ml_defrag_round(struct ml_defrag *d, struct ml_job *job)
{
	u32 before = job->cleared;
	struct zone *zone = NULL;

	while ((zone = ml_census_zone(zone)) && !ml_job_ends(d, job)) {
		struct ml_strewn strewn = ml_census_strewn(zone);

		if (!job->gently || ml_strewn_wanted(&strewn, true))
			ml_defrag_zone(d, zone, job);
	}
	atomic64_inc(&d->counts.rounds);
	if (job->cleared != before)
		ml_turn_wake(d->turn, ML_REPORT);
	return job->cleared - before;
}

u32 ml_defrag_now(struct ml_defrag *d, u32 blocks, u32 max_ms, bool hard)
{
	struct ml_job job = {
		.blocks = blocks,
		.worth = hard ? ML_WORTH_HARD : ML_WORTH,
		.deadline_ns = ktime_get_ns() + (u64)max_ms * NSEC_PER_MSEC,
	};
	bool interrupted;

	do {
		/* The thread in the background leaves off for this. */
		ml_turn_read(d->turn);
		while (!ml_job_ends(d, &job) && ml_defrag_round(d, &job))
			;
		interrupted = ml_turn_pages_wanted(d->turn);
		ml_turn_read_end(d->turn);
		/* Who wants the page arrays meanwhile has them first. */
		if (interrupted)
			schedule_timeout_interruptible(1);
	} while (interrupted && job.blocks && !READ_ONCE(d->turn->held) && !signal_pending(current) &&
		 ktime_get_ns() <= job.deadline_ns);
	return job.cleared;
}

u64 ml_defrag_strewn(void)
{
	struct zone *zone = NULL;
	u64 bytes = 0;

	while ((zone = ml_census_zone(zone))) {
		struct ml_strewn strewn = ml_census_strewn(zone);

		bytes += strewn.free - min(strewn.free, strewn.whole);
	}
	return bytes;
}

/* Is too much strewn in some zone? */
static bool ml_defrag_wanted(struct ml_defrag *d)
{
	struct zone *zone = NULL;

	while ((zone = ml_census_zone(zone))) {
		struct ml_strewn strewn = ml_census_strewn(zone);

		if (ml_strewn_wanted(&strewn, d->active))
			return true;
	}
	return false;
}

/* One look of the thread's, and what follows from it. Returns when to look again, in ms. */
static u32 ml_defrag_look(struct ml_defrag *d)
{
	struct ml_job job = { .blocks = ML_ROUND_BLOCKS, .worth = ML_WORTH, .gently = true };
	u64 strewn;

	d->active = ml_defrag_wanted(d);
	if (!d->active) {
		d->pause_ms = 0;
		return ML_LOOK_MS;
	}
	strewn = ml_defrag_strewn();
	/* Not much more is strewn than when the last round gained nothing. */
	if (d->pause_ms && time_before(jiffies, d->not_before) &&
	    strewn < d->vain_bytes + d->vain_bytes / 4)
		return ML_LOOK_MS;
	if (ml_defrag_disturbs(d))
		return ML_BUSY_PAUSE_MS;
	/* Somebody defragments on demand, which may take a minute. */
	if (!ml_turn_read_try(d->turn))
		return ML_BUSY_PAUSE_MS;
	ml_defrag_round(d, &job);
	ml_turn_read_end(d->turn);
	if (job.cleared) {
		d->pause_ms = 0;
		return ML_BUSY_PAUSE_MS;
	}
	if (ml_defrag_stopped(d) || ml_defrag_disturbs(d))
		return ML_BUSY_PAUSE_MS;
	d->pause_ms = ml_backoff_ms(d->pause_ms, ML_VAIN_FIRST_MS, ML_VAIN_MAX_MS);
	d->not_before = jiffies + msecs_to_jiffies(d->pause_ms);
	d->vain_bytes = strewn;
	return ML_LOOK_MS;
}

static int ml_defrag_thread(void *data)
{
	struct ml_defrag *d = data;
	long pause = MAX_SCHEDULE_TIMEOUT;

	while (!kthread_should_stop()) {
		ml_turn_sleep(d->turn, ML_DEFRAG, pause);
		pause = MAX_SCHEDULE_TIMEOUT;
		if (kthread_should_stop() || READ_ONCE(d->turn->held) || ml_defrag_off(d))
			continue;
		/* Wake up together with other timers, so that an idle processor sleeps longer. */
		pause = round_jiffies_relative(msecs_to_jiffies(ml_defrag_look(d)));
	}
	return 0;
}

bool ml_defrag_off(const struct ml_defrag *d)
{
	return READ_ONCE(d->chosen) ? READ_ONCE(d->off) : !ml_board_reports(d->turn->board);
}

void ml_defrag_set_off(struct ml_defrag *d, bool off)
{
	WRITE_ONCE(d->off, off);
	WRITE_ONCE(d->chosen, true);
	ml_turn_wake(d->turn, ML_DEFRAG);
}

u32 ml_defrag_policy(const struct ml_defrag *d)
{
	return READ_ONCE(d->policy);
}

void ml_defrag_set_policy(struct ml_defrag *d, u32 policy)
{
	WRITE_ONCE(d->policy, policy);
}

const struct ml_defrag_counts *ml_defrag_counts(const struct ml_defrag *d)
{
	return &d->counts;
}

int ml_defrag_init(struct ml_turn *t, struct ml_defrag **out)
{
	struct ml_defrag *d = kzalloc(sizeof(*d), GFP_KERNEL);
	struct task_struct *task;

	if (!d)
		return -ENOMEM;
	d->turn = t;
	d->policy = ML_CHOOSE_CHEAPEST;
	d->census = kvcalloc(ML_CHUNK_BLOCKS, sizeof(*d->census), GFP_KERNEL);
	d->vain = kvcalloc(ML_DEFRAG_VAIN, sizeof(*d->vain), GFP_KERNEL);
	if (!d->census || !d->vain)
		goto fail;
	task = kthread_run(ml_defrag_thread, d, "memlease_defrag");
	if (IS_ERR(task))
		goto fail;
	d->task = task;
	*out = d;
	return 0;
fail:
	kvfree(d->census);
	kvfree(d->vain);
	kfree(d);
	return -ENOMEM;
}

void ml_defrag_exit(struct ml_defrag *d)
{
	kthread_stop(d->task);
	kvfree(d->census);
	kvfree(d->vain);
	kfree(d);
}
