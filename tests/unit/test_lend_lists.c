// SPDX-License-Identifier: GPL-2.0-or-later
/* lend/queue.c and lend/lost.c: the touches that wait, and the slots that are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../host/lend/lost.h"
#include "../../host/lend/queue.h"

#define BOOT MEMLEASE_REGION_BOOT
#define WINDOW MEMLEASE_REGION_WINDOW
#define SLOTS 40

static void the_oldest_is_first(void **state)
{
	struct queue q = { 0 };
	struct queued t;

	(void)state;
	assert_null(queue_first(&q));
	assert_false(queue_take(&q, &t));
	assert_false(queue_has(&q, WINDOW, 7));
	assert_int_equal(queue_add(&q, WINDOW, SLOTS, 7, 100), 0);
	assert_int_equal(queue_add(&q, BOOT, SLOTS, 7, 130), 0);
	assert_int_equal(queue_add(&q, WINDOW, SLOTS, 39, 150), 0);
	assert_int_equal(queue_count(&q), 3);
	assert_true(queue_has(&q, WINDOW, 7) && queue_has(&q, BOOT, 7) && queue_has(&q, WINDOW, 39));
	assert_false(queue_has(&q, BOOT, 39));
	assert_int_equal(queue_first(&q)->since_ns, 100);
	assert_int_equal(queue_next(queue_first(&q))->region, BOOT);
	assert_true(queue_take(&q, &t));
	assert_int_equal(t.slot, 7);
	assert_int_equal(t.region, WINDOW);
	assert_false(queue_has(&q, WINDOW, 7));
	queue_free(&q);
	assert_int_equal(queue_count(&q), 0);
}

/* Between those that stay, at both ends, and all of them. */
static void a_range_is_taken_out(void **state)
{
	struct queue q = { 0 };
	struct queued *after = NULL, t;
	uint64_t taken = 0;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(queue_add(&q, i % 2 ? WINDOW : BOOT, SLOTS, i, i), 0);
	while (queue_take_of(&q, WINDOW, 3, 5, &after, &t)) {
		assert_true(t.region == WINDOW && t.slot >= 3 && t.slot < 8);
		taken++;
	}
	assert_int_equal(taken, 3);
	assert_int_equal(queue_count(&q), 7);
	for (after = NULL; queue_take_of(&q, BOOT, 0, SLOTS, &after, &t);)
		taken++;
	assert_int_equal(taken, 8);
	assert_int_equal(queue_first(&q)->slot, 1);
	assert_int_equal(queue_next(queue_first(&q))->slot, 9);
	assert_null(queue_next(queue_next(queue_first(&q))));
	for (after = NULL; queue_take_of(&q, WINDOW, 0, SLOTS, &after, &t);)
		taken++;
	assert_int_equal(taken, 10);
	assert_null(queue_first(&q));
	/* What is empty can be added to again. */
	assert_int_equal(queue_add(&q, WINDOW, SLOTS, 5, 1), 0);
	assert_int_equal(queue_first(&q)->slot, 5);
	queue_free(&q);
}

static void a_loss_is_told_once(void **state)
{
	struct lost l = { { NULL }, NULL };
	struct lost_slot s;

	(void)state;
	assert_false(lost_has(&l, WINDOW, 3));
	lost_mend(&l, WINDOW, 0, SLOTS);
	assert_true(lost_add(&l, WINDOW, SLOTS, 3));
	assert_false(lost_add(&l, WINDOW, SLOTS, 3));
	assert_true(lost_add(&l, BOOT, SLOTS, 3));
	assert_int_equal(lost_first(&l)->region, BOOT);
	assert_int_equal(lost_next(lost_first(&l))->region, WINDOW);
	assert_true(lost_tell(&l, &s) && lost_tell(&l, &s));
	assert_int_equal(s.slot, 3);
	assert_false(lost_tell(&l, &s));
	/* It is lost still, and no news. */
	assert_true(lost_has(&l, WINDOW, 3));
	assert_false(lost_add(&l, WINDOW, SLOTS, 3));
	/* What was had anew can be lost anew. */
	lost_mend(&l, WINDOW, 0, 4);
	assert_false(lost_has(&l, WINDOW, 3));
	assert_true(lost_has(&l, BOOT, 3));
	assert_true(lost_add(&l, WINDOW, SLOTS, 3));
	lost_free(&l);
	assert_null(lost_first(&l));
	assert_false(lost_has(&l, BOOT, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_is_first),
		cmocka_unit_test(a_range_is_taken_out),
		cmocka_unit_test(a_loss_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
