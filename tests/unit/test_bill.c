// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bills from a ledger on disk: golden amounts worked out by hand, filters,
 * refusals, and a property test: whatever the usage, cuts by VM, tenant and
 * period add up to one total, to the last digit. The seed is printed on failure.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../host/base/block.h"
#include "../../host/bill/bill.h"
#include "../../host/bill/rate.h"
#include "../../host/bill/report.h"

#define HOUR_MS 3600000LL
#define T0_MS 1795219200000LL	/* 2026-11-21 00:00 UTC */

extern const char ml_embedded_ledger_sql[];

static const char plans_text[] =
	"{\"currency\":\"EUR\",\"plans\":{"
	"\"std\":{\"resident\":\"0.006\",\"committed\":\"0.0005\",\"guarantee\":\"0.002\"},"
	"\"odd\":{\"resident\":\"0.000000007\",\"committed\":\"0.123456789\",\"guarantee\":\"0\"},"
	"\"max\":{\"resident\":\"1000000\",\"committed\":\"1000000\",\"guarantee\":\"1000000\"}}}";

struct fixture {
	char path[64];
	sqlite3 *db;
	struct plans *plans;
	int64_t next_vm;
};

static void sql(sqlite3 *db, const char *text)
{
	char *error = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s: %s", text, error);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct ml_why why;
	int fd;

	strcpy(f->path, "/tmp/test_bill.XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sqlite3_open(f->path, &f->db), SQLITE_OK);
	sql(f->db, ml_embedded_ledger_sql);
	sql(f->db, "PRAGMA user_version = 1; PRAGMA synchronous = OFF");
	assert_int_equal(plans_parse(plans_text, "test", &f->plans, &why), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->db);
	unlink(f->path);
	plans_free(f->plans);
	free(f);
	return 0;
}

static int64_t add_vm(struct fixture *f, const char *tenant, const char *name, const char *plan)
{
	char text[512];
	int64_t id = ++f->next_vm;

	snprintf(text, sizeof(text),
		 "INSERT INTO vm VALUES (%lld, '00000000-0000-4000-8000-%012lld', '%s', '%s', '%s', 128, %lld, NULL)",
		 (long long)id, (long long)id, name, tenant, plan, (long long)(T0_MS + id));
	sql(f->db, text);
	return id;
}

static void add_usage(struct fixture *f, int64_t vm, int64_t start, int64_t until,
		      int64_t resident, int64_t committed, int64_t guarantee)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "INSERT INTO usage VALUES (%lld, %lld, %lld, %lld, %lld, %lld, 7, 11, 2, 5)",
		 (long long)vm, (long long)start, (long long)until, (long long)resident,
		 (long long)committed, (long long)guarantee);
	sql(f->db, text);
}

static struct bill *query(struct fixture *f, struct bill_filter filter)
{
	struct bill *bill = NULL;
	struct ml_why why = { "" };
	int err = bill_query(f->path, f->plans, &filter, &bill, &why);

	if (err)
		fail_msg("bill_query: %d, %s", err, why.text);
	return bill;
}

#define ALL .from_ms = INT64_MIN, .to_ms = INT64_MAX

static void golden_amounts(void **state)
{
	const struct plan std = { "std", 6000000, 500000, 2000000 };
	const uint64_t gib_hour = ML_BLOCK_NS_PER_GIB_HOUR;
	int64_t micro;

	(void)state;
	/* One GiB resident for an hour. */
	assert_int_equal(rate_row(&std, gib_hour, 0, 0, &micro), 0);
	assert_int_equal(micro, 6000);
	/* 10 + 20 + 5 GiB-hours: 0.06 + 0.01 + 0.01. */
	assert_int_equal(rate_row(&std, 10 * gib_hour, 20 * gib_hour, 5 * gib_hour, &micro), 0);
	assert_int_equal(micro, 80000);
	/* Half a micro goes up, one block-nanosecond less goes down: rounded once, after adding. */
	assert_int_equal(rate_row(&std, gib_hour / 12000, 0, 0, &micro), 0);
	assert_int_equal(micro, 1);
	assert_int_equal(rate_row(&std, gib_hour / 12000 - 1, 0, 0, &micro), 0);
	assert_int_equal(micro, 0);
	assert_int_equal(rate_row(&std, gib_hour / 24000, gib_hour / 2000, 0, &micro), 0);
	assert_int_equal(micro, 1);	/* 0.25 + 0.25 */
	assert_int_equal(rate_row(&std, 0, 0, 0, &micro), 0);
	assert_int_equal(micro, 0);
}

