// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reporting; see report.h.
 *
 * The kernel waits 2 s between passes and reports a sixteenth of each free list
 * in each. But the work item and its state are ours, so `drive` asks for a pass
 * at once, and again until one finds nothing new. It looks every interval_ms
 * whether the kernel wants a pass (some large page was freed), which costs one
 * read of a variable. It leaves the pages alone for a moment while the guest is
 * growing: they will be used in no time. What stands on per-CPU lists is drained
 * first, because the kernel neither merges nor reports it.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#ifdef CONFIG_X86
#include <asm/e820/api.h>
#endif

#include "drain.h"
#include "memlease.h"
#include "pace.h"

/* The kernel's own state of a page_reporting_dev_info; see mm/page_reporting.c. */
#define ML_PAGE_REPORTING_REQUESTED	1

#define ML_PASSES_MAX		64	/* of one run of drive */
#define ML_PASS_PAUSE_MS	10
#define ML_GROWING_MS		300	/* after an addition */
#define ML_REFUSED_PAUSE_MS	2000
#define ML_DRAIN_PAUSE_MS	700u
#define ML_DRAIN_PAUSE_MAX_MS	12000u	/* while it is in vain */
#define ML_PACE_PIECE_NS	(2 * NSEC_PER_MSEC)	/* a batch takes no longer; the rest was a pause */

/*
 * Is this page the VM's own boot memory? Memory that was plugged in by somebody
 * else lies outside both regions, and is not for us to report.
 */
static bool ml_report_ours(struct ml_device *ml, u64 addr, u64 bytes)
{
	const struct ml_layout *layout = &ml->fixed.layout;

	if (addr >= layout->window_addr)
		return addr - layout->window_addr < layout->window_bytes;
#ifdef CONFIG_X86
	return e820__mapped_any(addr, addr + bytes, E820_TYPE_RAM);
#else
	return true;
#endif
}

static int ml_report_send(struct ml_device *ml, u32 n)
{
	struct ml_report *r = &ml->report;
	u32 i, count, done, step;
	u64 asked;
	int rc;

	for (i = 0; i < n; i += step) {
		step = min(n - i, ml->fixed.max_extents);
		ml_request_spans(r->req, MEMLEASE_REQ_REPORT, r->spans + i, step);
		rc = ml_queue_call(&ml->queue, r->req);
		if (rc) {
			ml_failed(ml, "REPORT", rc);
			return rc;
		}
		atomic64_inc(&r->requests);
		asked = 0;
		for (count = 0; count < step; count++)
			asked += r->spans[i + count].count;
		done = le32_to_cpu(r->req->in.head.done_blocks);
		atomic64_add(done, &r->reported);
		r->offered += asked;
		if (done < asked)
			return -EAGAIN;
	}
	return 0;
}

static int ml_report_list(struct ml_device *ml, struct scatterlist *sgl, u32 nents)
{
	struct ml_report *r = &ml->report;
	struct scatterlist *sg;
	u32 i, n = 0;
	int rc;

	for_each_sg(sgl, sg, nents, i) {
		u64 addr = page_to_phys(sg_page(sg));

		/* A page may straddle the window's edge: two spans. */
		if (ml_report_ours(ml, addr, sg->length))
			n = ml_spans_add(&ml->fixed.layout, r->spans, n, addr, sg->length);
		if (n + 2 > MEMLEASE_MAX_EXTENTS) {
			rc = ml_report_send(ml, ml_spans_join(r->spans, n));
			if (rc)
				return rc;
			n = 0;
		}
	}
	return n ? ml_report_send(ml, ml_spans_join(r->spans, n)) : 0;
}

/*
 * Reporting by itself is in no hurry, unless programs take memory: then what is
 * isolated here goes back to them at once. The kernel's part of the work, finding
 * the pages, lies between two calls.
 */
static void ml_report_pace(struct ml_device *ml)
{
	struct ml_report *r = &ml->report;
	u64 now = ktime_get_ns();

	if (!READ_ONCE(r->hurry) && READ_ONCE(ml->grow.rate) < ML_PACE_BYTES_S)
		/* By half, because what waits here is memory that programs may want. */
		ml_pace(min_t(u64, now - r->paced_ns, ML_PACE_PIECE_NS) / 2);
	r->paced_ns = ktime_get_ns();
}

/*
 * The kernel hands us free pages, which nobody else can use until we return. It
 * queues its work on one workqueue and we queue it on another, so two passes can
 * run at a time: without the lock the second would write its pages into the
 * request of the first, and have them back in use before the host takes them.
 */
static int ml_report_pages(struct page_reporting_dev_info *prdev, struct scatterlist *sgl,
			   unsigned int nents)
{
	struct ml_report *r = container_of(prdev, struct ml_report, prdev);
	struct ml_device *ml = container_of(r, struct ml_device, report);
	struct scatterlist *sg;
	u64 bytes = 0;
	u32 i;
	int rc;

	if (READ_ONCE(r->held))
		return -EBUSY;
	for_each_sg(sgl, sg, nents, i)
		bytes += sg->length;
	atomic64_add(bytes, &r->isolated_bytes);
	mutex_lock(&r->one_pass);
	rc = ml_report_list(ml, sgl, nents);
	ml_report_pace(ml);
	mutex_unlock(&r->one_pass);
	atomic64_sub(bytes, &r->isolated_bytes);
	return rc;
}

