// SPDX-License-Identifier: GPL-2.0-or-later
/* meter/meter.c: exact integrals, periods, jumps of the wall clock, crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "../../host/base/step.h"
#include "../../host/meter/meter.h"

#define S_NS 1000000000ULL
#define HOUR_MS 3600000LL
#define PERIOD_S 3600
#define T0_MS (486111 * HOUR_MS)	/* an hour's start */

static const struct meter_counts two_five_one = { 2, 5, 1 }, none = { 0, 0, 0 };

static void integrals_are_exact(void **state)
{
	struct meter_events e = { .touches = 3 };
	const struct meter_state *s;
	struct meter m;

	(void)state;
	meter_init(&m, 1000, T0_MS);
	meter_change(&m, 1000, &two_five_one, NULL);
	meter_change(&m, 1001, &none, &e);
	meter_change(&m, 5000, &two_five_one, NULL);
	meter_advance(&m, 5003);
	meter_advance(&m, 5001);	/* time does not go back */
	s = meter_now(&m);
	assert_true(s->total.resident_ns == 2 * 4);
	assert_true(s->total.committed_ns == 5 * 4);
	assert_true(s->total.guarantee_ns == 4);
	assert_int_equal(s->total.touches, 3);
	assert_int_equal(s->peak_resident, 2);
	meter_validate(&m);
}

/* A wait counts as it goes on, in the period that it falls in; also one that is told of late. */
static void waits_are_integrated(void **state)
{
	const struct meter_events begins = { .waits = 1 }, ends = { .served = 1 };
	const uint64_t hour_ns = HOUR_MS * 1000000;
	struct meter_row row;
	struct meter m;

	(void)state;
	meter_init(&m, 1000, T0_MS);
	meter_change(&m, 1000, &none, &begins);
	meter_advance(&m, 1010);
	assert_int_equal(meter_now(&m)->total.wait_ns, 10);
	meter_change(&m, 1004, &none, &begins);		/* another one, since a while */
	assert_int_equal(meter_now(&m)->total.wait_ns, 16);
	meter_change(&m, 1020, &none, &ends);
	assert_int_equal(meter_now(&m)->total.wait_ns, 36);
	/* An hour of it, of which half lies after the end of the period. */
	meter_tick(&m, 1020 + hour_ns, T0_MS + HOUR_MS + HOUR_MS / 2, PERIOD_S);
	assert_int_equal(meter_closed_row(&m, 0)->wait_ns, 36 + hour_ns / 2);
	meter_open_row(&m, &row);
	assert_int_equal(row.wait_ns, hour_ns / 2);
	assert_int_equal(row.waits, 0);
	/* A new daemon is told anew by who waits. */
	meter_waits_anew(&m, 1030 + hour_ns);
	meter_advance(&m, 5000 + hour_ns);
	assert_int_equal(meter_now(&m)->total.wait_ns, 46 + hour_ns);
	assert_int_equal(meter_now(&m)->total.waits, 2);
	meter_change(&m, 6000 + hour_ns, &none, &ends);	/* of one it knew nothing of */
	assert_int_equal(meter_now(&m)->waiting, 0);
	meter_validate(&m);
}

static void sums_pass_64_bits(void **state)
{
	const struct meter_counts tib = { 1 << 19, 1 << 19, 0 };
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS);
	meter_change(&m, 0, &tib, NULL);
	meter_advance(&m, 1000000 * S_NS);
	assert_true(meter_now(&m)->total.resident_ns ==
		    (ml_u128)(1 << 19) * 1000000 * S_NS);
	assert_true(meter_now(&m)->total.resident_ns >> 64 != 0);
}