static void amount_overflow(void **state)
{
	const struct plan max = { "max", PLANS_PRICE_MAX_NANO, PLANS_PRICE_MAX_NANO, PLANS_PRICE_MAX_NANO };
	int64_t micro = 5;

	(void)state;
	/* The largest possible row: 3 * (2^64 - 1) * 10^15 / (1.8432 * 10^18), by hand. */
	assert_int_equal(rate_row(&max, UINT64_MAX, UINT64_MAX, UINT64_MAX, &micro), 0);
	assert_int_equal(micro, 30023997515803307LL);
}

static void sums_overflow(void **state)
{
	struct fixture *f = *state;
	struct bill_filter filter = { ALL };
	struct bill *bill = NULL;
	struct ml_why why;
	char text[200];

	/* Amounts of 10^16 micros: a thousand of them pass 2^63. */
	sql(f->db, "BEGIN");
	int64_t vm = add_vm(f, "t", "v", "max");
	for (int i = 0; i < 1000; i++)
		add_usage(f, vm, T0_MS + i, T0_MS + i + 1, INT64_MAX, INT64_MAX, INT64_MAX);
	sql(f->db, "COMMIT");
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -EOVERFLOW);
	assert_non_null(strstr(why.text, "narrow"));
	assert_null(bill);
	/* Usage alone has room: 128 bits. */
	snprintf(text, sizeof(text), "UPDATE vm SET plan = 'odd'");
	sql(f->db, text);
	sql(f->db, "UPDATE usage SET committed_block_ns = 0");
	bill = query(f, filter);
	assert_true(bill->total.resident_block_ns == (ml_u128)INT64_MAX * 1000);
	bill_free(bill);
}

static void lines_and_filters(void **state)
{
	struct fixture *f = *state;
	int64_t gib = (int64_t)ML_BLOCK_NS_PER_GIB_HOUR;
	struct bill *bill;
	int64_t b1, a1, a2;

	b1 = add_vm(f, "bob", "web", "std");
	a1 = add_vm(f, "ann", "db", "std");
	a2 = add_vm(f, "ann", "db", "odd");	/* the name again, after the first VM ended */
	add_usage(f, b1, T0_MS + 1000, T0_MS + HOUR_MS, gib, 2 * gib, 0);
	add_usage(f, b1, T0_MS + HOUR_MS, T0_MS + 2 * HOUR_MS, gib, 2 * gib, 0);
	add_usage(f, a1, T0_MS, T0_MS + HOUR_MS / 2, gib / 2, gib, gib);
	add_usage(f, a2, T0_MS + HOUR_MS / 2, T0_MS + HOUR_MS, gib, gib, gib);

	bill = query(f, (struct bill_filter){ ALL, .by = BILL_BY_VM });
	assert_int_equal(bill->count, 3);
	assert_string_equal(bill->lines[0].tenant, "ann");
	assert_string_equal(bill->lines[0].plan, "std");
	assert_int_equal(bill->lines[0].usage.amount_micro, 3000 + 500 + 2000);
	assert_string_equal(bill->lines[1].plan, "odd");
	assert_int_equal(bill->lines[1].usage.amount_micro, 123457);	/* 0.123456789 + 0.000000007 */
	assert_string_equal(bill->lines[2].vm, "web");
	assert_int_equal(bill->lines[2].start_ms, T0_MS + 1000);
	assert_int_equal(bill->lines[2].until_ms, T0_MS + 2 * HOUR_MS);
	assert_int_equal(bill->lines[2].usage.covered_ms, 2 * HOUR_MS - 1000);
	assert_int_equal(bill->lines[2].touches, 22);
	assert_int_equal(bill->lines[2].peak_resident_blocks, 7);
	assert_int_equal(bill->total.amount_micro, 5500 + 123457 + 14000);
	bill_free(bill);

	bill = query(f, (struct bill_filter){ ALL, .by = BILL_BY_TENANT });
	assert_int_equal(bill->count, 2);
	assert_string_equal(bill->lines[0].vm, "");
	assert_string_equal(bill->lines[0].plan, "");
	bill_free(bill);

	/* A period counts where it starts: from is included, to is not. */
	bill = query(f, (struct bill_filter){ .from_ms = T0_MS + 1000, .to_ms = T0_MS + HOUR_MS,
					      .by = BILL_BY_PERIOD });
	assert_int_equal(bill->count, 2);
	assert_int_equal(bill->lines[0].start_ms, T0_MS + HOUR_MS / 2);
	assert_int_equal(bill->lines[1].start_ms, T0_MS + 1000);
	bill_free(bill);

	bill = query(f, (struct bill_filter){ ALL, .tenant = "ann", .by = BILL_BY_PERIOD });
	assert_int_equal(bill->count, 2);
	bill_free(bill);
	bill = query(f, (struct bill_filter){ ALL, .tenant = "ann", .name = "web" });
	assert_int_equal(bill->count, 0);
	assert_true(bill->total.priced);
	assert_int_equal(bill->total.amount_micro, 0);
	bill_free(bill);
	bill = query(f, (struct bill_filter){ ALL, .tenant = "' OR 1=1 --" });
	assert_int_equal(bill->count, 0);
	bill_free(bill);
}

