// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ on the backend `file`, on a real tmpfs: what guests and operators ask,
 * waits, the end, the daemon's death and return, files filled behind its back.
 */
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
#include <sys/wait.h>

#include "../../host/base/log.h"
#include "../../host/lend/lender.h"
#include "scratch.h"

#define POOL_BLOCKS 24
#define PERIOD_S 3600
#define START_MS 1750001200000LL	/* 1600 s into an hour */
#define S_NS 1000000000ULL
#define BOOT MEMLEASE_REGION_BOOT
#define WINDOW MEMLEASE_REGION_WINDOW

struct seen {
	unsigned int events[LEND_EV_MISMATCH + 1];
	unsigned int served, config, report_now, target;
	uint64_t served_slot;
};

struct fixture {
	struct scratch scratch;
	struct lender_config config;
	struct lend_hooks hooks;
	struct lender *l;
	struct seen seen;
	uint64_t boot_ns;
	int64_t wall_ms;
	struct ml_clock clock;
};

static uint64_t fake_boot_ns(void *ctx)
{
	return ((struct fixture *)ctx)->boot_ns;
}

static int64_t fake_wall_ms(void *ctx)
{
	return ((struct fixture *)ctx)->wall_ms;
}

static void pass_ms(struct fixture *f, uint64_t ms)
{
	f->boot_ns += ms * 1000000;
	f->wall_ms += (int64_t)ms;
}

static void on_served(void *ctx, struct lend_vm *vm, enum memlease_region region, uint64_t slot)
{
	struct seen *s = &((struct fixture *)ctx)->seen;

	(void)vm;
	(void)region;
	s->served++;
	s->served_slot = slot;
}

static void on_config(void *ctx, struct lend_vm *vm)
{
	(void)vm;
	((struct fixture *)ctx)->seen.config++;
}

static void on_guest_event(void *ctx, struct lend_vm *vm, enum memlease_event_type type,
			   uint32_t seq, uint64_t a, uint64_t b)
{
	struct seen *s = &((struct fixture *)ctx)->seen;

	(void)vm;
	(void)seq;
	(void)a;
	(void)b;
	s->report_now += type == MEMLEASE_EV_REPORT_NOW;
	s->target += type == MEMLEASE_EV_TARGET;
}

static void on_event(void *ctx, const struct lend_event *e)
{
	((struct fixture *)ctx)->seen.events[e->type]++;
}

static int setup(void **state)
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

