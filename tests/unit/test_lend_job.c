// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lend/job.c: the end and the reset of a VM in slices, and touches served in
 * portions: what others get in between, what is billed meanwhile, and what a new
 * daemon makes of it.
 */
#include "lend_rig.h"

static void fill(struct lend_vm *vm, uint64_t boot, uint64_t window)
{
	enum memlease_reason why;

	for (uint64_t s = 0; s < boot; s++)
		assert_int_equal(lend_touch(vm, BOOT, s), 0);
	if (window)
		assert_int_equal(borrow(vm, 0, window, &why), window);
	for (uint64_t s = 0; s < window; s++)
		assert_int_equal(lend_touch(vm, WINDOW, s), 0);
}

static void reopen(struct fixture *f)
{
	lender_close(f->l);
	assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
}

static int finish_work(struct fixture *f)
{
	int slices = 0;

	while (lender_has_work(f->l)) {
		lender_work(f->l);
		lender_validate(f->l);
		assert_true(++slices < 100);
	}
	return slices;
}

static void the_end_comes_in_slices(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 3), *other = make_vm(f, "b", 2, 4, 0);
	char path[256];

	set_slices(f, 3);
	fill(vm, 4, 6);
	snprintf(path, sizeof(path), "%s", lend_region_path(vm, WINDOW));
	lend_vm_end(vm, "test");
	lender_validate(f->l);
	/* The name is free at once, its guarantee and commitment too; most blocks are not. */
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 0);
	assert_int_equal(pool_status(f).guarantee_blocks, 0);
	assert_int_equal(pool_status(f).committed_blocks, 2);
	assert_int_equal(pool_status(f).vms, 1);
	assert_int_equal(pool_status(f).lent_blocks, 7);
	assert_int_equal(pool_status(f).fs_resident_blocks, 7);
	vm = make_vm(f, "a", 1, 2, 0);
	/* Others are served between two slices; what is still there is billed. */
	pass_ms(f, 1000);
	assert_int_equal(lend_touch(other, BOOT, 1), 0);
	lender_work(f->l);
	assert_int_equal(pool_status(f).lent_blocks, 5);
	pass_ms(f, 1000);
	assert_int_equal(finish_work(f), 2);
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_int_equal(pool_status(f).lent_blocks, 1);
	assert_int_equal(access(path, F_OK), -1);
	lend_vm_end(vm, "test");
	finish_work(f);
	settle_ledger(f);
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 7 * S_NS + 4 * S_NS);
	/* The second VM of the name had one block committed for a second; the first none any more. */
	assert_int_equal(ledger_sum(f, "committed_block_ns", "a"), 2 * S_NS);
	assert_int_equal(ledger_sum(f, "guarantee_block_ns", "a"), 0);
	assert_null(f->l->ended);
}

static void an_end_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 0);

	set_slices(f, 2);
	fill(vm, 4, 6);
	pass_ms(f, 1000);
	lend_vm_end(vm, "test");
	reopen(f);
	lender_validate(f->l);
	assert_null(lend_vm_find(f->l, "a"));
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 0);
	assert_true(lender_has_work(f->l));
	assert_int_equal(pool_status(f).lent_blocks, 6);
	pass_ms(f, 1000);
	finish_work(f);
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	settle_ledger(f);
	/* For the second in which it lived; not for that in which its blocks waited for a daemon. */
	assert_int_equal(ledger_sum(f, "resident_block_ns", "a"), 10 * S_NS);
}

static void what_others_put_there_goes_in_slices_too(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 4, 20, 0);
	int fd = open(lend_region_path(vm, WINDOW), O_RDWR | O_CLOEXEC);

	set_slices(f, 4);
	assert_true(fd >= 0);
	assert_int_equal(fallocate(fd, 0, 0, 16 * (off_t)MEMLEASE_BLOCK_BYTES), 0);
	lend_vm_end(vm, "test");		/* the 4 slots of boot memory */
	assert_int_equal(pool_status(f).lent_blocks, 16);
	lender_work(f->l);
	lender_validate(f->l);
	assert_int_equal(pool_status(f).lent_blocks, 12);
	assert_int_equal(pool_status(f).fs_resident_blocks, 12);
	finish_work(f);
	assert_int_equal(pool_status(f).free_blocks, POOL_BLOCKS);
	close(fd);
}