static void missing_plan(void **state)
{
	struct fixture *f = *state;
	int64_t gib = (int64_t)ML_BLOCK_NS_PER_GIB_HOUR;
	int64_t gone = add_vm(f, "ann", "a", "gone"), std = add_vm(f, "bob", "b", "std");
	struct bill *bill;
	json_t *json, *lines;

	add_usage(f, gone, T0_MS, T0_MS + HOUR_MS, gib, gib, gib);
	add_usage(f, gone, T0_MS + HOUR_MS, T0_MS + 2 * HOUR_MS, gib, gib, gib);
	add_usage(f, std, T0_MS, T0_MS + HOUR_MS, gib, 0, 0);
	bill = query(f, (struct bill_filter){ ALL, .by = BILL_BY_VM });
	assert_int_equal(bill->unpriced_count, 1);
	assert_string_equal(bill->unpriced[0], "gone");
	assert_false(bill->total.priced);
	json = bill_to_json(bill);
	lines = json_object_get(json, "lines");
	assert_true(json_is_null(json_object_get(json_array_get(lines, 0), "amount")));
	assert_string_equal(json_string_value(json_object_get(json_array_get(lines, 0), "resident-block-ns")),
			    "3686400000000000");
	assert_string_equal(json_string_value(json_object_get(json_array_get(lines, 1), "amount")), "0.006000");
	assert_true(json_is_null(json_object_get(json_object_get(json, "total"), "amount")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "unpriced-plans"), 0)), "gone");
	assert_null(json_object_get(json, "from"));
	json_decref(json);
	bill_free(bill);
}

static void refusals(void **state)
{
	struct fixture *f = *state;
	struct bill_filter filter = { ALL };
	struct bill *bill = NULL;
	struct ml_why why;
	int64_t vm;

	assert_int_equal(bill_query("/nonexistent/l.db", f->plans, &filter, &bill, &why), -ENOENT);
	assert_non_null(strstr(why.text, "/nonexistent/l.db"));
	assert_int_equal(bill_query("/etc/passwd", f->plans, &filter, &bill, &why), -EIO);
	sql(f->db, "PRAGMA user_version = 2");
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -EPROTO);
	assert_non_null(strstr(why.text, "version 2"));
	sql(f->db, "PRAGMA user_version = 1");

	vm = add_vm(f, "t", "v", "std");
	add_usage(f, vm, T0_MS, T0_MS + 1, -1, 0, 0);
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -EUCLEAN);
	sql(f->db, "DELETE FROM usage");
	add_usage(f, vm, T0_MS, T0_MS - 1, 1, 0, 0);
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -EUCLEAN);
	assert_non_null(strstr(why.text, "edited"));
	sql(f->db, "DELETE FROM usage");
	add_usage(f, vm, INT64_MIN + 1, INT64_MAX, 1, 0, 0);
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -EOVERFLOW);
	assert_null(bill);
}