/* Draining costs all CPUs a moment: not more often than needed to be in time. */
static bool ml_report_drain_due(struct ml_device *ml, bool now)
{
	struct ml_report *r = &ml->report;

	return (now || time_after(jiffies, r->last_drain + msecs_to_jiffies(r->drain_pause_ms))) &&
	       ml_drain_due();
}

static u32 ml_report_drive_once(struct ml_device *ml)
{
	struct ml_report *r = &ml->report;
	bool now = xchg(&r->now, false), drain = ml_report_drain_due(ml, now);
	u32 passes = 0;
	u64 before, refused;

	if (READ_ONCE(r->held))
		return r->interval_ms;
	if (!now && ((atomic_read(&r->prdev.state) != ML_PAGE_REPORTING_REQUESTED && !drain) ||
		     time_before(jiffies, READ_ONCE(ml->grow.last_add) +
					  msecs_to_jiffies(ML_GROWING_MS))))
		return r->interval_ms;
	if (drain) {
		r->drain_pause_ms = ml_drain() ? ML_DRAIN_PAUSE_MS :
				    min(2 * r->drain_pause_ms, ML_DRAIN_PAUSE_MAX_MS);
		r->last_drain = jiffies;
	}
	WRITE_ONCE(r->hurry, now);
	r->paced_ns = ktime_get_ns();
	do {
		before = r->offered;
		refused = r->offered - atomic64_read(&r->reported);
		atomic_set(&r->prdev.state, ML_PAGE_REPORTING_REQUESTED);
		/* Not on one that freezes: stopping for sleep waits for the flush. */
		mod_delayed_work(ml->wq, &r->prdev.work, 0);
		flush_delayed_work(&r->prdev.work);
		if (r->offered - atomic64_read(&r->reported) != refused)
			return ML_REFUSED_PAUSE_MS;
		if (r->offered == before)
			return r->interval_ms;
	} while (++passes < ML_PASSES_MAX && !READ_ONCE(r->held));
	return ML_PASS_PAUSE_MS;
}

static void ml_report_drive(struct work_struct *work)
{
	struct ml_report *r = container_of(to_delayed_work(work), struct ml_report, drive);
	struct ml_device *ml = container_of(r, struct ml_device, report);
	u32 pause_ms = ml_report_drive_once(ml);

	if (pause_ms && !READ_ONCE(r->held))
		queue_delayed_work(ml->wq, &r->drive, msecs_to_jiffies(pause_ms));
}

void ml_report_now(struct ml_device *ml)
{
	struct ml_report *r = &ml->report;

	if (!r->registered || READ_ONCE(r->held))
		return;
	WRITE_ONCE(r->now, true);
	mod_delayed_work(ml->wq, &r->drive, 0);
}

void ml_report_hold(struct ml_device *ml, bool held)
{
	struct ml_report *r = &ml->report;

	WRITE_ONCE(r->held, held);
	if (r->registered && !held)
		ml_report_now(ml);
}

int ml_report_init(struct ml_device *ml)
{
	struct ml_report *r = &ml->report;
	struct device *dev = &ml->vdev->dev;

	r->held = true;
	r->interval_ms = ML_REPORT_INTERVAL_MS;
	r->last_drain = jiffies;
	r->drain_pause_ms = ML_DRAIN_PAUSE_MS;
	r->status = -EOPNOTSUPP;
	mutex_init(&r->one_pass);
	INIT_DELAYED_WORK(&r->drive, ml_report_drive);
	if (!virtio_has_feature(ml->vdev, MEMLEASE_F_REPORTING))
		return 0;
	if (page_poisoning_enabled_static()) {
		dev_warn(dev, "page poisoning is on: free memory is not reported, because its pattern would be lost\n");
		return 0;
	}
	r->req = ml_request_alloc();
	r->spans = kcalloc(MEMLEASE_MAX_EXTENTS, sizeof(*r->spans), GFP_KERNEL);
	if (!r->req || !r->spans) {
		ml_request_free(r->req);
		kfree(r->spans);
		return -ENOMEM;
	}
	r->prdev.report = ml_report_pages;
	r->prdev.order = MEMLEASE_BLOCK_SHIFT - PAGE_SHIFT;
	r->status = page_reporting_register(&r->prdev);
	if (r->status)
		dev_warn(dev, "free memory is not reported (error %d): %s\n", r->status,
			 r->status == -EBUSY ? "another driver reports already, probably virtio_balloon: unload it" :
			 "the kernel refused");
	else
		r->registered = true;
	return 0;
}

void ml_report_exit(struct ml_device *ml)
{
	struct ml_report *r = &ml->report;

	ml_report_hold(ml, true);
	cancel_delayed_work_sync(&r->drive);
	if (r->registered)
		page_reporting_unregister(&r->prdev);
	r->registered = false;
	ml_request_free(r->req);
	kfree(r->spans);
}