static int teardown(void **state)
{
	struct fixture *f = *state;

	lender_close(f->l);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

static struct lend_vm *make_vm(struct fixture *f, const char *name, uint64_t boot, uint64_t limit,
			       uint64_t guarantee)
{
	struct vm_spec spec = { .boot_blocks = boot, .limit_blocks = limit,
				.guarantee_blocks = guarantee, .weight = 100 };
	struct lend_vm *vm = NULL;
	char why[256] = "";

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	snprintf(spec.tenant, sizeof(spec.tenant), "acme");
	snprintf(spec.plan, sizeof(spec.plan), "small");
	if (lend_vm_create(f->l, &spec, &vm, why, sizeof(why)) < 0)
		fail_msg("create %s: %s", name, why);
	return vm;
}

static uint64_t borrow(struct lend_vm *vm, uint64_t first, uint64_t count,
		       enum memlease_reason *reason)
{
	uint64_t done = 99999;

	assert_int_equal(lend_borrow(vm, first, count, &done, reason), 0);
	return done;
}

static uint64_t report(struct lend_vm *vm, enum memlease_region r, uint64_t first, uint64_t count)
{
	enum memlease_reason reason;
	uint64_t done = 99999;

	assert_int_equal(lend_report(vm, r, first, count, &done, &reason), 0);
	return done;
}

static struct vm_status status(struct lend_vm *vm)
{
	struct vm_status st;

	lend_vm_status(vm, &st);
	return st;
}

static struct pool_status pool_status(struct fixture *f)
{
	struct pool_status st;

	lender_status(f->l, &st);
	return st;
}

/* Sum of a ledger column over a VM's rows, or all VMs for NULL. */
static int64_t ledger_sum(struct fixture *f, const char *column, const char *vm)
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

static void settle_ledger(struct fixture *f)
{
	lender_tick(f->l);
	ledger_drain(f->l->ledger);
	lender_tick(f->l);
	ledger_drain(f->l->ledger);
}

static void life_of_a_slot(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	enum memlease_reason why;
	uint64_t done;

	assert_int_equal(status(vm).committed_blocks, 2);
	assert_int_equal(lend_region_blocks(vm, WINDOW), 8);
	assert_false(lend_committed(vm, WINDOW, 0, 1));
	assert_true(lend_committed(vm, BOOT, 0, 2));
	assert_int_equal(borrow(vm, 0, 4, &why), 4);
	assert_int_equal(why, MEMLEASE_WHY_OK);
	assert_int_equal(borrow(vm, 0, 4, &why), 4);	/* twice as once */
	assert_int_equal(status(vm).committed_blocks, 6);
	assert_false(lend_resident(vm, WINDOW, 1));
	assert_int_equal(lend_touch(vm, WINDOW, 1), 0);
	assert_int_equal(lend_touch(vm, WINDOW, 1), 0);
	assert_int_equal(lend_touch(vm, BOOT, 0), 0);
	assert_true(lend_resident(vm, WINDOW, 1));
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(status(vm).boot_resident_blocks, 1);
	assert_int_equal(status(vm).touches, 2);
	assert_int_equal(pool_status(f).fs_resident_blocks, 2);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS - 2);
	lender_validate(f->l);

	assert_int_equal(report(vm, WINDOW, 0, 4), 4);
	assert_int_equal(status(vm).resident_blocks, 1);
	assert_int_equal(status(vm).reported_blocks, 1);
	assert_true(lend_committed(vm, WINDOW, 0, 4));
	assert_int_equal(lend_touch(vm, WINDOW, 3), 0);
	assert_int_equal(lend_return(vm, 0, 8, &done, &why), 0);
	assert_int_equal(done, 8);
	assert_int_equal(lend_return(vm, 0, 8, &done, &why), 0);
	assert_int_equal(done, 8);
	assert_int_equal(status(vm).committed_blocks, 2);
	assert_int_equal(pool_status(f).fs_resident_blocks, 1);
	lender_validate(f->l);
}

static void reported_slots_read_zeros_and_others_keep(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, 4, 0);
	enum memlease_reason why;
	unsigned char *p;

	borrow(vm, 0, 3, &why);
	for (uint64_t s = 0; s < 3; s++)
		assert_int_equal(lend_touch(vm, WINDOW, s), 0);
	p = mmap(NULL, 3 * MEMLEASE_BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		 lend_region_fd(vm, WINDOW), 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 0xa5, 3 * MEMLEASE_BLOCK_BYTES);
	report(vm, WINDOW, 1, 1);
	assert_int_equal(lend_touch(vm, WINDOW, 1), 0);
	assert_int_equal(p[MEMLEASE_BLOCK_BYTES - 1], 0xa5);
	assert_int_equal(p[2 * MEMLEASE_BLOCK_BYTES], 0xa5);
	for (size_t i = 0; i < MEMLEASE_BLOCK_BYTES; i++)
		assert_int_equal(p[MEMLEASE_BLOCK_BYTES + i], 0);
	munmap(p, 3 * MEMLEASE_BLOCK_BYTES);
	assert_int_equal(pool_status(f).fs_resident_blocks, 3);
}

