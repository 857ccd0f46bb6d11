// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sysfs files; see sysfs.h and docs/guest.md. One value a file, but for
 * `memory_blocks`, which is one line for each state.
 */
#include <linux/device.h>
#include <linux/kernel.h>

#include "../linux/meminfo.h"
#include "../think/choose.h"
#include "../think/stale.h"
#include "../work/anew.h"
#include "../work/defrag.h"
#include "../work/events.h"
#include "../work/grow.h"
#include "../work/query.h"
#include "../work/report.h"
#include "../work/shrink.h"
#include "../work/split.h"
#include "../work/trim.h"
#include "device.h"
#include "sysfs.h"

#define ML_DEFRAG_NOW_MS	60000

static struct ml_device *ml_of(struct device *dev)
{
	return dev_to_virtio(dev)->priv;
}

/* A file that shows one number. */
#define ML_SHOW(name, value)							\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	struct ml_device *ml __maybe_unused = ml_of(dev);			\
										\
	return sysfs_emit(buf, "%llu\n", (u64)(value));				\
}										\
static DEVICE_ATTR_RO(name)

ML_SHOW(committed_blocks, ml_blocks_borrowed(&ml->blocks));
ML_SHOW(window_blocks, (u64)ml->blocks.count * ml->blocks.slots_per_mb);
ML_SHOW(memory_block_blocks, ml->blocks.slots_per_mb);
ML_SHOW(limit, ml_wire_host(&ml->wire).limit_blocks);
ML_SHOW(reported_blocks, atomic64_read(&ml->board.reported_slots));
ML_SHOW(report_requests, ml_report_requests(ml->report));
ML_SHOW(reports_anew, ml_anew_times(ml->anew));
ML_SHOW(borrows, atomic64_read(&ml_grow_counts(ml->grow)->borrows));
ML_SHOW(borrowed_bytes, ml_turn_given_bytes(&ml->turn));
ML_SHOW(refusals, atomic64_read(&ml_grow_counts(ml->grow)->refusals));
ML_SHOW(oom_rescues, atomic64_read(&ml->board.oom_rescues));
ML_SHOW(offline_failures, READ_ONCE(ml->hotplug.offline_failures));
ML_SHOW(shrink_yields, ml_shrink_yields(ml->shrink));
ML_SHOW(online_failures, READ_ONCE(ml->hotplug.online_failures));
ML_SHOW(kernel_blocks, ml_blocks_kernel_count(&ml->blocks));
ML_SHOW(moved_to_kernel, ml_turn_taken(&ml->turn, ML_MOVABLE_TO_KERNEL));
ML_SHOW(moved_to_movable, ml_turn_taken(&ml->turn, ML_KERNEL_TO_MOVABLE));
ML_SHOW(kernel_returned, ml_split_returned(ml->split));
ML_SHOW(large_free_bytes, ml_board_large_free(&ml->board));
ML_SHOW(events, ml_events_count(ml->events));

/* A file that asks the host, which may take a moment or fail. */
#define ML_SHOW_FIGURE(name, format, ...)					\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	struct ml_device *ml __maybe_unused = ml_of(dev);			\
	struct ml_figures f;							\
	int rc = ml_query_figures(ml->query, &f);				\
										\
	return rc ? rc : sysfs_emit(buf, format "\n", __VA_ARGS__);		\
}										\
static DEVICE_ATTR_RO(name)

ML_SHOW_FIGURE(resident_blocks, "%llu", f.resident_blocks);
ML_SHOW_FIGURE(resident_boot_blocks, "%llu", f.resident_boot_blocks);
ML_SHOW_FIGURE(metered_block_seconds, "%llu.%03llu", f.metered_block_ms / MSEC_PER_SEC,
	       f.metered_block_ms % MSEC_PER_SEC);

ML_SHOW_FIGURE(stale_blocks, "%llu",
	       ml_stale_blocks(READ_ONCE(ml->board.hidden_most),
			       ml_board_hidden(&ml->board, f.committed_blocks, f.resident_blocks)));

static ssize_t target_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct ml_host host = ml_wire_host(&ml_of(dev)->wire);

	if (host.target_blocks == MEMLEASE_NO_TARGET)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%llu\n", host.target_blocks);
}
static DEVICE_ATTR_RO(target);

static ssize_t target_state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n",
			  ml_target_state_text(READ_ONCE(ml_of(dev)->board.target_state)));
}
static DEVICE_ATTR_RO(target_state);

static ssize_t last_refusal_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", ml_reason_text(READ_ONCE(ml_grow_counts(ml_of(dev)->grow)->last_reason)));
}
static DEVICE_ATTR_RO(last_refusal);

