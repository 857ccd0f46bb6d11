// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Out of memory; see oom.h. The kernel holds its own lock of this path, so all that
 * growing does must work without it. Each wait is bounded: a host that does not
 * answer must not keep the kernel from helping itself.
 */
#include <linux/jiffies.h>
#include <linux/oom.h>
#include <linux/slab.h>

#include "../linux/meminfo.h"
#include "../think/need.h"
#include "../turn/turn.h"
#include "oom.h"

#define ML_OOM_WAIT_MS		5000
#define ML_OOM_SILENT_MS	100
#define ML_OOM_ATTEMPT_MS	10000	/* longer, while a memory block is being emptied */

struct ml_oom {
	struct ml_turn *turn;
	struct notifier_block notifier;
};

/* Has growing found something since, or seen that there is nothing? */
static bool ml_oom_answered(struct ml_turn *t, const struct ml_relief *before)
{
	struct ml_relief now = ml_turn_relief(t);

	return now.given_bytes != before->given_bytes || now.answered != before->answered ||
	       READ_ONCE(t->growing_held);
}

/* Has the split brought a block since, or tried all it could for what growing asked of it since? */
static bool ml_oom_split_answered(struct ml_turn *t, const struct ml_relief *before)
{
	struct ml_relief now = ml_turn_relief(t);

	return now.to_kernel != before->to_kernel ||
	       now.kernel_answered - before->kernel_asked > 0 || READ_ONCE(t->growing_held);
}

static u64 ml_oom_given(struct ml_turn *t, const struct ml_relief *before)
{
	return ml_turn_relief(t).given_bytes - before->given_bytes;
}

/* What is missing now, that we could bring? */
static enum ml_lack ml_oom_lack(void)
{
	return ml_lack_of(ml_kernel_tight(), ml_movable_free_bytes());
}

/* Wait for growing. Returns how many bytes that has brought. */
static u64 ml_oom_wait(struct ml_turn *t, const struct ml_relief *before)
{
	u64 free = ml_free_bytes(), added, now;
	bool attempt = ml_turn_attempt(t);

	ml_turn_urge(t);
	/* Others wait for the kernel's lock: of a host that has been away, no more than a moment. */
	wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_answered(t, before),
			   msecs_to_jiffies(ml_board_host_is_silent(t->board) ? ML_OOM_SILENT_MS :
					    ML_OOM_WAIT_MS));
	/*
	 * The kernel heeds the interruption only between batches of pages, and while
	 * memory is short a batch takes long. What is kept from use comes back then.
	 */
	if (ml_turn_attempt(t))
		wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_answered(t, before),
				   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	added = ml_oom_given(t, before);
	if (!added && attempt && !ml_turn_attempt(t)) {
		now = ml_free_bytes();
		added = now > free ? now - free : 0;
	}
	return added;
}

/* Only kernel memory is short, and a block of ours is on its way there. */
static u64 ml_oom_wait_split(struct ml_turn *t, const struct ml_relief *before)
{
	wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_split_answered(t, before),
			   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	return (ml_turn_relief(t).to_kernel - before->to_kernel) * t->blocks->mb_bytes;
}

/* The kernel is about to kill a process. */
static int ml_oom_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_turn *t = container_of(nb, struct ml_oom, notifier)->turn;
	struct ml_relief before = ml_turn_relief(t);
	unsigned long *freed = arg;
	u64 added;

	if (READ_ONCE(t->growing_held) || ml_oom_lack() == ML_LACKS_NOTHING)
		return NOTIFY_OK;
	added = ml_oom_wait(t, &before);
	if (!added && ml_turn_relief(t).kernel_asked != before.kernel_asked)
		added = ml_oom_wait_split(t, &before);
	if (!added && ml_oom_lack() == ML_LACKS_NOTHING)
		*freed += 1;	/* somebody gave back enough meanwhile */
	if (added) {
		atomic64_inc(&t->board->oom_rescues);
		*freed += added >> PAGE_SHIFT;
		dev_info_ratelimited(ml_wire_dev(t->wire), "out of memory: found %llu MiB more\n",
				     added >> 20);
	}
	return NOTIFY_OK;
}

int ml_oom_init(struct ml_turn *t, struct ml_oom **out)
{
	struct ml_oom *o = kzalloc(sizeof(*o), GFP_KERNEL);
	int rc;

	if (!o)
		return -ENOMEM;
	o->turn = t;
	o->notifier.notifier_call = ml_oom_notify;
	rc = register_oom_notifier(&o->notifier);
	if (rc) {
		kfree(o);
		return rc;
	}
	*out = o;
	return 0;
}

void ml_oom_exit(struct ml_oom *o)
{
	unregister_oom_notifier(&o->notifier);
	kfree(o);
}