static void grants_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	enum memlease_reason why;
	char text[256] = "";

	assert_int_equal(lend_set_limit(vm, 7, text, sizeof(text)), 0);
	assert_int_equal(borrow(vm, 0, 8, &why), 5);
	assert_int_equal(why, MEMLEASE_WHY_LIMIT);
	assert_int_equal(lend_set_limit(vm, 11, text, sizeof(text)), -EINVAL);
	assert_non_null(strstr(text, "22M"));
	assert_int_equal(lend_set_limit(vm, 10, text, sizeof(text)), 0);
	assert_int_equal(lend_set_target(vm, 8, 1000, text, sizeof(text)), 0);
	assert_int_equal(f->seen.target, 1);
	assert_int_equal(borrow(vm, 0, 8, &why), 6);
	assert_int_equal(why, MEMLEASE_WHY_TARGET);
	assert_int_equal(lend_set_target(vm, 1, 1000, text, sizeof(text)), -EINVAL);
	assert_int_equal(lend_set_target(vm, 4, 99, text, sizeof(text)), -EINVAL);
	assert_int_equal(lend_set_target(vm, MEMLEASE_NO_TARGET, 0, text, sizeof(text)), 0);
	assert_int_equal(borrow(vm, 0, 8, &why), 8);
	assert_int_equal(lend_set_guarantee(vm, 11, text, sizeof(text)), -EINVAL);
	assert_int_equal(lend_set_guarantee(vm, 9, text, sizeof(text)), 0);
	assert_int_equal(lend_set_limit(vm, 8, text, sizeof(text)), -EINVAL);
	lender_validate(f->l);
}

static void config_space(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	struct memlease_config c;
	char text[256];

	lend_set_limit(vm, 9, text, sizeof(text));
	lend_set_target(vm, 5, 700, text, sizeof(text));
	lend_break(vm, MEMLEASE_BROKEN_RANGE, "extent outside");
	lend_break(vm, MEMLEASE_BROKEN_RING, "later");
	lend_vm_config(vm, &c);
	assert_int_equal(c.version, MEMLEASE_ABI_VERSION);
	assert_int_equal(c.flags, MEMLEASE_CFG_BROKEN);
	assert_int_equal(c.broken_reason, MEMLEASE_BROKEN_RANGE);
	assert_int_equal(c.window_bytes, 8 * MEMLEASE_BLOCK_BYTES);
	assert_int_equal(c.limit_blocks, 7);
	assert_int_equal(c.target_blocks, 3);
	assert_int_equal(c.target_deadline_ms, 700);
	assert_int_equal(c.window_addr, 0);
	assert_int_equal(f->seen.events[LEND_EV_VM_BROKEN], 1);
	lend_reset(vm);
	lend_vm_config(vm, &c);
	assert_int_equal(c.flags, 0);
	assert_true(c.target_blocks == MEMLEASE_NO_TARGET);
	assert_string_equal(status(vm).broken_text, "");
}