static ssize_t last_error_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", ml_wire_last_error(&ml_of(dev)->wire));
}
static DEVICE_ATTR_RO(last_error);

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct ml_device *ml = ml_of(dev);
	struct ml_host host = ml_wire_host(&ml->wire);

	if (READ_ONCE(ml->broken))
		return sysfs_emit(buf, "broken: %s\n", ml_broken_text(host.broken_reason));
	if (READ_ONCE(ml->sleepy))
		return sysfs_emit(buf, "asleep\n");
	return sysfs_emit(buf, "running\n");
}
static DEVICE_ATTR_RO(state);

static ssize_t reporting_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", ml_reporting_text(READ_ONCE(ml_of(dev)->board.reporting)));
}
static DEVICE_ATTR_RO(reporting);

static ssize_t memory_blocks_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct ml_device *ml = ml_of(dev);
	enum ml_state state;
	int at = 0;

	for (state = 0; state < ML_STATE_COUNT; state++)
		at += sysfs_emit_at(buf, at, "%s %u\n", ml_state_text(state),
				    ml_blocks_in(&ml->blocks, state));
	return at;
}
static DEVICE_ATTR_RO(memory_blocks);

/* What memory blocks were borrowed for. */
static ssize_t borrowed_for_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct ml_device *ml = ml_of(dev);
	enum ml_reason_grow why;
	int at = 0;

	for (why = 0; why < ML_FOR_COUNT; why++)
		at += sysfs_emit_at(buf, at, "%s %llu\n", ml_for_text(why),
				    (u64)atomic64_read(&ml_grow_counts(ml->grow)->added_for[why]));
	return at;
}
static DEVICE_ATTR_RO(borrowed_for);

static ssize_t low_mark_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct ml_device *ml = ml_of(dev);

	return sysfs_emit(buf, "%llu\n", ml_board_marks(&ml->board).low);
}

/* Bytes, with a suffix if you like; "auto" or 0 for the driver's own choice. */
static ssize_t low_mark_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	struct ml_device *ml = ml_of(dev);
	u64 bytes = 0;
	char *end;

	if (!sysfs_streq(buf, "auto")) {
		bytes = memparse(buf, &end);
		if (end == buf || (*end && *end != '\n') || bytes > ml_total_bytes())
			return -EINVAL;
	}
	WRITE_ONCE(ml->board.low_mark_bytes, bytes);
	ml_turn_wake(&ml->turn, ML_GROW);
	return count;
}
static DEVICE_ATTR_RW(low_mark);

static ssize_t report_interval_ms_show(struct device *dev, struct device_attribute *attr,
				       char *buf)
{
	return sysfs_emit(buf, "%u\n", ml_report_interval_ms(ml_of(dev)->report));
}

/* A time in ms, as written, at most so long. 0 or -errno. */
static int ml_parse_ms(const char *buf, u32 most_ms, u32 *ms)
{
	int rc = kstrtou32(buf, 0, ms);

	return rc ?: *ms > most_ms ? -EINVAL : 0;
}

/* 0 leaves the pace to the kernel: a sixteenth of the free memory every 2 s. */
static ssize_t report_interval_ms_store(struct device *dev, struct device_attribute *attr,
					const char *buf, size_t count)
{
	u32 ms;
	int rc = ml_parse_ms(buf, 3600 * MSEC_PER_SEC, &ms);

	if (rc)
		return rc;
	ml_report_set_interval(ml_of(dev)->report, ms);
	return count;
}
static DEVICE_ATTR_RW(report_interval_ms);

ML_SHOW(spare_returned, ml_shrink_spared(ml->shrink));

static ssize_t spare_after_ms_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", ml_shrink_spare_ms(ml_of(dev)->shrink));
}

/* 0 keeps what is borrowed until the host wants it. */
static ssize_t spare_after_ms_store(struct device *dev, struct device_attribute *attr,
				    const char *buf, size_t count)
{
	u32 ms;
	int rc = ml_parse_ms(buf, 24 * 3600 * MSEC_PER_SEC, &ms);

	if (rc)
		return rc;
	ml_shrink_set_spare(ml_of(dev)->shrink, ms);
	return count;
}
static DEVICE_ATTR_RW(spare_after_ms);

ML_SHOW(strewn_bytes, ml_defrag_strewn());
ML_SHOW(defrag_moved_pages, atomic64_read(&ml_defrag_counts(ml->defrag)->moved_pages));
ML_SHOW(defrag_cleared_blocks, atomic64_read(&ml_defrag_counts(ml->defrag)->cleared_blocks));
ML_SHOW(defrag_failures, atomic64_read(&ml_defrag_counts(ml->defrag)->failures));
ML_SHOW(defrag_rounds, atomic64_read(&ml_defrag_counts(ml->defrag)->rounds));
ML_SHOW(defrag_work_us, atomic64_read(&ml_defrag_counts(ml->defrag)->work_us));

ML_SHOW(cache_trimmed_bytes, ml_trim_bytes(ml->trim) + ml_shrink_trimmed_bytes(ml->shrink));

