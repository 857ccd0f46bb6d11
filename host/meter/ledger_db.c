// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The SQLite side of the ledger; see ledger_db.h. Every commit is synced: at one
 * commit per second that is cheap, and a host that loses power then loses a
 * second of usage and no more.
 */
#include "ledger_db.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 500
#define LOOK_URI_BYTES (3 * PATH_MAX + 64)

extern const char ml_embedded_ledger_sql[];

enum statement { FIND_VM, ADD_VM, END_VM, PUT_USAGE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[FIND_VM] = "SELECT id FROM vm WHERE uuid = ?1",
	[ADD_VM] = "INSERT INTO vm (uuid, name, tenant, plan, boot_blocks, created_ms)"
		   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[END_VM] = "UPDATE vm SET ended_ms = ?2 WHERE id = ?1",
	/* A row never goes back in time, whatever order entries come in. */
	[PUT_USAGE] = "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
		      " ON CONFLICT (vm, start_ms) DO UPDATE SET until_ms = excluded.until_ms,"
		      " resident_block_ns = excluded.resident_block_ns,"
		      " committed_block_ns = excluded.committed_block_ns,"
		      " guarantee_block_ns = excluded.guarantee_block_ns,"
		      " peak_resident_blocks = excluded.peak_resident_blocks,"
		      " touches = excluded.touches, waits = excluded.waits,"
		      " wait_ns = excluded.wait_ns WHERE excluded.until_ms >= usage.until_ms",
};

struct ledger_db {
	sqlite3 *db;
	sqlite3_stmt *st[STATEMENTS];
};

/* SQLite's codes, as far as callers tell them apart. */
static int db_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return -EUCLEAN;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int sql_error(struct ledger_db *db, const char *doing, struct ml_why *why)
{
	int code = sqlite3_extended_errcode(db->db);

	return ml_refuse(why, db_errno(code), "%s: %s", doing, sqlite3_errmsg(db->db));
}

