// SPDX-License-Identifier: GPL-2.0-or-later
/* policy/: what is granted, who is served, who is asked, who is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../host/policy/policy.h"

static struct policy_pool a_pool(void)
{
	return (struct policy_pool){ .blocks = 100, .free = 40, .committed = 90, .guarantee = 30,
				     .unfilled = 10, .overbook_percent = 120 };
}

static struct policy_vm a_vm(void)
{
	return (struct policy_vm){ .boot = 10, .limit = 50, .window_committed = 20,
				   .committed = 30, .resident = 25,
				   .window_target = MEMLEASE_NO_TARGET, .connected = true };
}

static void expect_grant(const struct policy_pool *pool, const struct policy_vm *vm, uint64_t want,
			 uint64_t blocks, enum memlease_reason reason)
{
	struct policy_grant g = policy_grant(pool, vm, want);

	if (g.blocks != blocks || g.reason != reason)
		fail_msg("want %llu: granted %llu (reason %d), expected %llu (reason %d)",
			 (unsigned long long)want, (unsigned long long)g.blocks, (int)g.reason,
			 (unsigned long long)blocks, (int)reason);
}

static void grants(void **state)
{
	struct policy_pool pool = a_pool();
	struct policy_vm vm = a_vm();

	(void)state;
	expect_grant(&pool, &vm, 20, 20, MEMLEASE_WHY_OK);
	expect_grant(&pool, &vm, 0, 0, MEMLEASE_WHY_OK);
	expect_grant(&pool, &vm, 21, 20, MEMLEASE_WHY_LIMIT);
	vm.window_target = 3;
	expect_grant(&pool, &vm, 20, 20, MEMLEASE_WHY_OK);
	pool.waiting = 1;
	vm.window_target = 25;
	expect_grant(&pool, &vm, 5, 5, MEMLEASE_WHY_OK);
	expect_grant(&pool, &vm, 6, 5, MEMLEASE_WHY_TARGET);
	vm.window_target = 3;
	expect_grant(&pool, &vm, 1, 0, MEMLEASE_WHY_TARGET);
	vm.window_target = MEMLEASE_NO_TARGET;
	pool.waiting = 0;
	pool.committed = 117;
	expect_grant(&pool, &vm, 20, 3, MEMLEASE_WHY_POOL);
	pool.committed = 300;
	expect_grant(&pool, &vm, 1, 0, MEMLEASE_WHY_POOL);
	pool.overbook_percent = 0;
	expect_grant(&pool, &vm, 20, 20, MEMLEASE_WHY_OK);
	/* A limit lowered below what is committed grants nothing, and wraps around nowhere. */
	vm.limit = 20;
	expect_grant(&pool, &vm, 1, 0, MEMLEASE_WHY_LIMIT);
	vm.limit = 5;
	expect_grant(&pool, &vm, UINT64_MAX, 0, MEMLEASE_WHY_LIMIT);
}

static void a_guarantee_is_granted_whatever_is_committed(void **state)
{
	struct policy_pool pool = a_pool();
	struct policy_vm vm = a_vm();

	(void)state;
	pool.committed = 500;
	vm.guarantee = 34;
	expect_grant(&pool, &vm, 10, 4, MEMLEASE_WHY_POOL);
}

static void touches(void **state)
{
	struct policy_pool pool = a_pool();
	struct policy_vm vm = a_vm();

	(void)state;
	assert_true(policy_touch(&pool, &vm));
	pool.free = 11;
	assert_true(policy_touch(&pool, &vm));
	pool.free = 10;		/* all of it owed to others */
	assert_false(policy_touch(&pool, &vm));
	vm.guarantee = 26;	/* one of it to this one */
	assert_true(policy_touch(&pool, &vm));
	vm.resident = 26;
	assert_false(policy_touch(&pool, &vm));
	pool.free = 0;
	pool.unfilled = 0;
	assert_false(policy_touch(&pool, &vm));
}

