// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reporting; see report.h.
 *
 * The kernel waits 2 s between passes and reports a sixteenth of each free list
 * in each. But the work item and its state are ours, so `drive` makes a pass
 * itself, and again until one finds nothing new. It looks every interval_ms
 * whether the kernel wants a pass (some large page was freed), which costs one
 * read of a variable. It leaves the pages alone for a moment while the guest is
 * growing: they will be used in no time. What stands on per-CPU lists is drained
 * first, because the kernel neither merges nor reports it.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/page_reporting.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/wait.h>
#ifdef CONFIG_X86
#include <asm/e820/api.h>
#endif

#include "../../proto/memlease_abi.h"
#include "../linux/drain.h"
#include "../linux/pace.h"
#include "../turn/turn.h"
#include "report.h"

/* The kernel's own state of a page_reporting_dev_info; see mm/page_reporting.c. */
#define ML_PAGE_REPORTING_REQUESTED	1

#define ML_REPORT_INTERVAL_MS	400	/* at first */
#define ML_PASSES_MAX		64	/* of one run of drive */
#define ML_PASS_PAUSE_MS	10
#define ML_GROWING_MS		300	/* after an addition */
#define ML_REFUSED_PAUSE_MS	2000
#define ML_REGISTER_PAUSE_MS	5000	/* while another driver reports */
#define ML_DRAIN_PAUSE_MS	700u
#define ML_DRAIN_PAUSE_MAX_MS	12000u	/* while it is in vain */
#define ML_PACE_PIECE_NS	(2 * NSEC_PER_MSEC)	/* a batch takes no longer; the rest was a pause */

struct ml_report {
	struct ml_turn *turn;
	struct page_reporting_dev_info prdev;
	struct delayed_work drive;
	wait_queue_head_t one_batch;
	atomic_t batch;			/* req and spans are those of one, until the host has answered */
	struct ml_request *req;
	struct ml_span *spans;
	bool hurry;			/* the run of drive was asked for by the host */
	u64 paced_ns;			/* when the last batch was through, pause included */
	u32 interval_ms;		/* between looks for newly freed memory */
	unsigned long last_drain;	/* jiffies */
	u32 drain_pause_ms;
	u64 offered;			/* slots, in this life of the driver */
	atomic64_t requests;
};

/*
 * Is this page the VM's own boot memory? Memory that was plugged in by somebody
 * else lies outside both regions, and is not for us to report.
 */
static bool ml_report_ours(const struct ml_layout *layout, u64 addr, u64 bytes)
{
	if (addr >= layout->window_addr)
		return addr - layout->window_addr < layout->window_bytes;
#ifdef CONFIG_X86
	return e820__mapped_any(addr, addr + bytes, E820_TYPE_RAM);
#else
	return true;
#endif
}

static int ml_report_send(struct ml_report *r, u32 n)
{
	u32 i, count, done, step;
	u64 asked;
	int rc;

	for (i = 0; i < n; i += step) {
		step = min(n - i, r->turn->wire->fixed.max_extents);
		ml_request_spans(r->req, MEMLEASE_REQ_REPORT, r->spans + i, step);
		rc = ml_turn_call_briefly(r->turn, r->req);
		/* The pages are free again, to be reported when the host is back. */
		if (rc == -ECANCELED)
			return rc;
		if (rc) {
			ml_wire_failed(r->turn->wire, "REPORT", rc);
			return rc;
		}
		atomic64_inc(&r->requests);
		asked = 0;
		for (count = 0; count < step; count++)
			asked += r->spans[i + count].count;
		done = ml_request_done_all(r->req);
		atomic64_add(done, &r->turn->board->reported_slots);
		r->offered += asked;
		if (done < asked)
			return -EAGAIN;
	}
	return 0;
}

static int ml_report_list(struct ml_report *r, struct scatterlist *sgl, u32 nents)
{
	const struct ml_layout *layout = &r->turn->wire->fixed.layout;
	struct scatterlist *sg;
	u32 i, n = 0;
	int rc;

	for_each_sg(sgl, sg, nents, i) {
		u64 addr = page_to_phys(sg_page(sg));

		/* A page may straddle the window's edge: two spans. */
		if (ml_report_ours(layout, addr, sg->length))
			n = ml_spans_add(layout, r->spans, n, addr, sg->length);
		if (n + 2 > MEMLEASE_MAX_EXTENTS) {
			rc = ml_report_send(r, ml_spans_join(r->spans, n));
			if (rc)
				return rc;
			n = 0;
		}
	}
	return n ? ml_report_send(r, ml_spans_join(r->spans, n)) : 0;
}