static void a_short_pool_makes_touches_wait(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *a = make_vm(f, "a", 1, POOL_BLOCKS + 1, 0);
	struct lend_vm *b = make_vm(f, "b", 1, 5, 2);
	enum memlease_reason why;

	assert_int_equal(lend_vm_attach(a, getpid()), 0);
	borrow(a, 0, POOL_BLOCKS, &why);
	borrow(b, 0, 4, &why);
	/* b's guarantee of 2 is kept free for it. */
	for (uint64_t s = 0; s < POOL_BLOCKS - 2; s++)
		assert_int_equal(lend_touch(a, WINDOW, s), 0);
	assert_int_equal(lend_touch(a, WINDOW, POOL_BLOCKS - 2), -EAGAIN);
	assert_int_equal(lend_touch(a, WINDOW, POOL_BLOCKS - 2), -EAGAIN);
	assert_int_equal(pool_status(f).waiting, 1);
	assert_int_equal(f->seen.events[LEND_EV_POOL_SHORT], 1);
	assert_int_equal(f->seen.report_now, 1);
	assert_int_equal(lend_touch(b, WINDOW, 0), 0);
	assert_int_equal(lend_touch(b, WINDOW, 1), 0);
	pass_ms(f, 1);
	assert_int_equal(lend_touch(b, WINDOW, 2), -EAGAIN);
	lender_validate(f->l);

	pass_ms(f, 500);
	lender_tick(f->l);
	assert_int_equal(f->seen.report_now, 1);	/* at most one a second */
	pass_ms(f, 500);
	lender_tick(f->l);
	assert_int_equal(f->seen.report_now, 2);
	assert_int_equal(status(a).wait_ns, S_NS + 1000000);
	assert_int_equal(status(a).longest_wait_ns, S_NS + 1000000);

	/* First come, first served: a before b. */
	report(a, WINDOW, 0, 1);
	assert_int_equal(f->seen.served, 1);
	assert_int_equal(f->seen.served_slot, POOL_BLOCKS - 2);
	assert_int_equal(f->seen.events[LEND_EV_POOL_OK], 0);
	pass_ms(f, 250);
	report(a, WINDOW, 1, 1);
	assert_int_equal(f->seen.served, 2);
	assert_int_equal(f->seen.served_slot, 2);
	assert_int_equal(f->seen.events[LEND_EV_POOL_OK], 1);
	assert_int_equal(pool_status(f).waiting, 0);
	assert_int_equal(status(a).waited, 1);
	assert_int_equal(status(b).wait_ns, S_NS + S_NS / 4);
	lender_validate(f->l);
}

static void a_returned_slot_waits_no_more(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *a = make_vm(f, "a", 1, POOL_BLOCKS + 2, 0);
	enum memlease_reason why;
	uint64_t done;

	borrow(a, 0, POOL_BLOCKS + 1, &why);
	for (uint64_t s = 0; s < POOL_BLOCKS; s++)
		assert_int_equal(lend_touch(a, WINDOW, s), 0);
	assert_int_equal(lend_touch(a, WINDOW, POOL_BLOCKS), -EAGAIN);
	assert_int_equal(lend_return(a, POOL_BLOCKS, 1, &done, &why), 0);
	assert_int_equal(f->seen.served, 1);	/* woken, to be judged anew */
	assert_int_equal(pool_status(f).waiting, 0);
	assert_int_equal(status(a).resident_blocks, POOL_BLOCKS);
	lender_validate(f->l);
}

static void a_vacant_touch_stops_the_vm(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, 4, 0);
	pid_t pid = fork();
	int wstatus;

	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_int_equal(lend_vm_attach(vm, pid), 0);
	assert_int_equal(f->seen.events[LEND_EV_VM_STARTED], 1);
	assert_int_equal(lend_vm_attach(vm, getpid()), -EBUSY);
	assert_int_equal(lend_vm_delete(vm), -EBUSY);
	assert_int_equal(lend_touch(vm, WINDOW, 2), -EACCES);
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_true(WIFSIGNALED(wstatus) && WTERMSIG(wstatus) == SIGKILL);
	assert_int_equal(status(vm).broken, MEMLEASE_BROKEN_TOUCH);
	assert_non_null(strstr(status(vm).broken_text, "slot 2"));
	assert_int_equal(f->seen.events[LEND_EV_VM_STOPPED], 1);
	lend_vm_end(vm, "killed");
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_null(lend_vm_find(f->l, "a"));
}

static void attach_of_a_dead_process(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, 4, 0);
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(lend_vm_attach(vm, pid), -ESRCH);
	assert_int_equal(status(vm).state, VM_DEFINED);
}

static void admission(void **state)
{
	struct fixture *f = *state;
	struct vm_spec spec = { .name = "b", .tenant = "t", .plan = "p", .boot_blocks = 1,
				.limit_blocks = 20, .guarantee_blocks = 10, .weight = 100 };
	struct lend_vm *vm;
	char why[256];

	make_vm(f, "a", 1, 20, 15);
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -ENOSPC);
	assert_non_null(strstr(why, "20M"));
	spec.guarantee_blocks = 9;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), 0);
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EEXIST);
	snprintf(spec.name, sizeof(spec.name), "../c");
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EINVAL);
	snprintf(spec.name, sizeof(spec.name), "c");
	spec.guarantee_blocks = 21;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EINVAL);
	spec.guarantee_blocks = 0;
	spec.boot_blocks = 0;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EINVAL);
	spec.boot_blocks = 21;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EINVAL);
	spec.boot_blocks = 1;
	spec.weight = 0;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, why, sizeof(why)), -EINVAL);
	lender_validate(f->l);
}

