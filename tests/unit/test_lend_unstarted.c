// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs that no QEMU comes for: what they hold, how long, what they pay, and how they start late. */
#include "lend_rig.h"

#define TIMEOUT_MS 600000

/* A lender whose VMs hold what they were promised for ten minutes. */
static int setup_timeout(void **state)
{
	struct fixture *f;

	assert_int_equal(setup(state), 0);
	f = *state;
	lender_close(f->l);
	f->config.start_timeout_ms = TIMEOUT_MS;
	f->config.overbook_percent = 100;
	return lender_open(&f->l, &f->config, &f->hooks);
}

static void next_daemon(struct fixture *f, uint64_t away_ms)
{
	lender_close(f->l);
	pass_ms(f, away_ms);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
}

static void tick_after(struct fixture *f, uint64_t ms)
{
	pass_ms(f, ms);
	lender_tick(f->l);
	lender_validate(f->l);
}

static void billed(struct fixture *f, const char *vm, uint64_t committed_ns, uint64_t guarantee_ns)
{
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "committed_block_ns", vm), committed_ns);
	assert_int_equal(ledger_sum(f, "guarantee_block_ns", vm), guarantee_ns);
}

static void a_claim_lapses_and_is_billed_no_more(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 16);

	tick_after(f, TIMEOUT_MS - 1000);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
	assert_int_equal(pool_status(f).committed_blocks, 4);
	assert_false(status(vm).lapsed);
	assert_int_equal(status(vm).lapses_wall_ms, f->wall_ms + 1000);
	tick_after(f, 1000);
	assert_true(status(vm).lapsed);
	assert_int_equal(status(vm).lapses_wall_ms, 0);
	assert_int_equal(status(vm).committed_blocks, 0);
	assert_int_equal(status(vm).spec.guarantee_blocks, 16);
	assert_int_equal(f->seen.events[LEND_EV_VM_LAPSED], 1);
	assert_int_equal(pool_status(f).guarantee_blocks, 0);
	assert_int_equal(pool_status(f).committed_blocks, 0);
	/* Somebody else may have it. */
	make_vm(f, "b", 4, 20, 20);
	tick_after(f, 100000);
	billed(f, "a", 4 * TIMEOUT_MS * 1000000ULL, 16 * TIMEOUT_MS * 1000000ULL);
	assert_int_equal(f->seen.events[LEND_EV_VM_LAPSED], 1);
	assert_int_equal(lend_vm_delete(vm), 0);
	lender_validate(f->l);
}

static void a_qemu_in_time_is_asked_nothing(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 16);

	tick_after(f, TIMEOUT_MS - 1);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	lend_vm_detach(vm);
	tick_after(f, 10 * TIMEOUT_MS);
	assert_false(status(vm).lapsed);
	assert_int_equal(status(vm).lapses_wall_ms, 0);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
	next_daemon(f, TIMEOUT_MS);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
	lender_validate(f->l);
}

static void a_late_qemu_gets_what_there_is(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 16), *other;

	tick_after(f, TIMEOUT_MS);
	other = make_vm(f, "b", 4, 20, 12);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), -ENOSPC);
	assert_non_null(strstr(lend_vm_refused(vm), "a guarantee of 32"));
	assert_string_equal(status(vm).refused, lend_vm_refused(vm));
	assert_int_equal(f->seen.events[LEND_EV_START_REFUSED], 1);
	assert_int_equal(f->seen.events[LEND_EV_VM_STARTED], 0);
	assert_int_equal(status(vm).state, VM_DEFINED);
	assert_true(status(vm).lapsed);
	lender_validate(f->l);
	assert_int_equal(lend_vm_delete(other), 0);
	tick_after(f, 50000);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	assert_string_equal(status(vm).refused, "");
	assert_false(status(vm).lapsed);
	assert_int_equal(status(vm).committed_blocks, 4);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
	tick_after(f, 7000);
	billed(f, "a", 4 * (TIMEOUT_MS + 7000) * 1000000ULL, 16 * (TIMEOUT_MS + 7000) * 1000000ULL);
}

