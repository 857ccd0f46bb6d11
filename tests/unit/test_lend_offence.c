// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Breaking the rules at will: how many lines and events a guest can cause that breaks its
 * device, resets it, and breaks it again, and one that touches what it did not borrow.
 */
#include "lend_rig.h"

static int caught = -1, stderr_fd;

static void catch_log(void)
{
	fflush(stderr);
	ml_log_set_level(ML_LOG_INFO);
	caught = memfd_create("log", MFD_CLOEXEC);
	stderr_fd = dup(2);
	assert_true(caught >= 0 && dup2(caught, 2) == 2);
}

/* How many lines with this word there were. */
static unsigned int release_log(const char *word)
{
	static char text[1 << 16];
	unsigned int lines = 0;
	ssize_t n;

	fflush(stderr);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	n = pread(caught, text, sizeof(text) - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	close(caught);
	for (char *at = text; (at = strstr(at, word)); at += strlen(word))
		lines++;
	return lines;
}

static void finish_reset(struct fixture *f, struct lend_vm *vm)
{
	lend_reset(vm);
	while (lender_has_work(f->l))
		lender_work(f->l);
}

static void breaks_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "bad", 4, 8, 0);

	catch_log();
	for (int i = 0; i < 150; i++) {
		lend_break(vm, MEMLEASE_BROKEN_RING, "a wrong type");
		assert_int_equal(status(vm).broken, MEMLEASE_BROKEN_RING);
		finish_reset(f, vm);
		pass_ms(f, 50);
	}
	/* 7.5 s: one window. */
	assert_in_range(release_log("a wrong type"), 1, 10);
	assert_in_range(f->seen.events[LEND_EV_VM_BROKEN], 1, 10);
	pass_ms(f, 11000);
	catch_log();
	lend_break(vm, MEMLEASE_BROKEN_RING, "a wrong type");
	assert_int_equal(release_log("and 140 times since"), 1);
	assert_int_equal(f->seen.events[LEND_EV_VM_BROKEN], 11);
	lender_validate(f->l);
}

static void each_vm_has_its_own_bound(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "bad", 4, 8, 0), *other = make_vm(f, "other", 4, 8, 0);

	for (int i = 0; i < 50; i++) {
		lend_break(vm, MEMLEASE_BROKEN_RING, "x");
		finish_reset(f, vm);
	}
	f->seen.events[LEND_EV_VM_BROKEN] = 0;
	lend_break(other, MEMLEASE_BROKEN_RING, "y");
	assert_int_equal(f->seen.events[LEND_EV_VM_BROKEN], 1);
}

static void a_vacant_touch_is_told_once(void **state)
{
	struct fixture *f = *state;
	struct lend_vm *vm = make_vm(f, "bad", 4, 8, 0);

	catch_log();
	lend_touch(vm, WINDOW, 1);
	assert_int_equal(release_log("which it had not borrowed"), 1);
	assert_int_equal(f->seen.events[LEND_EV_VM_STOPPED], 1);
	assert_int_equal(f->seen.events[LEND_EV_VM_BROKEN], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(breaks_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(each_vm_has_its_own_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(a_vacant_touch_is_told_once, setup, teardown),
	};

	ml_log_set_level(ML_LOG_ERR);
	return cmocka_run_group_tests_name("lend_offence", tests, NULL, NULL);
}