static void usage_reaches_the_ledger(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	enum memlease_reason why;
	char path[256];

	borrow(vm, 0, 4, &why);
	lend_touch(vm, WINDOW, 0);
	pass_ms(f, 1000);
	lend_touch(vm, WINDOW, 1);
	pass_ms(f, 1500);
	report(vm, WINDOW, 0, 1);
	/* Over the end of the hour: two rows. */
	pass_ms(f, 2500 * 1000);
	settle_ledger(f);
	snprintf(path, sizeof(path), "%s", lend_region_path(vm, WINDOW));
	assert_int_equal(access(path, F_OK), 0);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"),
			 1 * S_NS + 2 * 1500000000ULL + 2500 * S_NS);
	assert_int_equal(ledger_sum(f, "committed_block_ns", "a"), 6 * 2502500000000ULL);
	assert_int_equal(ledger_sum(f, "guarantee_block_ns", "a"), 3 * 2502500000000ULL);
	assert_int_equal(ledger_sum(f, "1", "a"), 2);
	assert_int_equal(ledger_sum(f, "touches", "a"), 2);
	assert_int_equal(ledger_sum(f, "until_ms - start_ms", "a"), 2502500);
	assert_int_equal(ledger_sum(f, "start_ms % 3600000 = 0", "a"), 1);
	assert_int_equal(ledger_sum(f, "ended_ms", "a") / 2, START_MS + 2502500);
	/* Its record is gone with the last row. */
	assert_null(f->l->ended);
	assert_int_equal(pool_status(f).lent_blocks, 0);
}

static void reopen(struct fixture *f)
{
	lender_close(f->l);
	pass_ms(f, 10000);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
}

static void a_new_daemon_goes_on(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 3);
	uint64_t hva[2] = { 0x7f0000000000, 0x7f8000000000 }, got[2], gpa;
	enum memlease_reason why;
	struct lender *second;
	char text[256];

	assert_int_equal(lend_vm_attach(vm, getpid()), 0);
	lend_vm_set_layout(vm, hva, 0x100000000);
	borrow(vm, 0, 5, &why);
	lend_touch(vm, WINDOW, 4);
	lend_touch(vm, BOOT, 1);
	lend_set_target(vm, 6, 5000, text, sizeof(text));
	lend_vm_stat(vm, MEMLEASE_STAT_FREE_BYTES, 77);
	assert_int_equal(lender_open(&second, &f->config, &f->hooks), -EBUSY);
	reopen(f);
	lender_validate(f->l);
	vm = lend_vm_find(f->l, "a");
	assert_non_null(vm);
	assert_int_equal(status(vm).state, VM_DETACHED);
	assert_int_equal(status(vm).pid, getpid());
	assert_int_equal(status(vm).committed_blocks, 7);
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(status(vm).target_blocks, 4);
	assert_int_equal(status(vm).guest_stat[MEMLEASE_STAT_FREE_BYTES], 77);
	assert_int_equal(status(vm).resident_block_ns, 20 * S_NS);
	assert_true(lend_vm_layout(vm, got, &gpa));
	assert_memory_equal(got, hva, sizeof(hva));
	assert_int_equal(gpa, 0x100000000);
	assert_true(lend_resident(vm, WINDOW, 4));
	assert_int_equal(lend_vm_attach(vm, getpid()), 0);
	assert_int_equal(status(vm).state, VM_RUNNING);
	lend_vm_detach(vm);
	assert_int_equal(status(vm).state, VM_DETACHED);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 20 * S_NS);
}