static void a_reset_comes_in_slices(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 18, 0);
	struct ml_why text = { "" };

	set_slices(f, 4);
	fill(vm, 2, 10);
	lend_set_target(vm, 4, 1000, &text);
	lend_break(vm, MEMLEASE_BROKEN_RING, "test");
	f->seen.config = 0;
	lend_reset(vm);
	lender_validate(f->l);
	assert_true(lend_resetting(vm));
	assert_int_equal(f->seen.config, 0);
	assert_int_equal(status(vm).resident_blocks, 8);
	assert_int_equal(status(vm).broken, MEMLEASE_BROKEN_NOT);
	assert_int_equal(status(vm).target_blocks, MEMLEASE_NO_TARGET);
	/* Its firmware runs already. */
	assert_int_equal(lend_touch(vm, BOOT, 1), 0);
	reopen(f);
	lender_validate(f->l);
	vm = lend_vm_find(f->l, "a");
	assert_true(lend_resetting(vm));
	finish_work(f);
	assert_false(lend_resetting(vm));
	assert_true(f->seen.config > 0);
	assert_int_equal(status(vm).window_committed_blocks, 0);
	assert_int_equal(status(vm).resident_blocks, 2);
	assert_int_equal(pool_status(f).lent_blocks, 2);
}

static void a_vm_ends_while_it_is_reset(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "a", 2, 18, 0), *b = make_vm(f, "b", 2, 18, 0);

	set_slices(f, 2);
	fill(vm, 2, 8);
	fill(b, 2, 8);
	lend_reset(vm);
	lend_reset(b);
	lender_work(f->l);
	lend_vm_end(vm, "test");
	lender_validate(f->l);
	finish_work(f);
	assert_int_equal(f->seen.events[LEND_EV_VM_ENDED], 1);
	assert_int_equal(pool_status(f).lent_blocks, 2);
	assert_false(lend_resetting(b));
	/* Closing with jobs under way, of both kinds, leaks nothing. */
	fill(b, 0, 8);
	vm = make_vm(f, "c", 2, 18, 0);
	fill(vm, 2, 8);
	lend_reset(b);
	lend_vm_end(vm, "test");
	reopen(f);
	lender_validate(f->l);
	finish_work(f);
	assert_int_equal(pool_status(f).lent_blocks, 2);
}

/* So much comes free at once that serving it all would take long. */
static void touches_are_served_in_portions(void **state)
{
	struct fixture *f = *state;
	uint64_t many = LEND_SERVE_MAX + 10;
	struct lend_vm *vm, *big;
	enum memlease_reason why;

	lender_close(f->l);
	f->config.pool_blocks = many;
	f->config.pool_dir = f->scratch.dir;
	if (lender_open(&f->l, &f->config, &f->hooks) < 0) {
		/* Where the scratch folder is no tmpfs; leave a lender for the teardown. */
		f->config.pool_blocks = POOL_BLOCKS;
		f->config.pool_dir = f->scratch.pool;
		assert_int_equal(lender_open(&f->l, &f->config, &f->hooks), 0);
		skip();
	}
	big = make_vm(f, "big", 1, 1 + many, 0);
	assert_int_equal(borrow(big, 0, many, &why), many);
	for (uint64_t s = 0; s < many; s++)
		assert_int_equal(lend_touch(big, WINDOW, s), 0);
	vm = make_vm(f, "a", many, many, 0);
	for (uint64_t s = 0; s < many; s++)
		assert_int_equal(lend_touch(vm, BOOT, s), -EAGAIN);
	assert_int_equal(report(big, WINDOW, 0, many), many);
	assert_int_equal(f->seen.served, LEND_SERVE_MAX);
	assert_true(lender_has_work(f->l));
	lender_validate(f->l);
	lender_work(f->l);
	assert_int_equal(f->seen.served, many - 1);	/* the very last is the other's */
	assert_false(lender_has_work(f->l));
	assert_int_equal(lend_touch(big, WINDOW, 0), 0);
	lender_validate(f->l);
	lend_vm_end(vm, "test");
	lend_vm_end(big, "test");
	assert_int_equal(finish_work(f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(the_end_comes_in_slices),
		T(an_end_outlives_the_daemon),
		T(what_others_put_there_goes_in_slices_too),
		T(a_reset_comes_in_slices),
		T(a_vm_ends_while_it_is_reset),
		T(touches_are_served_in_portions),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