static ssize_t cache_trim_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", ml_trim_off(ml_of(dev)->trim) ? "off" : "auto");
}

/* "auto" or "off". A target takes page cache whatever this says. */
static ssize_t cache_trim_store(struct device *dev, struct device_attribute *attr,
				const char *buf, size_t count)
{
	if (!sysfs_streq(buf, "auto") && !sysfs_streq(buf, "off"))
		return -EINVAL;
	ml_trim_set_off(ml_of(dev)->trim, sysfs_streq(buf, "off"));
	return count;
}
static DEVICE_ATTR_RW(cache_trim);

static ssize_t defrag_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", ml_defrag_off(ml_of(dev)->defrag) ? "off" : "auto");
}

/* "auto" and "off" are about the background; "now" works until nothing is to be gained. */
static ssize_t defrag_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct ml_defrag *defrag = ml_of(dev)->defrag;

	if (sysfs_streq(buf, "now")) {
		ml_defrag_now(defrag, U32_MAX, ML_DEFRAG_NOW_MS, true);
		return count;
	}
	if (!sysfs_streq(buf, "auto") && !sysfs_streq(buf, "off"))
		return -EINVAL;
	ml_defrag_set_off(defrag, sysfs_streq(buf, "off"));
	return count;
}
static DEVICE_ATTR_RW(defrag);

static ssize_t defrag_policy_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u32 i, policy = ml_defrag_policy(ml_of(dev)->defrag);
	int at = 0;

	for (i = 0; i < ML_CHOOSERS; i++)
		at += sysfs_emit_at(buf, at, i == policy ? "%s[%s]" : "%s%s", i ? " " : "",
				    ml_choosers[i].name);
	return at + sysfs_emit_at(buf, at, "\n");
}

static ssize_t defrag_policy_store(struct device *dev, struct device_attribute *attr,
				   const char *buf, size_t count)
{
	u32 i;

	for (i = 0; i < ML_CHOOSERS; i++) {
		if (!sysfs_streq(buf, ml_choosers[i].name))
			continue;
		ml_defrag_set_policy(ml_of(dev)->defrag, i);
		return count;
	}
	return -EINVAL;
}
static DEVICE_ATTR_RW(defrag_policy);

static struct attribute *ml_sysfs_attrs[] = {
	&dev_attr_committed_blocks.attr,
	&dev_attr_resident_blocks.attr,
	&dev_attr_resident_boot_blocks.attr,
	&dev_attr_metered_block_seconds.attr,
	&dev_attr_window_blocks.attr,
	&dev_attr_memory_block_blocks.attr,
	&dev_attr_memory_blocks.attr,
	&dev_attr_limit.attr,
	&dev_attr_target.attr,
	&dev_attr_target_state.attr,
	&dev_attr_reporting.attr,
	&dev_attr_reported_blocks.attr,
	&dev_attr_report_requests.attr,
	&dev_attr_report_interval_ms.attr,
	&dev_attr_reports_anew.attr,
	&dev_attr_stale_blocks.attr,
	&dev_attr_borrows.attr,
	&dev_attr_borrowed_bytes.attr,
	&dev_attr_borrowed_for.attr,
	&dev_attr_kernel_blocks.attr,
	&dev_attr_moved_to_kernel.attr,
	&dev_attr_moved_to_movable.attr,
	&dev_attr_kernel_returned.attr,
	&dev_attr_spare_returned.attr,
	&dev_attr_spare_after_ms.attr,
	&dev_attr_large_free_bytes.attr,
	&dev_attr_refusals.attr,
	&dev_attr_last_refusal.attr,
	&dev_attr_last_error.attr,
	&dev_attr_oom_rescues.attr,
	&dev_attr_offline_failures.attr,
	&dev_attr_shrink_yields.attr,
	&dev_attr_online_failures.attr,
	&dev_attr_events.attr,
	&dev_attr_state.attr,
	&dev_attr_low_mark.attr,
	&dev_attr_strewn_bytes.attr,
	&dev_attr_defrag.attr,
	&dev_attr_cache_trim.attr,
	&dev_attr_cache_trimmed_bytes.attr,
	&dev_attr_defrag_policy.attr,
	&dev_attr_defrag_moved_pages.attr,
	&dev_attr_defrag_cleared_blocks.attr,
	&dev_attr_defrag_failures.attr,
	&dev_attr_defrag_rounds.attr,
	&dev_attr_defrag_work_us.attr,
	NULL,
};

/* In a kernel that dumps another there is nothing to show. */
static umode_t ml_sysfs_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	return ml_of(kobj_to_dev(kobj)) ? attr->mode : 0;
}

static const struct attribute_group ml_sysfs_group = {
	.is_visible = ml_sysfs_visible,
	.name = "memlease",
	.attrs = ml_sysfs_attrs,
};

const struct attribute_group *ml_sysfs_groups[] = {
	&ml_sysfs_group,
	NULL,
};