static void periods_close_at_their_boundary(void **state)
{
	const struct meter_row *row;
	struct meter_row open;
	struct meter m;

	(void)state;
	/* 10 s before the hour. */
	meter_init(&m, 50 * S_NS, T0_MS - 10000);
	meter_change(&m, 50 * S_NS, &two_five_one, NULL);
	meter_tick(&m, 55 * S_NS, T0_MS - 5000, PERIOD_S);
	assert_int_equal(meter_now(&m)->closed, 0);
	meter_open_row(&m, &open);
	assert_int_equal(open.start_ms, T0_MS - 10000);
	assert_int_equal(open.until_ms, T0_MS - 5000);
	assert_int_equal(open.resident_block_ns, 10 * S_NS);
	/* The tick comes 250 ms late: usage is cut at the hour all the same. */
	meter_tick(&m, 60 * S_NS + S_NS / 4, T0_MS + 250, PERIOD_S);
	assert_int_equal(meter_now(&m)->closed, 1);
	row = meter_closed_row(&m, 0);
	assert_int_equal(row->start_ms, T0_MS - 10000);
	assert_int_equal(row->until_ms, T0_MS);
	assert_int_equal(row->resident_block_ns, 20 * S_NS);
	assert_int_equal(row->guarantee_block_ns, 10 * S_NS);
	meter_open_row(&m, &open);
	assert_int_equal(open.start_ms, T0_MS);
	assert_int_equal(open.until_ms, T0_MS + 250);
	assert_int_equal(open.resident_block_ns, S_NS / 2);
	assert_int_equal(open.peak_resident_blocks, 2);
}

static void a_gap_of_several_periods(void **state)
{
	struct meter_row open;
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS + 1800000);
	meter_change(&m, 0, &two_five_one, NULL);
	meter_tick(&m, 9000 * S_NS, T0_MS + 1800000 + 9000000, PERIOD_S);
	assert_int_equal(meter_now(&m)->closed, 3);
	assert_int_equal(meter_closed_row(&m, 0)->resident_block_ns, 2 * 1800 * S_NS);
	assert_int_equal(meter_closed_row(&m, 1)->resident_block_ns, 2 * 3600 * S_NS);
	assert_int_equal(meter_closed_row(&m, 1)->start_ms, T0_MS + HOUR_MS);
	assert_int_equal(meter_closed_row(&m, 2)->until_ms, T0_MS + 3 * HOUR_MS);
	meter_open_row(&m, &open);
	assert_int_equal(open.resident_block_ns, 0);
	assert_int_equal(open.start_ms, T0_MS + 3 * HOUR_MS);
}

static void the_wall_clock_jumps_forward(void **state)
{
	struct meter_row open;
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS);
	meter_change(&m, 0, &two_five_one, NULL);
	meter_tick(&m, 10 * S_NS, T0_MS + 10000, PERIOD_S);
	/* A year passes in a second: one row is closed, not thousands. */
	meter_tick(&m, 11 * S_NS, T0_MS + 8760 * HOUR_MS + 500, PERIOD_S);
	assert_int_equal(meter_now(&m)->closed, 2);
	assert_int_equal(meter_closed_row(&m, 0)->resident_block_ns, 20 * S_NS);
	meter_open_row(&m, &open);
	assert_int_equal(meter_closed_row(&m, 0)->resident_block_ns +
			 meter_closed_row(&m, 1)->resident_block_ns + open.resident_block_ns,
			 22 * S_NS);
	assert_int_equal(open.start_ms, T0_MS + 8760 * HOUR_MS);
	assert_int_equal(open.resident_block_ns, S_NS);
	meter_validate(&m);
}

static void the_wall_clock_jumps_back(void **state)
{
	struct meter_row open;
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS + 100000);
	meter_change(&m, 0, &two_five_one, NULL);
	meter_tick(&m, S_NS, T0_MS + 101000, PERIOD_S);
	meter_tick(&m, 2 * S_NS, T0_MS - 50 * HOUR_MS, PERIOD_S);
	assert_int_equal(meter_now(&m)->closed, 0);
	meter_open_row(&m, &open);
	assert_int_equal(open.until_ms, T0_MS + 101000);
	assert_int_equal(open.resident_block_ns, 4 * S_NS);
	meter_validate(&m);
}

