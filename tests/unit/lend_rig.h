/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of lend/ share: a lender on a real tmpfs with a clock of the
 * test's own, counters of its hooks, short names for what tests do often.
 */
#ifndef ML_TESTS_UNIT_LEND_RIG_H
#define ML_TESTS_UNIT_LEND_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../host/base/log.h"
#include "../../host/lend/lend.h"
#include "../../host/lend/loan.h"
#include "../../host/lend/open.h"
#include "../lib/lend_validate.h"
#include "scratch.h"

#define POOL_BLOCKS 24
#define PERIOD_S 3600
#define START_MS 1750001200000LL	/* 1600 s into an hour */
#define S_NS 1000000000ULL
#define BOOT MEMLEASE_REGION_BOOT
#define WINDOW MEMLEASE_REGION_WINDOW

struct seen {
	unsigned int events[LEND_EV_TYPES];
	unsigned int served, config, report_now, target, retired;
	uint64_t served_slot, retired_slot;
};

struct fixture {
	struct scratch scratch;
	struct lender_config config;
	struct lend_hooks hooks;
	struct lender *l;
	struct seen seen;
	uint64_t boot_ns, step_ns;	/* the time, and by how much each look at it moves it on */
	int64_t wall_ms;
	struct ml_clock clock;
};

static inline uint64_t fake_boot_ns(void *ctx)
{
	return ((struct fixture *)ctx)->boot_ns += ((struct fixture *)ctx)->step_ns;
}

static inline int64_t fake_wall_ms(void *ctx)
{
	return ((struct fixture *)ctx)->wall_ms;
}

static inline void pass_ms(struct fixture *f, uint64_t ms)
{
	f->boot_ns += ms * 1000000;
	f->wall_ms += (int64_t)ms;
}

static inline void on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct seen *s = &((struct fixture *)ctx)->seen;

	(void)vm;
	(void)region;
	s->served++;
	s->served_slot = slot;
}

static inline void on_config(void *ctx, struct lend_vm *vm)
{
	(void)vm;
	((struct fixture *)ctx)->seen.config++;
}

static inline void on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			   uint32_t seq, uint64_t a, uint64_t b)
{
	struct seen *s = &((struct fixture *)ctx)->seen;

	(void)vm;
	(void)seq;
	(void)b;
	if (type == MEMLEASE_EV_RETIRED) {
		s->retired++;
		s->retired_slot = a;
	}
	s->report_now += type == MEMLEASE_EV_REPORT_NOW;
	s->target += type == MEMLEASE_EV_TARGET;
}

static inline void on_event(void *ctx, const struct lend_event *e)
{
	((struct fixture *)ctx)->seen.events[e->type]++;
}

/* Jobs are done in slices of so many blocks, by the next lender too. */
static inline void set_slices(struct fixture *f, uint32_t blocks)
{
	f->config.slice_blocks = blocks;
	f->l->slice_blocks = blocks;
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_make(&f->scratch, 2 * POOL_BLOCKS + 16), 0);
	f->boot_ns = 1000 * S_NS;
	f->wall_ms = START_MS;
	f->clock = (struct ml_clock){ fake_boot_ns, fake_wall_ms, f };
	f->config = (struct lender_config){
		.state_dir = f->scratch.state, .pool_dir = f->scratch.pool,
		.ledger_path = f->scratch.ledger, .pool_blocks = POOL_BLOCKS,
		.period_s = PERIOD_S, .clock = &f->clock,
	};
	f->hooks = (struct lend_hooks){ on_served, on_config, on_guest_event, on_event, f };
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	lender_close(f->l);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

static inline struct lend_vm *make_vm(struct fixture *f, const char *name, uint64_t boot, uint64_t limit,
			       uint64_t guarantee)
{
	struct vm_spec spec = { .boot_blocks = boot, .limit_blocks = limit,
				.guarantee_blocks = guarantee, .weight = 100 };
	struct lend_vm *vm = NULL;
	struct ml_why why = { "" };

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	snprintf(spec.tenant, sizeof(spec.tenant), "acme");
	snprintf(spec.plan, sizeof(spec.plan), "small");
	if (lend_vm_create(f->l, &spec, &vm, &why) < 0)
		fail_msg("create %s: %s", name, why.text);
	return vm;
}

/* A process that stands for a QEMU, and is this one's: it has nothing of the lender's open. */
static inline pid_t start_process(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close_range(STDERR_FILENO + 1, ~0U, 0);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static inline void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static inline uint64_t borrow(struct lend_vm *vm, uint64_t first, uint64_t count,
		       enum memlease_reason *reason)
{
	uint64_t done = 99999;

	assert_int_equal(lend_borrow(vm, first, count, &done, reason), 0);
	return done;
}

static inline uint64_t report(struct lend_vm *vm, enum memlease_region r, uint64_t first, uint64_t count)
{
	enum memlease_reason reason;
	uint64_t done = 99999;

	assert_int_equal(lend_report(vm, r, first, count, &done, &reason), 0);
	return done;
}

static inline struct vm_status status(struct lend_vm *vm)
{
	struct vm_status st;

	lend_vm_status(vm, &st);
	return st;
}

static inline struct pool_status pool_status(struct fixture *f)
{
	struct pool_status st;

	lender_status(f->l, &st);
	return st;
}

/* Sum of a ledger column over a VM's rows, or all VMs for NULL. */
static inline int64_t ledger_sum(struct fixture *f, const char *column, const char *vm)
{
	char sql[256];
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t v;

	snprintf(sql, sizeof(sql),
		 "SELECT coalesce(sum(%s), 0) FROM usage JOIN vm ON vm.id = usage.vm WHERE name LIKE '%s'",
		 column, vm ? vm : "%");
	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return v;
}

static inline void settle_ledger(struct fixture *f)
{
	lender_tick(f->l);
	ledger_drain(f->l->ledger);
	lender_tick(f->l);
	ledger_drain(f->l->ledger);
}

#endif /* ML_TESTS_UNIT_LEND_RIG_H */
