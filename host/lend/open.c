// SPDX-License-Identifier: GPL-2.0-or-later
/* The lender as a whole, see lend.h: opened once by daemon/, called by its loop, closed. */
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/step.h"
#include "clean.h"
#include "compact.h"
#include "direct.h"
#include "loan.h"
#include "mark.h"
#include "orphan.h"
#include "recover.h"
#include "serve.h"
#include "supply.h"
#include "tell.h"
#include "told.h"
#include "turn.h"
#include "usage.h"
#include "vm.h"

#define LOCK_NAME "lock"
#define DAY_S 86400
#define OVERBOOK_PERCENT_MAX 100000

static int check_config(const struct lender_config *c)
{
	if (!c->pool_blocks || c->pool_blocks > TABLE_BLOCKS_MAX) {
		ml_err("a pool of %" PRIu64 " blocks: from 1 to %u are possible", c->pool_blocks,
		       TABLE_BLOCKS_MAX);
		return -EINVAL;
	}
	if (!c->period_s || c->period_s > DAY_S || DAY_S % c->period_s) {
		ml_err("a metering period of %u s does not divide a day; take 60, 300 or 3600",
		       c->period_s);
		return -EINVAL;
	}
	if (c->overbook_percent > OVERBOOK_PERCENT_MAX) {
		ml_err("overbooking of %u %% is above the most, %d", c->overbook_percent,
		       OVERBOOK_PERCENT_MAX);
		return -EINVAL;
	}
	return 0;
}

/* One daemon per state directory: the lock goes when its holder does, however it ends. */
static int open_state_dir(struct lender *l)
{
	if (mkdir(l->state_dir, 0700) < 0 && errno != EEXIST) {
		ml_err("state directory %s: %m", l->state_dir);
		return -errno;
	}
	l->state_fd = open(l->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->state_fd >= 0)
		l->lock_fd = openat(l->state_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->lock_fd < 0) {
		ml_err("state directory %s: %m", l->state_dir);
		return -errno;
	}
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		ml_err("state directory %s is held by another memleased; stop it, or name another directory",
		       l->state_dir);
		return -EBUSY;
	}
	return 0;
}

/*
 * It is no block table, or none that this daemon can read. What is lent stands in the VMs'
 * records, too, or is known to the source, so a new one can be made.
 */
static int put_table_aside(struct lender *l)
{
	char aside[NAME_MAX + 1] = "", text[ML_WHY_BYTES];
	int ret;

	ml_step("set aside");
	ret = ml_set_aside(l->state_fd, POOL_TABLE_FILE, aside, sizeof(aside));
	if (ret < 0)
		return ret;
	snprintf(text, sizeof(text), "the block table " POOL_TABLE_FILE " is damaged, or of another version. It was renamed to %s, and a new one was made of what VMs have",
		 aside);
	ml_err("%s: %s", l->state_dir, text);
	tell_event(l, LEND_EV_SET_ASIDE, NULL, text);
	return 0;
}

/* A pool that is smaller than what VMs have would be no reason to leave them all waiting. */
static void tell_least(struct lender *l, uint32_t need)
{
	char text[240];

	snprintf(text, sizeof(text),
		 "a pool of %" PRIu64 " blocks of 2 MiB is too small for what is lent: it has %u until it is started again, with at least so many or when VMs have ended",
		 l->config.pool_blocks, need);
	ml_err("%s", text);
	tell_event(l, LEND_EV_SETTING, NULL, text);
}

static int open_pool(struct lender *l)
{
	struct pool_range ranges[BACKEND_RANGES_MAX];
	struct pool_setup setup = {
		.dirfd = l->state_fd,
		.blocks = (uint32_t)l->config.pool_blocks,
		.zeroed_on_map = l->backend->zeroes_itself,
		.boot_id = l->boot_id,
		.ranges = l->backend->range_count ? ranges : NULL,
		.range_count = l->backend->range_count,
	};
	bool old_boot = false;
	uint32_t need = 0;
	int ret;

	/* Without it, what another boot left in memory would be taken for zeros. */
	if (!l->boot_id[0]) {
		ml_err("/proc/sys/kernel/random/boot_id cannot be read, so nobody can tell which boot the block table is of; mount /proc");
		return -ENOENT;
	}
	for (unsigned int i = 0; i < l->backend->range_count; i++) {
		const struct backend_range *r = &l->backend->ranges[i];

		ranges[i] = (struct pool_range){
			.first = r->first_block, .blocks = r->blocks, .base = r->base,
			.node = (int16_t)r->node, .tier = (uint8_t)r->tier,
		};
	}
	ret = mark_check(l->state_fd, l->backend);
	if (ret < 0)
		return ret;
	ret = pool_open(&l->pool, &setup, &old_boot, &need);
	if (ret == -EUCLEAN && put_table_aside(l) == 0)
		ret = pool_open(&l->pool, &setup, &old_boot, &need);
	if (ret == -EBUSY && !l->backend->blocks) {
		tell_least(l, need);
		l->config.pool_blocks = setup.blocks = need;
		ret = pool_open(&l->pool, &setup, &old_boot, &need);
	}
	if (ret == -EBUSY)
		ml_err("a pool of %u blocks is too small for what is lent: start with at least %u, or end VMs first",
		       setup.blocks, need);
	else if (ret < 0)
		ml_err("block table in %s: %s", l->state_dir,
		       ret == -EUCLEAN ? "not one of this version" : strerror(-ret));
	return ret;
}

