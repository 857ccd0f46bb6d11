// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/ on the backend `file`, on a real tmpfs: what guests and operators ask,
 * admission, waits, vacant touches.
 */
#include "lend_rig.h"

#include <sys/syscall.h>

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
	struct ml_why text = { "" };

	assert_int_equal(lend_set_limit(vm, 7, &text), 0);
	assert_int_equal(borrow(vm, 0, 8, &why), 5);
	assert_int_equal(why, MEMLEASE_WHY_LIMIT);
	assert_int_equal(lend_set_limit(vm, 11, &text), -EINVAL);
	assert_non_null(strstr(text.text, "22M"));
	assert_int_equal(lend_set_limit(vm, 10, &text), 0);
	assert_int_equal(lend_set_target(vm, 8, 1000, &text), 0);
	assert_int_equal(f->seen.target, 1);
	assert_int_equal(lend_set_target(vm, 1, 1000, &text), -EINVAL);
	assert_int_equal(lend_set_target(vm, 4, 99, &text), -EINVAL);
	assert_int_equal(lend_set_target(vm, MEMLEASE_NO_TARGET, 0, &text), 0);
	assert_int_equal(borrow(vm, 0, 8, &why), 8);
	assert_int_equal(lend_set_guarantee(vm, 11, &text), -EINVAL);
	assert_int_equal(lend_set_guarantee(vm, 9, &text), 0);
	assert_int_equal(lend_set_limit(vm, 8, &text), -EINVAL);
	lender_validate(f->l);
}

static void config_space(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 10, 0);
	struct memlease_config c;
	struct ml_why text = { "" };

	lend_set_limit(vm, 9, &text);
	lend_set_target(vm, 5, 700, &text);
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

	assert_int_equal(lend_vm_attach(a, getpid(), -1), 0);
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

/* Also where time goes on between the beginning of a tick and its end. */
static void a_tick_asks_a_guest_once(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, POOL_BLOCKS + 1, 0);
	enum memlease_reason why;

	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	borrow(vm, 0, POOL_BLOCKS, &why);
	for (uint64_t s = 0; s < POOL_BLOCKS; s++)
		assert_int_equal(lend_touch(vm, WINDOW, s), 0);
	assert_int_equal(lend_touch(vm, BOOT, 0), -EAGAIN);
	assert_int_equal(f->seen.report_now, 1);
	f->step_ns = 1000;
	pass_ms(f, 1000);
	lender_tick(f->l);
	assert_int_equal(f->seen.report_now, 2);
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

static pid_t forked(int *pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*pidfd >= 0);
	return pid;
}

/* Whoever connected is gone, and its number another's, which is alive. */
static void a_number_is_not_a_process(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 1, 4, 0);
	int gone, alive, again;
	pid_t pid = forked(&gone);

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	pid = forked(&alive);
	assert_int_equal(lend_vm_attach(vm, pid, gone), -ESRCH);
	assert_int_equal(fcntl(gone, F_GETFD), -1);		/* taken over */
	assert_int_equal(lend_vm_pidfd(vm), -1);
	again = fcntl(alive, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(lend_vm_attach(vm, pid, alive), 0);
	assert_int_equal(lend_vm_pidfd(vm), alive);
	assert_int_equal(lend_vm_attach(vm, pid, again), 0);
	assert_int_equal(lend_vm_pidfd(vm), alive);
	assert_int_equal(fcntl(again, F_GETFD), -1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	lend_vm_end(vm, "killed");
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
	assert_int_equal(lend_vm_attach(vm, pid, -1), 0);
	assert_int_equal(f->seen.events[LEND_EV_VM_STARTED], 1);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), -EBUSY);
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
	assert_int_equal(lend_vm_attach(vm, pid, -1), -ESRCH);
	assert_int_equal(status(vm).state, VM_DEFINED);
}

static void admission(void **state)
{
	struct fixture *f = *state;
	struct vm_spec spec = { .name = "b", .tenant = "t", .plan = "p", .boot_blocks = 1,
				.limit_blocks = 20, .guarantee_blocks = 10, .weight = 100 };
	struct lend_vm *vm;
	struct ml_why why = { "" };

	make_vm(f, "a", 1, 20, 15);
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "20M"));
	spec.guarantee_blocks = 9;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), 0);
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EEXIST);
	snprintf(spec.name, sizeof(spec.name), "../c");
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EINVAL);
	snprintf(spec.name, sizeof(spec.name), "c");
	spec.guarantee_blocks = 21;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EINVAL);
	spec.guarantee_blocks = 0;
	spec.boot_blocks = 0;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EINVAL);
	spec.boot_blocks = 21;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EINVAL);
	spec.boot_blocks = 1;
	spec.weight = 0;
	assert_int_equal(lend_vm_create(f->l, &spec, &vm, &why), -EINVAL);
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
		T(a_tick_asks_a_guest_once),
		T(a_returned_slot_waits_no_more),
		T(a_number_is_not_a_process),
		T(a_vacant_touch_stops_the_vm),
		T(attach_of_a_dead_process),
		T(admission),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
