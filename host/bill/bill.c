// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From the ledger's rows to a bill. Called by the control socket's worker
 * thread; opens the ledger read-only and never waits for more than SQLite's
 * busy timeout. Every value it reads is checked: a ledger may have been edited.
 */
#include "bill.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../meter/ledger.h"

#define BILL_BUSY_TIMEOUT_MS 5000
#define BILL_STEPS_PER_LOOK 10000	/* of SQLite's machine, about 1 ms */

/* One row, and which VM it is of: names may repeat over time, ids do not. */
struct row {
	int64_t vm_id;
	struct bill_line line;
};

/* A bill being made. */
struct sheet {
	struct bill *bill;
	size_t capacity;	/* of bill->lines */
	int64_t last_vm_id;	/* of the last line, by VM */
	const struct plans *plans;
	struct ml_why *why;
};

static void db_close(sqlite3 **db)
{
	sqlite3_close(*db);
}

static void stmt_finalize(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

#define auto_db __attribute__((cleanup(db_close)))
#define auto_stmt __attribute__((cleanup(stmt_finalize)))

static int refuse_sqlite(struct ml_why *why, sqlite3 *db, const char *path)
{
	int code = sqlite3_errcode(db) & 0xff;
	int err = code == SQLITE_INTERRUPT ? -ECANCELED :
		  code == SQLITE_BUSY || code == SQLITE_LOCKED ? -EBUSY :
		  code == SQLITE_NOMEM ? -ENOMEM : -EIO;

	return ml_refuse(why, err, "the ledger %s cannot be read: %s", path, sqlite3_errmsg(db));
}

static int open_read_only(const char *path, sqlite3 **db, struct ml_why *why)
{
	auto_stmt sqlite3_stmt *stmt = NULL;
	int version;

	if (access(path, F_OK) && errno == ENOENT)
		return ml_refuse(why, -ENOENT,
				 "there is no ledger at %s; memleased makes it when it starts",
				 path);
	if (sqlite3_open_v2(path, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		if (!*db)
			return -ENOMEM;
		return refuse_sqlite(why, *db, path);
	}
	sqlite3_busy_timeout(*db, BILL_BUSY_TIMEOUT_MS);
	if (sqlite3_prepare_v2(*db, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return refuse_sqlite(why, *db, path);
	version = sqlite3_column_int(stmt, 0);
	if (version != LEDGER_VERSION)
		return ml_refuse(why, -EPROTO,
				 "the ledger %s has version %d, this program reads version %d; use the memleased that wrote it",
				 path, version, LEDGER_VERSION);
	return 0;
}

/* Tenant, then name, then age of the VM, then time: lines of every cut are runs of rows. */
static const char bill_sql[] =
	"SELECT vm.id, vm.tenant, vm.name, vm.uuid, vm.plan, u.start_ms, u.until_ms,"
	" u.resident_block_ns, u.committed_block_ns, u.guarantee_block_ns,"
	" u.peak_resident_blocks, u.touches, u.waits, u.wait_ns"
	" FROM usage u JOIN vm ON vm.id = u.vm"
	" WHERE u.start_ms >= ?1 AND u.start_ms < ?2"
	" AND (?3 IS NULL OR vm.tenant = ?3) AND (?4 IS NULL OR vm.name = ?4)"
	" ORDER BY vm.tenant, vm.name, vm.created_ms, vm.id, u.start_ms";

static int column_text(sqlite3_stmt *stmt, int column, char *to, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	if (!text || strlen(text) >= size)
		return -EUCLEAN;
	memcpy(to, text, strlen(text) + 1);
	return 0;
}

/* A count or a sum, never negative. */
static int column_u64(sqlite3_stmt *stmt, int column, uint64_t *to)
{
	int64_t value = sqlite3_column_int64(stmt, column);

	if (value < 0)
		return -EUCLEAN;
	*to = (uint64_t)value;
	return 0;
}

static int row_text(sqlite3_stmt *stmt, struct bill_line *line)
{
	if (column_text(stmt, 1, line->tenant, sizeof(line->tenant)) ||
	    column_text(stmt, 2, line->vm, sizeof(line->vm)) ||
	    column_text(stmt, 3, line->uuid, sizeof(line->uuid)) ||
	    column_text(stmt, 4, line->plan, sizeof(line->plan)))
		return -EUCLEAN;
	return 0;
}

static void note_unpriced(struct bill *bill, const char *plan)
{
	for (size_t i = 0; i < bill->unpriced_count; i++)
		if (!strcmp(bill->unpriced[i], plan))
			return;
	if (bill->unpriced_count < BILL_UNPRICED_MAX)
		snprintf(bill->unpriced[bill->unpriced_count++], LEND_NAME_MAX + 1, "%s", plan);
}

static int row_read(struct sheet *sheet, sqlite3_stmt *stmt, struct row *row)
{
	struct bill_line *line = &row->line;
	uint64_t resident, committed, guarantee;
	const struct plan *plan;

	memset(row, 0, sizeof(*row));
	row->vm_id = sqlite3_column_int64(stmt, 0);
	line->start_ms = sqlite3_column_int64(stmt, 5);
	line->until_ms = sqlite3_column_int64(stmt, 6);
	if (row_text(stmt, line) || column_u64(stmt, 7, &resident) ||
	    column_u64(stmt, 8, &committed) || column_u64(stmt, 9, &guarantee) ||
	    column_u64(stmt, 10, &line->peak_resident_blocks) ||
	    column_u64(stmt, 11, &line->touches) || column_u64(stmt, 12, &line->waits) ||
	    column_u64(stmt, 13, &line->wait_ns) || line->until_ms < line->start_ms)
		return ml_refuse(sheet->why, -EUCLEAN,
				 "the ledger's row of VM %lld at %lld ms holds a value that cannot be; was the ledger edited?",
				 (long long)row->vm_id, (long long)line->start_ms);
	line->usage.resident_block_ns = resident;
	line->usage.committed_block_ns = committed;
	line->usage.guarantee_block_ns = guarantee;
	if (__builtin_sub_overflow(line->until_ms, line->start_ms, &line->usage.covered_ms))
		return -EOVERFLOW;
	plan = plans_find(sheet->plans, line->plan);
	line->usage.priced = plan != NULL;
	if (!plan) {
		note_unpriced(sheet->bill, line->plan);
		return 0;
	}
	return rate_row(plan, resident, committed, guarantee, &line->usage.amount_micro);
}

/* Does the row belong to the last line? */
static bool sheet_continues(const struct sheet *sheet, const struct row *row)
{
	const struct bill *bill = sheet->bill;

	if (!bill->count)
		return false;
	switch (bill->by) {
	case BILL_BY_TENANT:
		return !strcmp(bill->lines[bill->count - 1].tenant, row->line.tenant);
	case BILL_BY_VM:
		return sheet->last_vm_id == row->vm_id;
	case BILL_BY_PERIOD:
		break;
	}
	return false;
}

static int sheet_new_line(struct sheet *sheet, const struct row *row)
{
	struct bill *bill = sheet->bill;
	struct bill_line *line;

	if (bill->count == BILL_LINES_MAX)
		return ml_refuse(sheet->why, -E2BIG,
				 "the bill has more than %d lines; narrow it by tenant, name, from or to, or cut it by tenant",
				 BILL_LINES_MAX);
	if (bill->count == sheet->capacity) {
		size_t capacity = sheet->capacity ? 2 * sheet->capacity : 16;
		struct bill_line *lines = reallocarray(bill->lines, capacity, sizeof(*lines));

		if (!lines)
			return -ENOMEM;
		bill->lines = lines;
		sheet->capacity = capacity;
	}
	line = &bill->lines[bill->count++];
	*line = row->line;
	sheet->last_vm_id = row->vm_id;
	if (bill->by == BILL_BY_TENANT)
		line->vm[0] = line->uuid[0] = line->plan[0] = '\0';
	return 0;
}

static int line_add(struct bill_line *line, const struct bill_line *row)
{
	if (row->start_ms < line->start_ms)
		line->start_ms = row->start_ms;
	if (row->until_ms > line->until_ms)
		line->until_ms = row->until_ms;
	if (row->peak_resident_blocks > line->peak_resident_blocks)
		line->peak_resident_blocks = row->peak_resident_blocks;
	if (__builtin_add_overflow(line->touches, row->touches, &line->touches) ||
	    __builtin_add_overflow(line->waits, row->waits, &line->waits) ||
	    __builtin_add_overflow(line->wait_ns, row->wait_ns, &line->wait_ns))
		return -EOVERFLOW;
	return usage_add(&line->usage, &row->usage);
}

static int sheet_add(struct sheet *sheet, const struct row *row)
{
	struct bill *bill = sheet->bill;
	int err;

	if (sheet_continues(sheet, row))
		err = line_add(&bill->lines[bill->count - 1], &row->line);
	else
		err = sheet_new_line(sheet, row);
	if (err)
		return err;
	return usage_add(&bill->total, &row->line.usage);
}

static int bind(sqlite3_stmt *stmt, const struct bill_filter *filter)
{
	if (sqlite3_bind_int64(stmt, 1, filter->from_ms) ||
	    sqlite3_bind_int64(stmt, 2, filter->to_ms) ||
	    (filter->tenant && sqlite3_bind_text(stmt, 3, filter->tenant, -1, SQLITE_STATIC)) ||
	    (filter->name && sqlite3_bind_text(stmt, 4, filter->name, -1, SQLITE_STATIC)))
		return -ENOMEM;
	return 0;
}

static int sheet_fill(struct sheet *sheet, sqlite3 *db, const char *path,
		      const struct bill_filter *filter)
{
	auto_stmt sqlite3_stmt *stmt = NULL;
	struct row row;
	int code, err;

	if (sqlite3_prepare_v2(db, bill_sql, -1, &stmt, NULL) != SQLITE_OK)
		return refuse_sqlite(sheet->why, db, path);
	err = bind(stmt, filter);
	if (err)
		return err;
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (filter->give_up && atomic_load(filter->give_up))
			return ml_refuse(sheet->why, -ECANCELED, "the query was given up");
		err = row_read(sheet, stmt, &row);
		if (!err)
			err = sheet_add(sheet, &row);
		if (err == -EOVERFLOW)
			ml_refuse(sheet->why, err,
				  "the bill's sums do not fit; narrow it by from and to");
		if (err)
			return err;
	}
	if (code != SQLITE_DONE)
		return refuse_sqlite(sheet->why, db, path);
	return 0;
}

/* A ledger that never began anew has no such table. */
static int read_gaps(struct sheet *sheet, sqlite3 *db, const struct bill_filter *filter)
{
	auto_stmt sqlite3_stmt *stmt = NULL;
	struct bill *bill = sheet->bill;

	if (sqlite3_prepare_v2(db, "SELECT at_ms, file, reason FROM gap WHERE at_ms > ?1"
			       " ORDER BY at_ms DESC", -1, &stmt, NULL) != SQLITE_OK)
		return 0;
	if (sqlite3_bind_int64(stmt, 1, filter->from_ms))
		return -ENOMEM;
	while (bill->gap_count < BILL_GAPS_MAX && sqlite3_step(stmt) == SQLITE_ROW) {
		struct bill_gap *gap = &bill->gaps[bill->gap_count];
		const char *reason = (const char *)sqlite3_column_text(stmt, 2);

		gap->until_ms = sqlite3_column_int64(stmt, 0);
		if (column_text(stmt, 1, gap->ledger, sizeof(gap->ledger)))
			continue;
		snprintf(gap->reason, sizeof(gap->reason), "%s", reason ? reason : "");
		bill->gap_count++;
	}
	return 0;
}

static int has_to_give_up(void *give_up)
{
	return atomic_load((const atomic_bool *)give_up);
}

int bill_query(const char *ledger_path, const struct plans *plans,
	       const struct bill_filter *filter, struct bill **out, struct ml_why *why)
{
	bill_auto struct bill *bill = calloc(1, sizeof(*bill));
	struct sheet sheet = { .bill = bill, .plans = plans, .why = why };
	auto_db sqlite3 *db = NULL;
	int err;

	ml_refuse(why, 0, "out of memory");
	if (!bill)
		return -ENOMEM;
	snprintf(bill->currency, sizeof(bill->currency), "%s", plans_currency(plans));
	bill->from_ms = filter->from_ms;
	bill->to_ms = filter->to_ms;
	bill->by = filter->by;
	bill->total.priced = true;
	if (plans_missing(plans))
		return ml_refuse(why, -ENOENT, "query-bill: there are no prices: %s",
				 plans_missing(plans));
	err = open_read_only(ledger_path, &db, why);
	if (!err && filter->give_up)
		sqlite3_progress_handler(db, BILL_STEPS_PER_LOOK, has_to_give_up, (void *)filter->give_up);
	if (!err)
		err = sheet_fill(&sheet, db, ledger_path, filter);
	if (!err)
		err = read_gaps(&sheet, db, filter);
	if (err)
		return err;
	*out = ml_steal_ptr(bill);
	return 0;
}

void bill_free(struct bill *bill)
{
	if (!bill)
		return;
	free(bill->lines);
	free(bill);
}