static int open_ledger(struct lender *l, unsigned int flags)
{
	struct ml_why why;
	int ret = ledger_open(&l->ledger, l->ledger_path, !(flags & LENDER_LEDGER_INLINE),
			      &why);

	if (ret < 0)
		ml_err("ledger: %s", why.text);
	return ret;
}

static struct lender *lender_new(const struct lender_config *config,
				 const struct lend_hooks *hooks)
{
	struct lender *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->config = *config;
	l->slice_blocks = config->slice_blocks ? config->slice_blocks : LEND_SLICE_BLOCKS;
	l->hooks = *hooks;
	l->state_fd = -1;
	l->lock_fd = -1;
	l->state_dir = strdup(config->state_dir);
	l->ledger_path = strdup(config->ledger_path);
	ml_boot_id(l->boot_id);
	return l;
}

/* Let go of everything in memory; the files stay as they are. */
static void lender_free(struct lender *l)
{
	struct lend_vm *vm, **at = &l->jobs;

	/* Those that only reset are on the list of VMs, too. */
	while ((vm = *at)) {
		if (vm->state == VM_ENDING)
			at = &vm->job_next;
		else
			*at = vm->job_next;
	}
	while ((vm = l->first)) {
		l->first = vm->next;
		vm_free(vm);
	}
	while ((vm = l->ended)) {
		l->ended = vm->next;
		vm_free(vm);
	}
	while ((vm = l->jobs)) {
		l->jobs = vm->job_next;
		vm_free(vm);
	}
	ledger_close(l->ledger);
	compact_free(l);
	clean_stop(l);
	supply_free(l);
	serve_free(l);
	orphan_free(l);
	pool_close(&l->pool);
	if (l->backend)
		l->backend->ops->free(l->backend);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	if (l->state_fd >= 0)
		close(l->state_fd);
	free(l->state_dir);
	free(l->ledger_path);
	free(l);
}

static int init_parts(struct lender *l)
{
	int ret = serve_init(l);

	if (ret == 0)
		ret = supply_init(l);
	return ret < 0 ? ret : compact_init(l);
}

/* What is offered counts as clean, and some is to be left besides. */
static int start_zeroing(struct lender *l)
{
	uint32_t least = 2 * supply_want(l);

	return clean_start(l, least > ZERO_LEAST_CLEAN ? least : ZERO_LEAST_CLEAN);
}

int lender_open_on(struct lender **out, const struct lender_config *config,
		   const struct lend_hooks *hooks, struct backend *backend, unsigned int flags)
{
	struct lender *l = lender_new(config, hooks);
	int ret = -ENOMEM;

	*out = NULL;
	if (!l) {
		backend->ops->free(backend);
		return ret;
	}
	l->backend = backend;
	l->loans = backend->serves_touches ? &told_loans : &direct_loans;
	if (backend->blocks)
		l->config.pool_blocks = backend->blocks;
	if (l->state_dir && l->ledger_path)
		ret = init_parts(l);
	if (ret == 0)
		ret = check_config(&l->config);
	if (ret == 0)
		ret = open_state_dir(l);
	if (ret == 0)
		ret = open_pool(l);
	if (ret == 0)
		ret = open_ledger(l, flags);
	if (ret == 0)
		ret = recover(l);
	if (ret == 0 && !backend->zeroes_itself && !(flags & LENDER_NO_ZEROING))
		ret = start_zeroing(l);
	if (ret < 0) {
		lender_free(l);
		return ret;
	}
	turn_tick(l);
	*out = l;
	return 0;
}

int lender_open(struct lender **out, const struct lender_config *config,
		const struct lend_hooks *hooks)
{
	struct backend *backend;
	int ret;

	*out = NULL;
	if (config->backend)
		return lender_open_on(out, config, hooks, config->backend, 0);
	ret = check_config(config);
	if (ret == 0)
		ret = backend_file_open(&backend, config->pool_dir, config->pool_blocks);
	return ret < 0 ? ret : lender_open_on(out, config, hooks, backend, 0);
}

void lender_close(struct lender *l)
{
	if (!l)
		return;
	usage_post_all(l, lend_now(l), ml_wall_ms(l->config.clock));
	ledger_drain(l->ledger);
	usage_collect(l);
	lender_free(l);
}

/* --- the event loop's calls --- */

int lender_event_fds(const struct lender *l, int fds[2])
{
	int n = 0;

	if (l->backend->event_fd >= 0)
		fds[n++] = l->backend->event_fd;
	if (clean_fd(l) >= 0)
		fds[n++] = clean_fd(l);
	return n;
}

void lender_tick(struct lender *l)
{
	turn_tick(l);
}

uint64_t lender_next_tick_boot_ns(const struct lender *l)
{
	return turn_next_tick_ns(l);
}

void lender_events(struct lender *l)
{
	turn_events(l);
}

bool lender_has_work(const struct lender *l)
{
	return turn_has_work(l);
}

void lender_work(struct lender *l)
{
	turn_work(l);
}
