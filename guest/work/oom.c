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
#define ML_OOM_AGAIN_MS		1000
#define ML_OOM_ATTEMPT_MS	10000	/* longer, while a memory block is being emptied */

struct ml_oom {
	struct ml_turn *turn;
	struct notifier_block notifier;
	unsigned long again_since;	/* jiffies; when the kernel was last sent to look again, */
	struct ml_relief again;		/* and what had been brought by then */
};

static u64 ml_oom_given(struct ml_turn *t, const struct ml_relief *before)
{
	return ml_turn_relief(t).given_bytes - before->given_bytes;
}

static u64 ml_oom_to_kernel(struct ml_turn *t, const struct ml_relief *before)
{
	return ml_turn_relief(t).to_kernel - before->to_kernel;
}

/* Has growing found something since, or seen that there is nothing? */
static bool ml_oom_answered(struct ml_turn *t, const struct ml_relief *before, int urge)
{
	return ml_oom_given(t, before) || ml_turn_urge_answered(t, urge) ||
	       READ_ONCE(t->growing_held);
}

/* Has the split brought a block since, or tried all it could for what growing asked of it? */
static bool ml_oom_split_answered(struct ml_turn *t, const struct ml_relief *before, int plea)
{
	return ml_oom_to_kernel(t, before) || ml_turn_split_answered(t, plea) ||
	       READ_ONCE(t->growing_held);
}

/* What is missing now to the current task, that we could bring? */
static enum ml_lack ml_oom_lack(struct ml_turn *t)
{
	nodemask_t nodes = ml_nodes_of_current();

	if (!node_isset(t->hotplug->nid, nodes))
		return ML_LACKS_NOTHING;
	return ml_lack_of(ml_kernel_tight(&nodes), ml_movable_free_on(&nodes));
}

/* Wait for growing. Returns how many bytes that has brought. */
static u64 ml_oom_wait(struct ml_turn *t, const struct ml_relief *before, enum ml_lack lack)
{
	u64 free = ml_free_bytes(), added, now;
	bool attempt = ml_turn_attempt(t);
	int urge = ml_turn_urge(t, lack == ML_LACKS_KERNEL);

	/* Others wait for the kernel's lock: of a host that has been away, no more than a moment. */
	wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_answered(t, before, urge),
			   msecs_to_jiffies(ml_board_host_is_silent(t->board) ? ML_OOM_SILENT_MS :
					    ML_OOM_WAIT_MS));
	/*
	 * The kernel heeds the interruption only between batches of pages, and while
	 * memory is short a batch takes long. What is kept from use comes back then.
	 */
	if (ml_turn_attempt(t))
		wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_answered(t, before, urge),
				   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	added = ml_oom_given(t, before);
	if (!added && attempt && !ml_turn_attempt(t)) {
		now = ml_free_bytes();
		added = now > free ? now - free : 0;
	}
	return added;
}

/* A block is being given to Linux, of which the kernel saw nothing yet, or too little: wait for that. */
static u64 ml_oom_wait_arriving(struct ml_turn *t, const struct ml_relief *before)
{
	if (!ml_oom_given(t, before) && ml_turn_arriving(t))
		wait_event_timeout(*ml_turn_relief_waitqueue(t),
				   ml_oom_given(t, before) || !ml_turn_arriving(t),
				   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	return ml_oom_given(t, before);
}

/* A block of ours is on its way to the kernel, perhaps: wait for that. */
static u64 ml_oom_wait_split(struct ml_turn *t, const struct ml_relief *before)
{
	int plea = ml_turn_split_plea(t);

	wait_event_timeout(*ml_turn_relief_waitqueue(t), ml_oom_split_answered(t, before, plea),
			   msecs_to_jiffies(ML_OOM_ATTEMPT_MS));
	return ml_oom_to_kernel(t, before) * t->blocks->mb_bytes;
}

/*
 * The task lacks nothing that we could bring, by now: something came between the kernel's look
 * and ours, or it wants what it may not have. So the kernel looks once more; who comes back
 * with the same is killed, unless something has come meanwhile.
 */
static bool ml_oom_look_again(struct ml_oom *o)
{
	struct ml_relief now = ml_turn_relief(o->turn);

	if (now.given_bytes == o->again.given_bytes && now.to_kernel == o->again.to_kernel &&
	    time_before(jiffies, o->again_since + msecs_to_jiffies(ML_OOM_AGAIN_MS)))
		return false;
	o->again = now;
	o->again_since = jiffies;
	return true;
}

static void ml_oom_found(struct ml_turn *t, u64 added)
{
	atomic64_inc(&t->board->oom_rescues);
	dev_info_ratelimited(ml_wire_dev(t->wire), "out of memory: found %llu MiB more\n", added >> 20);
}

static void ml_oom_found_nothing(struct ml_turn *t, enum ml_lack lack)
{
	dev_info_ratelimited(ml_wire_dev(t->wire),
			     "out of memory: found nothing (%s is short; %llu of %llu blocks borrowed)\n",
			     ml_lack_text(lack), ml_blocks_borrowed(t->blocks),
			     ml_wire_host(t->wire).limit_blocks);
}

/* The kernel is about to kill a process. It holds oom_lock: one call at a time. */
static int ml_oom_notify(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct ml_oom *o = container_of(nb, struct ml_oom, notifier);
	struct ml_turn *t = o->turn;
	struct ml_relief before = ml_turn_relief(t);
	enum ml_lack lack = ml_oom_lack(t);
	int plea = ml_turn_split_plea(t);
	unsigned long *freed = arg;
	u64 added = 0;

	if (READ_ONCE(t->growing_held))
		return NOTIFY_OK;
	if (lack != ML_LACKS_NOTHING) {
		added = ml_oom_wait(t, &before, lack);
		if (!added && (lack == ML_LACKS_KERNEL || ml_turn_split_plea(t) != plea))
			added = ml_oom_wait_split(t, &before);
	}
	if (!added)
		added = ml_oom_wait_arriving(t, &before);
	if (added)
		ml_oom_found(t, added);
	else if (ml_oom_lack(t) != ML_LACKS_NOTHING)
		ml_oom_found_nothing(t, lack);
	else if (lack != ML_LACKS_NOTHING || ml_oom_look_again(o))
		added = PAGE_SIZE;	/* somebody gave back enough meanwhile */
	else
		ml_oom_found_nothing(t, lack);
	*freed += added >> PAGE_SHIFT;
	return NOTIFY_OK;
}

int ml_oom_init(struct ml_turn *t, struct ml_oom **out)
{
	struct ml_oom *o = kzalloc(sizeof(*o), GFP_KERNEL);
	int rc;

	if (!o)
		return -ENOMEM;
	o->turn = t;
	o->again_since = jiffies - msecs_to_jiffies(ML_OOM_AGAIN_MS);
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