/*
 * Reporting by itself is in no hurry, unless programs take memory: then what is
 * isolated here goes back to them at once. The kernel's part of the work, finding
 * the pages, lies between two calls.
 */
static void ml_report_pace(struct ml_report *r)
{
	u64 now = ktime_get_ns();

	if (!READ_ONCE(r->hurry) && READ_ONCE(r->turn->board->rate) < ML_PACE_BYTES_S)
		/* Half a pause only: programs cannot use these free pages meanwhile. */
		ml_pace(min_t(u64, now - r->paced_ns, ML_PACE_PIECE_NS) / 2);
	r->paced_ns = ktime_get_ns();
}

/* What the kernel hands out now it shall hand out once more, later. */
static void ml_report_again(struct ml_report *r)
{
	atomic_set(&r->prdev.state, ML_PAGE_REPORTING_REQUESTED);
}

/*
 * The kernel hands us free pages, which nobody else can use until we return. Its own pass
 * and the one that we drive can run at a time: one batch waits for the other, or the second
 * would write its pages into the request of the first, and have them back in use before
 * the host takes them.
 */
static int ml_report_pages(struct page_reporting_dev_info *prdev, struct scatterlist *sgl,
			   unsigned int nents)
{
	struct ml_report *r = container_of(prdev, struct ml_report, prdev);
	struct scatterlist *sg;
	u64 bytes = 0;
	u32 i;
	int rc;

	if (READ_ONCE(r->turn->held))
		return -EBUSY;
	/* What a host that is away was given may be kept until it is back: give it none more. */
	if (ml_board_host_is_silent(r->turn->board)) {
		ml_report_again(r);
		return -EBUSY;
	}
	for_each_sg(sgl, sg, nents, i)
		bytes += sg->length;
	atomic64_add(bytes, &r->turn->board->reporting_bytes);
	wait_event_idle(r->one_batch, !atomic_cmpxchg(&r->batch, 0, 1));
	rc = ml_board_host_is_silent(r->turn->board) ? -ECANCELED : ml_report_list(r, sgl, nents);
	if (rc == -ECANCELED)
		ml_report_again(r);
	ml_report_pace(r);
	atomic_set(&r->batch, 0);
	wake_up(&r->one_batch);
	atomic64_sub(bytes, &r->turn->board->reporting_bytes);
	return rc;
}

/* Draining interrupts all CPUs for a moment, so it is not done at each look. */
static bool ml_report_drain_due(struct ml_report *r, bool now)
{
	return (now || time_after(jiffies, r->last_drain + msecs_to_jiffies(r->drain_pause_ms))) &&
	       ml_drain_due();
}

static u32 ml_report_drive_once(struct ml_report *r)
{
	bool now = ml_turn_woken(r->turn, ML_REPORT), drain = ml_report_drain_due(r, now);
	u32 passes = 0;
	u64 before, refused;

	if (READ_ONCE(r->turn->held) || ml_board_host_is_silent(r->turn->board))
		return r->interval_ms;
	if (!now && ((atomic_read(&r->prdev.state) != ML_PAGE_REPORTING_REQUESTED && !drain) ||
		     ml_board_added(r->turn->board, ML_GROWING_MS)))
		return r->interval_ms;
	/* Pages that draining holds for a moment would look as if they kept a memory block. */
	if (drain && ml_turn_read_try(r->turn)) {
		r->drain_pause_ms = ml_drain() ? ML_DRAIN_PAUSE_MS :
				    min(2 * r->drain_pause_ms, ML_DRAIN_PAUSE_MAX_MS);
		r->last_drain = jiffies;
		ml_turn_read_end(r->turn);
	}
	WRITE_ONCE(r->hurry, now);
	r->paced_ns = ktime_get_ns();
	do {
		before = r->offered;
		refused = r->offered - atomic64_read(&r->turn->board->reported_slots);
		atomic_set(&r->prdev.state, ML_PAGE_REPORTING_REQUESTED);
		/*
		 * Here and now: queued, it would have to be waited for, and a host that is away
		 * would make that wait look like a task that hangs. The kernel's own pass, which
		 * it queues itself, goes with page_reporting_unregister(), and this one before.
		 */
		r->prdev.work.work.func(&r->prdev.work.work);
		if (r->offered - atomic64_read(&r->turn->board->reported_slots) != refused)
			return ML_REFUSED_PAUSE_MS;
		if (r->offered == before)
			return r->interval_ms;
	} while (++passes < ML_PASSES_MAX && !READ_ONCE(r->turn->held));
	return ML_PASS_PAUSE_MS;
}