static void qemu_that_ended_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_int_equal(lend_vm_attach(vm, pid), 0);
	lend_touch(vm, BOOT, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	reopen(f);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 10 * S_NS);
	lender_validate(f->l);
}

static void pool_size_between_daemons(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 8, 10, 0);

	for (uint64_t s = 0; s < 8; s++)
		lend_touch(vm, BOOT, s);
	lender_close(f->l);
	f->config.pool_blocks = 4;
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), -EBUSY);
	f->config.pool_blocks = POOL_BLOCKS * 100;
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), -ENOSPC);
	f->config.pool_blocks = 10;
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	assert_int_equal(pool_status(f).free_blocks, 2);
	lender_validate(f->l);
}

static void qemu_fills_its_files(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	enum memlease_reason why;
	int fd = open(lend_region_path(vm, WINDOW), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	borrow(vm, 0, 2, &why);
	lend_touch(vm, WINDOW, 0);
	/* Slot 1 is borrowed, 4 and 5 are not. */
	assert_int_equal(pwrite(fd, "x", 1, (off_t)MEMLEASE_BLOCK_BYTES), 1);
	assert_int_equal(fallocate(fd, 0, 4 * (off_t)MEMLEASE_BLOCK_BYTES,
				   2 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lender_tick(f->l);
	lender_validate(f->l);
	assert_int_equal(f->seen.events[LEND_EV_MISMATCH], 1);
	assert_true(lend_resident(vm, WINDOW, 1));
	assert_int_equal(status(vm).resident_blocks, 4);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS - 4);
	pass_ms(f, 2000);
	assert_int_equal(status(vm).resident_block_ns, 8 * S_NS);
	/* A reported slot is really emptied, whoever filled it. */
	report(vm, WINDOW, 0, 2);
	lender_tick(f->l);
	assert_int_equal(status(vm).resident_blocks, 2);
	/* It empties them again. */
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   8 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lender_tick(f->l);
	assert_int_equal(status(vm).resident_blocks, 0);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	lender_validate(f->l);
	close(fd);
}

static void ledger_that_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	sqlite3 *db;

	lend_touch(vm, BOOT, 0);
	settle_ledger(f);
	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	pass_ms(f, 5000 * 1000);
	settle_ledger(f);
	assert_int_equal(f->seen.events[LEND_EV_LEDGER_BEHIND], 1);
	assert_true(pool_status(f).ledger_behind);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	assert_non_null(f->l->ended);		/* its usage is kept */
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	settle_ledger(f);
	lender_tick(f->l);
	assert_int_equal(f->seen.events[LEND_EV_LEDGER_OK], 1);
	assert_null(f->l->ended);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 5000 * S_NS);
}

static void ended_usage_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	sqlite3 *db;

	lend_touch(vm, BOOT, 0);
	pass_ms(f, 3000);
	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	lend_vm_end(vm, "test");
	settle_ledger(f);
	lender_close(f->l);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
	/* The name is free at once, also while the old VM waits for the ledger. */
	make_vm(f, "a", 1, 2, 0);
	settle_ledger(f);
	lender_tick(f->l);
	assert_null(f->l->ended);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 3 * S_NS);
	lender_validate(f->l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(life_of_a_slot),
		T(reported_slots_read_zeros_and_others_keep),
		T(grants_are_bounded),
		T(config_space),
		T(a_short_pool_makes_touches_wait),
		T(a_returned_slot_waits_no_more),
		T(a_vacant_touch_stops_the_vm),
		T(attach_of_a_dead_process),
		T(admission),
		T(usage_reaches_the_ledger),
		T(a_new_daemon_goes_on),
		T(qemu_that_ended_meanwhile),
		T(pool_size_between_daemons),
		T(qemu_fills_its_files),
		T(ledger_that_cannot_be_written),
		T(ended_usage_outlives_the_daemon),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