/* Who fills the pool leaves its last blocks to the others, in equal parts. */
static void last_blocks(void **state)
{
	struct policy_pool pool = { .blocks = 640, .free = 21, .vms = 4 };
	struct policy_vm vm = a_vm();

	(void)state;
	vm.guarantee = 0;
	assert_int_equal(policy_kept(&pool), 20);
	vm.kept_taken = 5;
	assert_true(policy_touch(&pool, &vm));
	pool.free = 20;
	assert_true(policy_at_last(&pool));
	assert_false(policy_touch(&pool, &vm));
	vm.kept_taken = 4;
	assert_true(policy_touch(&pool, &vm));
	pool.unfilled = 20;	/* owed to others */
	assert_false(policy_touch(&pool, &vm));
	vm.guarantee = vm.resident + 1;
	vm.kept_taken = 5;
	assert_true(policy_touch(&pool, &vm));

	/* More VMs than last blocks: one each, as long as there are. */
	vm.guarantee = 0;
	pool = (struct policy_pool){ .blocks = 640, .free = 1, .vms = 100 };
	assert_false(policy_touch(&pool, &vm));
	vm.kept_taken = 0;
	assert_true(policy_touch(&pool, &vm));

	/* What is offered to all is of neither: who is owed none gets one of those. */
	pool = (struct policy_pool){ .blocks = 640, .free = 45, .unfilled = 10, .vms = 4 };
	assert_int_equal(policy_offer(&pool), 15);
	pool.free -= 15;
	pool.offered = 15;
	assert_int_equal(policy_offer(&pool), 15);
	assert_false(policy_at_last(&pool));
	vm.kept_taken = 5;
	assert_true(policy_touch(&pool, &vm));
	pool.offered = 0;
	assert_int_equal(policy_offer(&pool), 0);
	assert_false(policy_touch(&pool, &vm));
	pool = (struct policy_pool){ .blocks = 640, .offered = 1, .vms = 4 };
	assert_int_equal(policy_offer(&pool), 0);
	assert_true(policy_touch(&pool, &vm));

	vm.kept_taken = 0;
	pool.blocks = 1 << 20;
	assert_int_equal(policy_kept(&pool), POLICY_KEPT_MOST);
	pool = (struct policy_pool){ .blocks = 31, .free = 1, .vms = 100 };	/* too small to keep any */
	vm.kept_taken = 7;
	assert_true(policy_touch(&pool, &vm));
}

static void waiters(void **state)
{
	struct policy_pool pool = a_pool();
	struct policy_vm vms[3] = { a_vm(), a_vm(), a_vm() };

	(void)state;
	assert_int_equal(policy_next_waiter(&pool, vms, 3), -1);
	vms[0].waiting = 1;
	vms[0].oldest_wait_ns = 30;
	vms[1].waiting = 5;
	vms[1].oldest_wait_ns = 20;
	vms[2].oldest_wait_ns = 1;	/* waits for nothing */
	assert_int_equal(policy_next_waiter(&pool, vms, 3), 1);
	vms[0].guarantee = 40;
	assert_int_equal(policy_next_waiter(&pool, vms, 3), 0);
	pool.free = 10;
	vms[0].guarantee = 0;
	assert_int_equal(policy_next_waiter(&pool, vms, 3), -1);
	vms[0].guarantee = 40;
	assert_int_equal(policy_next_waiter(&pool, vms, 3), 0);
}

static void asking(void **state)
{
	struct policy_vm vm = a_vm();
	uint64_t s = POLICY_ASK_INTERVAL_NS;

	(void)state;
	assert_true(policy_ask(&vm, 5 * s));
	vm.asked_ns = 5 * s;
	assert_false(policy_ask(&vm, 5 * s));
	assert_false(policy_ask(&vm, 5 * s - 1));	/* asked after the caller had looked at the clock */
	assert_false(policy_ask(&vm, 6 * s - 1));
	assert_true(policy_ask(&vm, 6 * s));
	vm.guarantee = 25;	/* what it gave back would be kept for it */
	assert_false(policy_ask(&vm, 6 * s));
	vm.guarantee = 24;
	assert_true(policy_ask(&vm, 6 * s));
	vm.connected = false;
	assert_false(policy_ask(&vm, 6 * s));
}

static void guarantees(void **state)
{
	struct policy_pool pool = a_pool();
	struct ml_why why = { "" };

	(void)state;
	assert_int_equal(policy_guarantee(&pool, 0, 30, 0, &why), 0);
	assert_int_equal(policy_guarantee(&pool, 0, 31, 0, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "62M"));	/* the guarantee */
	assert_non_null(strstr(why.text, "80M"));	/* free */
	assert_int_equal(policy_guarantee(&pool, 0, 71, 71, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "60M"));	/* guaranteed to others */
	assert_int_equal(policy_guarantee(&pool, 0, 70, 40, &why), 0);
	/* Lowering is always possible, also where more is promised than there is. */
	pool.free = 0;
	assert_int_equal(policy_guarantee(&pool, 10, 5, 0, &why), 0);
	assert_int_equal(policy_guarantee(&pool, 10, 10, 0, &why), 0);
	assert_int_equal(policy_guarantee(&pool, 0, UINT64_MAX, 0, &why), -ENOSPC);
}

static void admission(void **state)
{
	struct policy_pool pool = a_pool();
	struct ml_why why = { "" };

	(void)state;
	assert_int_equal(policy_admit(&pool, 30, 0, &why), 0);
	assert_int_equal(policy_admit(&pool, 31, 0, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "120 %"));
	assert_int_equal(policy_admit(&pool, 30, 30, &why), 0);
	assert_int_equal(policy_admit(&pool, 30, 31, &why), -ENOSPC);
	pool.overbook_percent = 0;
	assert_int_equal(policy_admit(&pool, 1000, 0, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants),
		cmocka_unit_test(a_guarantee_is_granted_whatever_is_committed),
		cmocka_unit_test(touches),
		cmocka_unit_test(last_blocks), cmocka_unit_test(waiters), cmocka_unit_test(asking),
		cmocka_unit_test(guarantees), cmocka_unit_test(admission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