static int run_sql(struct ledger_db *db, const char *text, struct ml_why *why)
{
	if (sqlite3_exec(db->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return sql_error(db, "ledger", why);
	return 0;
}

static int one_int(struct ledger_db *db, const char *text, int64_t *value, struct ml_why *why)
{
	sqlite3_stmt *st = NULL;
	int ret = 0;

	if (sqlite3_prepare_v2(db->db, text, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		ret = sql_error(db, "ledger", why);
	else
		*value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return ret;
}

/* Is it a ledger of ours? *version 0: an empty database, which may become one. */
static int look_at_schema(struct ledger_db *db, const char *path, int64_t *version,
			  struct ml_why *why)
{
	int64_t tables = 0, ours = 0;
	int ret;

	ret = one_int(db, "PRAGMA user_version", version, why);
	if (ret < 0 || *version == LEDGER_VERSION)
		return ret;
	ret = one_int(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('vm', 'usage')", &ours,
		      why);
	if (ret == 0)
		ret = one_int(db, "SELECT count(*) FROM sqlite_schema", &tables, why);
	if (ret < 0)
		return ret;
	if (*version != 0 && ours == 2)
		return ml_refuse(why, -EUCLEAN,
				 "it is of version %lld, and this memleased knows version %d",
				 (long long)*version, LEDGER_VERSION);
	if (tables || *version)
		return ml_refuse(why, -EEXIST,
				 "%s is another program's database; name another file for the ledger",
				 path);
	return 0;
}

static int settle_schema(struct ledger_db *db, const char *path, struct ml_why *why)
{
	int64_t version = 0;
	char text[64];
	int ret;

	ret = look_at_schema(db, path, &version, why);
	if (ret < 0 || version == LEDGER_VERSION)
		return ret;
	snprintf(text, sizeof(text), "PRAGMA user_version = %d; COMMIT", LEDGER_VERSION);
	ret = run_sql(db, "BEGIN IMMEDIATE", why);
	if (ret == 0)
		ret = run_sql(db, ml_embedded_ledger_sql, why);
	return ret == 0 ? run_sql(db, text, why) : ret;
}

static int settle_db(struct ledger_db *db, const char *path, struct ml_why *why)
{
	int ret;

	sqlite3_busy_timeout(db->db, BUSY_TIMEOUT_MS);
	ret = settle_schema(db, path, why);
	if (ret == 0)
		ret = run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			      "PRAGMA foreign_keys = ON", why);
	for (int i = 0; ret == 0 && i < STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->st[i],
				       NULL) != SQLITE_OK)
			ret = sql_error(db, "ledger", why);
	}
	return ret;
}

/*
 * A database in WAL mode that nobody has open has no -wal and no -shm, and even who only reads
 * would make them: unless he says that nobody changes it.
 */
static void look_uri(const char *path, char uri[LOOK_URI_BYTES])
{
	char wal[PATH_MAX + 8];
	size_t n = (size_t)snprintf(uri, LOOK_URI_BYTES, "file:");

	for (const char *c = path; *c && n < LOOK_URI_BYTES - 32; c++)
		n += (size_t)snprintf(uri + n, LOOK_URI_BYTES - n,
				      *c == '%' || *c == '?' || *c == '#' ? "%%%02x" : "%c", *c);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	snprintf(uri + n, LOOK_URI_BYTES - n, "?mode=ro%s",
		 access(wal, F_OK) < 0 ? "&immutable=1" : "");
}

int ledger_db_look(const char *path, struct ml_why *why)
{
	struct ledger_db db = { 0 };
	char uri[LOOK_URI_BYTES];
	int64_t version = 0;
	int ret;

	if (access(path, F_OK) < 0)
		return ml_refuse(why, -errno, "%s", strerror(errno));
	look_uri(path, uri);
	if (sqlite3_open_v2(uri, &db.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI,
			    NULL) != SQLITE_OK)
		ret = sql_error(&db, "cannot open", why);
	else
		ret = look_at_schema(&db, path, &version, why);
	sqlite3_close(db.db);
	return ret;
}

int ledger_db_open(struct ledger_db **out, const char *path, struct ml_why *why)
{
	struct ledger_db *db = calloc(1, sizeof(*db));
	int ret;

	*out = NULL;
	if (!db)
		return -ENOMEM;
	if (sqlite3_open_v2(path, &db->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		ret = sql_error(db, "cannot open", why);
	else
		ret = settle_db(db, path, why);
	if (ret < 0) {
		ledger_db_close(db);
		return ret;
	}
	*out = db;
	return 0;
}

void ledger_db_close(struct ledger_db *db)
{
	if (!db)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(db->st[i]);
	sqlite3_close(db->db);
	free(db);
}

/* Run a statement that returns nothing. */
static int step_done(sqlite3_stmt *st)
{
	int code = sqlite3_step(st);

	sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : db_errno(code);
}

static int find_vm_row(struct ledger_db *db, const struct ledger_vm *vm, int64_t *id)
{
	sqlite3_stmt *st = db->st[FIND_VM];
	int code;

	sqlite3_bind_text(st, 1, vm->uuid, -1, SQLITE_STATIC);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*id = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	if (code == SQLITE_DONE)
		return -ENOENT;
	return code == SQLITE_ROW ? 0 : db_errno(code);
}

static int add_vm_row(struct ledger_db *db, const struct ledger_vm *vm, int64_t *id)
{
	sqlite3_stmt *st = db->st[ADD_VM];
	int ret;

	sqlite3_bind_text(st, 1, vm->uuid, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, vm->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, vm->tenant, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, vm->plan, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 5, (int64_t)vm->boot_blocks);
	sqlite3_bind_int64(st, 6, vm->created_ms);
	ret = step_done(st);
	*id = sqlite3_last_insert_rowid(db->db);
	return ret;
}

static int put_entry(struct ledger_db *db, const struct ledger_entry *e)
{
	sqlite3_stmt *st = db->st[PUT_USAGE];
	int64_t id = 0;
	int ret;

	ret = find_vm_row(db, &e->vm, &id);
	if (ret == -ENOENT)
		ret = add_vm_row(db, &e->vm, &id);
	if (ret == 0 && e->vm.ended_ms >= 0) {
		sqlite3_bind_int64(db->st[END_VM], 1, id);
		sqlite3_bind_int64(db->st[END_VM], 2, e->vm.ended_ms);
		ret = step_done(db->st[END_VM]);
	}
	if (ret < 0)
		return ret;
	sqlite3_bind_int64(st, 1, id);
	sqlite3_bind_int64(st, 2, e->row.start_ms);
	sqlite3_bind_int64(st, 3, e->row.until_ms);
	sqlite3_bind_int64(st, 4, (int64_t)e->row.resident_block_ns);
	sqlite3_bind_int64(st, 5, (int64_t)e->row.committed_block_ns);
	sqlite3_bind_int64(st, 6, (int64_t)e->row.guarantee_block_ns);
	sqlite3_bind_int64(st, 7, (int64_t)e->row.peak_resident_blocks);
	sqlite3_bind_int64(st, 8, (int64_t)e->row.touches);
	sqlite3_bind_int64(st, 9, (int64_t)e->row.waits);
	sqlite3_bind_int64(st, 10, (int64_t)e->row.wait_ns);
	return step_done(st);
}

int ledger_db_write(struct ledger_db *db, const struct ledger_entry *entries, size_t count,
		    struct ml_why *why)
{
	int ret;

	ret = run_sql(db, "BEGIN IMMEDIATE", why);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < count; i++) {
		ret = put_entry(db, &entries[i]);
		if (ret < 0) {
			sql_error(db, "ledger", why);
			break;
		}
	}
	if (ret == 0)
		ret = run_sql(db, "COMMIT", why);
	/* SQLite has rolled back by itself after some errors; then this fails, and may. */
	if (ret < 0 && !sqlite3_get_autocommit(db->db))
		sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

int ledger_db_gap(struct ledger_db *db, int64_t at_ms, const char *file, const char *reason,
		  struct ml_why *why)
{
	sqlite3_stmt *st = NULL;
	int ret = run_sql(db, "CREATE TABLE IF NOT EXISTS gap (at_ms INTEGER NOT NULL,"
			  " file TEXT NOT NULL, reason TEXT NOT NULL) STRICT", why);

	if (ret == 0 && sqlite3_prepare_v2(db->db, "INSERT INTO gap VALUES (?1, ?2, ?3)", -1, &st,
					   NULL) != SQLITE_OK)
		ret = sql_error(db, "ledger", why);
	if (ret < 0)
		return ret;
	sqlite3_bind_int64(st, 1, at_ms);
	sqlite3_bind_text(st, 2, file, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, reason, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		ret = sql_error(db, "ledger", why);
	sqlite3_finalize(st);
	return ret;
}