static void boot_memory_may_be_what_does_not_fit(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 10, 20, 0);

	tick_after(f, TIMEOUT_MS);
	make_vm(f, "b", 20, 22, 0);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), -ENOSPC);
	assert_non_null(strstr(lend_vm_refused(vm), "boot memory of 20"));
}

/* Its guarantee may be made to fit meanwhile, which takes nothing of the pool. */
static void a_guarantee_is_changed_after_the_claim_lapsed(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 16);
	struct ml_why why = { "" };

	tick_after(f, TIMEOUT_MS);
	make_vm(f, "b", 4, 20, 12);
	assert_int_equal(lend_set_guarantee(vm, 20, &why), 0);
	assert_int_equal(lend_set_guarantee(vm, 21, &why), -EINVAL);
	assert_int_equal(pool_status(f).guarantee_blocks, 12);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), -ENOSPC);
	assert_int_equal(lend_set_guarantee(vm, 8, &why), 0);
	assert_int_equal(lend_vm_attach(vm, getpid(), -1), 0);
	assert_int_equal(pool_status(f).guarantee_blocks, 20);
	lender_validate(f->l);
}

/* In the middle of the time without a daemon, of which the rest is not billed. */
static void a_claim_lapses_while_no_daemon_runs(void **state)
{
	struct fixture *f = *state;

	make_vm(f, "a", 4, 20, 16);
	tick_after(f, 100000);
	next_daemon(f, 5ULL * PERIOD_S * 1000);
	assert_true(status(lend_vm_find(f->l, "a")).lapsed);
	assert_int_equal(pool_status(f).guarantee_blocks, 0);
	tick_after(f, 100000);
	billed(f, "a", 4 * TIMEOUT_MS * 1000000ULL, 16 * TIMEOUT_MS * 1000000ULL);
	/* And it stays so, whatever the next daemon is told. */
	f->config.start_timeout_ms = 0;
	next_daemon(f, 100000);
	assert_true(status(lend_vm_find(f->l, "a")).lapsed);
	tick_after(f, 100000);
	billed(f, "a", 4 * TIMEOUT_MS * 1000000ULL, 16 * TIMEOUT_MS * 1000000ULL);
	assert_int_equal(lend_vm_attach(lend_vm_find(f->l, "a"), getpid(), -1), 0);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
	lender_validate(f->l);
}

static void a_restart_takes_nothing_of_the_time(void **state)
{
	struct fixture *f = *state;

	make_vm(f, "a", 4, 20, 16);
	next_daemon(f, TIMEOUT_MS - 2000);
	assert_int_equal(status(lend_vm_find(f->l, "a")).lapses_wall_ms, f->wall_ms + 2000);
	tick_after(f, 1000);
	assert_false(status(lend_vm_find(f->l, "a")).lapsed);
	tick_after(f, 1000);
	assert_true(status(lend_vm_find(f->l, "a")).lapsed);
}

static void without_a_timeout_it_holds_for_ever(void **state)
{
	struct fixture *f = *state;

	f->config.start_timeout_ms = 0;
	next_daemon(f, 0);
	make_vm(f, "a", 4, 20, 16);
	tick_after(f, 100 * TIMEOUT_MS);
	assert_false(status(lend_vm_find(f->l, "a")).lapsed);
	assert_int_equal(status(lend_vm_find(f->l, "a")).lapses_wall_ms, 0);
	assert_int_equal(pool_status(f).guarantee_blocks, 16);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_timeout, teardown)
	const struct CMUnitTest tests[] = {
		T(a_claim_lapses_and_is_billed_no_more),
		T(a_qemu_in_time_is_asked_nothing),
		T(a_late_qemu_gets_what_there_is),
		T(boot_memory_may_be_what_does_not_fit),
		T(a_guarantee_is_changed_after_the_claim_lapsed),
		T(a_claim_lapses_while_no_daemon_runs),
		T(a_restart_takes_nothing_of_the_time),
		T(without_a_timeout_it_holds_for_ever),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