/* Does the host take reports, and can we make them? */
static bool ml_report_may(struct virtio_device *vdev, u32 *why_not)
{
	*why_not = MEMLEASE_REPORTING_REFUSED;
	if (!virtio_has_feature(vdev, MEMLEASE_F_REPORTING))
		return false;
	if (page_poisoning_enabled_static()) {
		*why_not = MEMLEASE_REPORTING_POISONED;
		dev_warn(&vdev->dev, "page poisoning is on: free memory is not reported, because its pattern would be lost\n");
		return false;
	}
	return true;
}

/*
 * The kernel has one driver report. Where it is another, we wait until it goes: the host is
 * told, and so is the log, once.
 */
static void ml_report_register(struct ml_report *r)
{
	struct ml_board *board = r->turn->board;
	struct device *dev = ml_wire_dev(r->turn->wire);
	u32 before = board->reporting;
	int rc = page_reporting_register(&r->prdev);

	if (!rc) {
		WRITE_ONCE(board->reporting, MEMLEASE_REPORTING_ON);
		if (before == MEMLEASE_REPORTING_TAKEN)
			dev_info(dev, "free memory is reported from now on\n");
		ml_turn_wake(r->turn, ML_DEFRAG);
		return;
	}
	WRITE_ONCE(board->reporting, rc == -EBUSY ? MEMLEASE_REPORTING_TAKEN : MEMLEASE_REPORTING_REFUSED);
	if (before != board->reporting)
		dev_warn(dev, "free memory is not reported (error %d): %s\n", rc,
			 rc == -EBUSY ? "another driver reports already, probably virtio_balloon: unload it" :
			 "the kernel refused");
}

static void ml_report_drive(struct work_struct *work)
{
	struct ml_report *r = container_of(to_delayed_work(work), struct ml_report, drive);
	u32 pause_ms = ML_REGISTER_PAUSE_MS;

	if (!ml_board_reports(r->turn->board) && !READ_ONCE(r->turn->held))
		ml_report_register(r);
	if (ml_board_reports(r->turn->board))
		pause_ms = ml_report_drive_once(r);
	if (pause_ms && !READ_ONCE(r->turn->held))
		queue_delayed_work(r->turn->wire->wq, &r->drive, msecs_to_jiffies(pause_ms));
}

int ml_report_init(struct ml_turn *t, struct ml_report **out)
{
	struct ml_report *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return -ENOMEM;
	r->turn = t;
	r->interval_ms = ML_REPORT_INTERVAL_MS;
	r->last_drain = jiffies;
	r->drain_pause_ms = ML_DRAIN_PAUSE_MS;
	init_waitqueue_head(&r->one_batch);
	INIT_DELAYED_WORK(&r->drive, ml_report_drive);
	r->prdev.report = ml_report_pages;
	r->prdev.order = MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT;
	if (ml_report_may(t->wire->vdev, &t->board->reporting)) {
		r->req = ml_request_alloc();
		r->spans = kcalloc(MEMLEASE_MAX_EXTENTS, sizeof(*r->spans), GFP_KERNEL);
		if (!r->req || !r->spans) {
			ml_report_exit(r);
			return -ENOMEM;
		}
		ml_turn_woken_by(t, ML_REPORT, t->wire->wq, &r->drive);
		ml_report_register(r);
	}
	*out = r;
	return 0;
}

void ml_report_stop(struct ml_report *r)
{
	cancel_delayed_work_sync(&r->drive);
}

void ml_report_exit(struct ml_report *r)
{
	ml_report_stop(r);
	if (ml_board_reports(r->turn->board))
		page_reporting_unregister(&r->prdev);
	WRITE_ONCE(r->turn->board->reporting, MEMLEASE_REPORTING_REFUSED);
	ml_request_free(r->req);
	kfree(r->spans);
	kfree(r);
}

u32 ml_report_interval_ms(const struct ml_report *r)
{
	return READ_ONCE(r->interval_ms);
}

void ml_report_set_interval(struct ml_report *r, u32 ms)
{
	WRITE_ONCE(r->interval_ms, ms);
	ml_turn_wake(r->turn, ML_REPORT);
}

u64 ml_report_requests(const struct ml_report *r)
{
	return atomic64_read(&r->requests);
}