static void too_many_lines(void **state)
{
	struct fixture *f = *state;
	struct bill_filter filter = { ALL, .by = BILL_BY_PERIOD };
	struct bill *bill = NULL;
	struct ml_why why;
	char text[300];

	add_vm(f, "t", "v", "std");
	snprintf(text, sizeof(text),
		 "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		 " INSERT INTO usage SELECT 1, i, i + 1, 1, 1, 1, 1, 1, 1, 1 FROM n", BILL_LINES_MAX);
	sql(f->db, text);
	assert_int_equal(bill_query(f->path, f->plans, &filter, &bill, &why), -E2BIG);
	assert_non_null(strstr(why.text, "narrow"));
	filter.by = BILL_BY_VM;
	bill = query(f, filter);
	assert_int_equal(bill->count, 1);
	assert_int_equal(bill->lines[0].touches, BILL_LINES_MAX + 1);
	bill_free(bill);
}

static void writes_nothing(void **state)
{
	struct fixture *f = *state;
	int before, after;

	add_usage(f, add_vm(f, "t", "v", "std"), T0_MS, T0_MS + 1, 1, 1, 1);
	sql(f->db, "PRAGMA journal_mode = WAL");
	/* A writer in the middle of a transaction neither blocks the bill nor shows in it. */
	sql(f->db, "BEGIN IMMEDIATE");
	sql(f->db, "UPDATE usage SET touches = 99");
	before = sqlite3_total_changes(f->db);
	struct bill *bill = query(f, (struct bill_filter){ ALL });
	after = sqlite3_total_changes(f->db);
	assert_int_equal(bill->lines[0].touches, 11);
	assert_int_equal(before, after);
	bill_free(bill);
	sql(f->db, "COMMIT");
	bill = query(f, (struct bill_filter){ ALL });
	assert_int_equal(bill->lines[0].touches, 99);
	bill_free(bill);
}

/* --- whatever the usage, every cut adds up --- */

static uint64_t rng;

static uint64_t draw(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void fill_randomly(struct fixture *f)
{
	static const char *const plans[] = { "std", "odd" };
	int vms = 1 + (int)(draw() % 12);

	sql(f->db, "BEGIN; DELETE FROM usage; DELETE FROM vm");
	for (int i = 0; i < vms; i++) {
		char tenant[16], name[16];
		int64_t start = T0_MS + (int64_t)(draw() % (3 * HOUR_MS));
		int rows = (int)(draw() % 30);
		int64_t vm;

		snprintf(tenant, sizeof(tenant), "t%d", (int)(draw() % 4));
		snprintf(name, sizeof(name), "v%d", (int)(draw() % 6));
		vm = add_vm(f, tenant, name, plans[draw() % 2]);
		for (int r = 0; r < rows; r++) {
			int64_t until = start - start % HOUR_MS + HOUR_MS;
			int shift = 12 + (int)(draw() % 40);

			add_usage(f, vm, start, until, (int64_t)(draw() >> shift),
				  (int64_t)(draw() >> shift), (int64_t)(draw() >> shift));
			start = until;
		}
	}
	sql(f->db, "COMMIT");
}

static void sum_lines(const struct bill *bill, struct bill_usage *sum)
{
	*sum = (struct bill_usage){ .priced = true };
	for (size_t i = 0; i < bill->count; i++)
		assert_int_equal(usage_add(sum, &bill->lines[i].usage), 0);
}

static void same_usage(const struct bill_usage *a, const struct bill_usage *b)
{
	assert_int_equal(a->amount_micro, b->amount_micro);
	assert_int_equal(a->covered_ms, b->covered_ms);
	assert_true(a->resident_block_ns == b->resident_block_ns);
	assert_true(a->committed_block_ns == b->committed_block_ns);
	assert_true(a->guarantee_block_ns == b->guarantee_block_ns);
}

/* Each cut sums to the total; two halves of the time sum to the whole. */
static void check_cuts(struct fixture *f)
{
	struct bill *all = query(f, (struct bill_filter){ ALL });
	int64_t cut = T0_MS + (int64_t)(draw() % (20 * HOUR_MS));
	struct bill_usage sum, halves = { .priced = true };

	for (enum bill_by by = BILL_BY_VM; by <= BILL_BY_PERIOD; by++) {
		struct bill *bill = query(f, (struct bill_filter){ ALL, .by = by });

		sum_lines(bill, &sum);
		same_usage(&sum, &bill->total);
		same_usage(&bill->total, &all->total);
		bill_free(bill);
	}
	for (int late = 0; late < 2; late++) {
		struct bill *bill = query(f, (struct bill_filter){
			.from_ms = late ? cut : INT64_MIN, .to_ms = late ? INT64_MAX : cut });

		usage_add(&halves, &bill->total);
		bill_free(bill);
	}
	same_usage(&halves, &all->total);

	sum = (struct bill_usage){ .priced = true };
	for (int t = 0; t < 4; t++) {
		char tenant[16];

		snprintf(tenant, sizeof(tenant), "t%d", t);
		struct bill *bill = query(f, (struct bill_filter){ ALL, .tenant = tenant });
		usage_add(&sum, &bill->total);
		bill_free(bill);
	}
	same_usage(&sum, &all->total);
	bill_free(all);
}

static void cuts_add_up(void **state)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;

	rng = seed | 1;
	print_message("# SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 60; round++) {
		fill_randomly(*state);
		check_cuts(*state);
	}
}

static void by_names(void **state)
{
	enum bill_by by;

	(void)state;
	assert_int_equal(bill_by_parse("tenant", &by), 0);
	assert_int_equal(by, BILL_BY_TENANT);
	assert_int_equal(bill_by_parse("period", &by), 0);
	assert_int_equal(by, BILL_BY_PERIOD);
	assert_int_equal(bill_by_parse("month", &by), -EINVAL);
}

#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_amounts), cmocka_unit_test(amount_overflow),
		cmocka_unit_test(by_names), WITH_LEDGER(sums_overflow),
		WITH_LEDGER(lines_and_filters), WITH_LEDGER(missing_plan), WITH_LEDGER(refusals),
		WITH_LEDGER(too_many_lines), WITH_LEDGER(writes_nothing), WITH_LEDGER(cuts_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