static void without_room_the_open_row_goes_on(void **state)
{
	uint64_t now_ns = 0, sum = 0, closed;
	int64_t wall_ms = T0_MS, until = 0;
	struct meter_row open;
	struct meter m;

	(void)state;
	meter_init(&m, now_ns, wall_ms);
	meter_change(&m, now_ns, &two_five_one, NULL);
	for (int h = 0; h < METER_CLOSED_MAX + 10; h++) {
		now_ns += 3600 * S_NS;
		wall_ms += HOUR_MS;
		meter_tick(&m, now_ns, wall_ms, PERIOD_S);
	}
	assert_int_equal(meter_now(&m)->closed, METER_CLOSED_MAX);
	meter_open_row(&m, &open);
	assert_int_equal(open.resident_block_ns, 10 * 2 * 3600 * S_NS);
	/* The ledger comes back. */
	meter_taken(&m, METER_CLOSED_MAX);
	now_ns += 3600 * S_NS;
	wall_ms += HOUR_MS;
	meter_tick(&m, now_ns, wall_ms, PERIOD_S);
	closed = meter_now(&m)->closed;
	assert_int_equal(closed, METER_CLOSED_MAX + 1);
	for (uint64_t i = closed - METER_CLOSED_MAX; i < closed; i++) {
		const struct meter_row *row = meter_closed_row(&m, i);

		assert_true(row->start_ms >= until && row->until_ms > row->start_ms);
		until = row->until_ms;
		sum += row->resident_block_ns / S_NS;
	}
	/* All but the first hour, whose row was overwritten after it was taken. */
	assert_int_equal(sum, 2 * 3600 * (METER_CLOSED_MAX + 10));
}

static struct meter snapshot, *victim;

static void take_snapshot(const char *where)
{
	(void)where;
	snapshot = *victim;
}

/* The state seen by a daemon that starts where the last one died: old or new, whole. */
static void a_crash_within_a_change(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS);
	meter_change(&m, 0, &two_five_one, NULL);
	victim = &m;
	ml_step_hook = take_snapshot;
	meter_change(&m, 100, &none, NULL);
	ml_step_hook = NULL;
	/* Just before the index changed: the old state, and nothing of the new. */
	assert_int_equal(meter_now(&snapshot)->at_ns, 0);
	assert_int_equal(meter_now(&snapshot)->counts.resident, 2);
	meter_change(&snapshot, 100, &none, NULL);
	assert_memory_equal(meter_now(&snapshot), meter_now(&m), sizeof(struct meter_state));
	assert_true(meter_now(&m)->total.resident_ns == 200);
}

static void corrections_take_the_whole_gap(void **state)
{
	const struct meter_counts found = { 3, 5, 1 };
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS);
	meter_change(&m, 0, &two_five_one, NULL);
	meter_advance(&m, 10);
	meter_correct(&m, &found);
	meter_advance(&m, 30);
	assert_true(meter_now(&m)->total.resident_ns == 20 + 60);
	assert_int_equal(meter_now(&m)->peak_resident, 3);
}

static void implausible_records(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, 0, T0_MS);
	assert_true(meter_plausible(&m));
	m.index = 2;
	assert_false(meter_plausible(&m));
	m.index = 1;
	m.taken = 1;
	assert_false(meter_plausible(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integrals_are_exact), cmocka_unit_test(waits_are_integrated),
		cmocka_unit_test(sums_pass_64_bits),
		cmocka_unit_test(periods_close_at_their_boundary),
		cmocka_unit_test(a_gap_of_several_periods),
		cmocka_unit_test(the_wall_clock_jumps_forward),
		cmocka_unit_test(the_wall_clock_jumps_back),
		cmocka_unit_test(without_room_the_open_row_goes_on),
		cmocka_unit_test(a_crash_within_a_change),
		cmocka_unit_test(corrections_take_the_whole_gap),
		cmocka_unit_test(implausible_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
