// SPDX-License-Identifier: GPL-2.0-or-later
/* meter/ledger.c: rows in SQLite, versions, locks, full disks, the queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "../../host/meter/ledger.h"
#include "scratch.h"

struct fixture {
	struct scratch scratch;
	struct ledger *l;
	struct ml_why why;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_make(&f->scratch, 4), 0);
	assert_int_equal(ledger_open(&f->l, f->scratch.ledger, true, &f->why), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ledger_close(f->l);
	scratch_remove(&f->scratch);
	free(f);
	return 0;
}

static struct ledger_entry entry(uint32_t key, int64_t start_ms, int64_t until_ms, uint64_t resident)
{
	struct ledger_entry e = { .vm_key = key, .tag = key + 100,
				  .vm = { .boot_blocks = 3, .created_ms = 5, .ended_ms = -1 },
				  .row = { .start_ms = start_ms, .until_ms = until_ms,
					   .resident_block_ns = resident,
					   .peak_resident_blocks = 9 } };

	snprintf(e.vm.uuid, sizeof(e.vm.uuid), "uuid-%u", key);
	snprintf(e.vm.name, sizeof(e.vm.name), "vm%u", key);
	snprintf(e.vm.tenant, sizeof(e.vm.tenant), "acme");
	snprintf(e.vm.plan, sizeof(e.vm.plan), "small");
	return e;
}

static int64_t query(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t v;

	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return v;
}

static void post(struct fixture *f, const struct ledger_entry *e)
{
	assert_int_equal(ledger_post(f->l, e), 0);
}

static void write_out(struct fixture *f)
{
	ledger_kick(f->l);
	ledger_drain(f->l);
}

static void rows_are_written_and_rewritten(void **state)
{
	struct fixture *f = *state;
	struct ledger_entry e = entry(1, 1000, 2000, 50);
	struct ledger_ack acks[4];

	post(f, &e);
	write_out(f);
	assert_int_equal(ledger_acks(f->l, acks, 4), 1);
	assert_int_equal(acks[0].vm_key, 1);
	assert_int_equal(acks[0].tag, 101);
	assert_int_equal(ledger_acks(f->l, acks, 4), 0);
	/* Twice as once; newer values replace. */
	post(f, &e);
	write_out(f);
	e = entry(1, 1000, 3000, 80);
	post(f, &e);
	write_out(f);
	e = entry(1, 4000, 4500, 7);
	post(f, &e);
	write_out(f);
	assert_int_equal(query(f, "SELECT count(*) FROM usage"), 2);
	assert_int_equal(query(f, "SELECT sum(resident_block_ns) FROM usage"), 87);
	assert_int_equal(query(f, "SELECT count(*) FROM vm"), 1);
	assert_int_equal(query(f, "SELECT ended_ms IS NULL FROM vm"), 1);
	assert_int_equal(query(f, "SELECT boot_blocks * 10 + created_ms FROM vm"), 35);
	assert_int_equal(query(f, "PRAGMA user_version"), LEDGER_VERSION);
	/* An old value does not come back over a newer one. */
	e = entry(1, 1000, 2000, 50);
	post(f, &e);
	write_out(f);
	assert_int_equal(query(f, "SELECT sum(resident_block_ns) FROM usage"), 87);
	e.vm.ended_ms = 9;
	post(f, &e);
	write_out(f);
	assert_int_equal(query(f, "SELECT ended_ms FROM vm"), 9);
}

static void the_newest_of_a_row_wins_in_the_queue(void **state)
{
	struct fixture *f = *state;
	struct ledger_ack acks[8];
	struct ledger_entry e;

	for (uint64_t i = 0; i < 5; i++) {
		e = entry(1, 1000, 2000 + (int64_t)i, i);
		e.tag = i;
		post(f, &e);
		e = entry(2, 1000, 2000, 1000);
		post(f, &e);
	}
	write_out(f);
	assert_int_equal(ledger_acks(f->l, acks, 8), 2);
	assert_int_equal(acks[0].tag, 4);
	assert_int_equal(query(f, "SELECT sum(resident_block_ns) FROM usage"), 1004);
}

static void the_queue_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct ledger_entry e;

	for (uint32_t i = 0; i < LEDGER_QUEUE_MAX; i++) {
		e = entry(i, 1000, 2000, 1);
		post(f, &e);
	}
	e = entry(LEDGER_QUEUE_MAX, 1000, 2000, 1);
	assert_int_equal(ledger_post(f->l, &e), -EAGAIN);
	e = entry(7, 1000, 2001, 2);
	assert_int_equal(ledger_post(f->l, &e), 0);	/* has its place already */
	write_out(f);
	assert_int_equal(query(f, "SELECT sum(resident_block_ns) FROM usage"),
			 LEDGER_QUEUE_MAX + 1);
}

static void a_locked_ledger_is_behind_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct ledger_entry e = entry(1, 1000, 2000, 50);
	char text[LEDGER_ERROR_BYTES];
	struct ledger_ack acks[4];
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->scratch.ledger, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	post(f, &e);
	write_out(f);
	assert_true(ledger_behind(f->l, text));
	assert_non_null(strstr(text, "locked"));
	assert_int_equal(ledger_acks(f->l, acks, 4), 0);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	post(f, &e);
	write_out(f);
	assert_false(ledger_behind(f->l, text));
	assert_string_equal(text, "");
	assert_int_equal(ledger_acks(f->l, acks, 4), 1);
}

static void a_full_disk(void **state)
{
	struct fixture *f = *state;
	char path[128], filler[128], text[LEDGER_ERROR_BYTES], block[4096] = { 0 };
	struct ledger_entry e = entry(1, 1000, 2000, 50);
	struct ledger_ack acks[4];
	struct ledger *l;
	FILE *full;

	if (!f->scratch.mounted) {
		print_message("skipped: needs a file system of its own, and root to mount it\n");
		skip();
	}
	snprintf(path, sizeof(path), "%s/ledger.db", f->scratch.pool);
	snprintf(filler, sizeof(filler), "%s/filler", f->scratch.pool);
	assert_int_equal(ledger_open(&l, path, false, &f->why), 0);
	full = fopen(filler, "w");
	assert_non_null(full);
	setvbuf(full, NULL, _IONBF, 0);
	while (fwrite(block, sizeof(block), 1, full) == 1)
		;
	for (int64_t i = 0; i < 200; i++) {
		e = entry(1, 1000 * i, 1000 * i + 1, 1);
		assert_int_equal(ledger_post(l, &e), 0);
	}
	ledger_kick(l);
	assert_true(ledger_behind(l, text));
	assert_int_equal(ledger_acks(l, acks, 4), 0);
	fclose(full);
	unlink(filler);
	/* The caller posts again what was not acknowledged. */
	for (int64_t i = 0; i < 200; i++) {
		e = entry(1, 1000 * i, 1000 * i + 1, 1);
		assert_int_equal(ledger_post(l, &e), 0);
	}
	ledger_kick(l);
	assert_false(ledger_behind(l, text));
	assert_int_equal(ledger_acks(l, acks, 4), 4);
	ledger_close(l);
}

static void exec_new(const char *path, const char *sql)
{
	sqlite3 *db;

	unlink(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* One that was put in place of the ledger, and what came of it. */
static void opens_anew(struct fixture *f, const char *path, int aside, const char *words)
{
	char text[ML_WHY_BYTES], kept[160];
	struct ledger_entry e = entry(1, 1000, 2000, 50);
	struct ledger *l;

	assert_int_equal(ledger_open(&l, path, false, &f->why), 0);
	assert_true(ledger_was_aside(l, text));
	if (!strstr(text, words))
		fail_msg("'%s' says nothing of '%s'", text, words);
	assert_false(ledger_was_aside(l, text));
	assert_int_equal(ledger_post(l, &e), 0);
	ledger_kick(l);
	assert_false(ledger_behind(l, text));
	ledger_close(l);
	snprintf(kept, sizeof(kept), "%s.damaged-%d", path, aside);
	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(ledger_look(path, &f->why), 0);
}

static void what_is_no_ledger_of_this_version_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char path[128], text[LEDGER_ERROR_BYTES];
	struct ledger *l;
	FILE *file;

	snprintf(path, sizeof(path), "%s/other.db", f->scratch.dir);
	assert_int_equal(ledger_look(path, &f->why), -ENOENT);
	exec_new(path, "PRAGMA user_version = 2; CREATE TABLE vm (id); CREATE TABLE usage (vm)");
	assert_int_equal(ledger_look(path, &f->why), -EUCLEAN);
	opens_anew(f, path, 1, "version 2");
	unlink(path);
	file = fopen(path, "w");
	fprintf(file, "%4096s", "this is no database");
	fclose(file);
	assert_int_equal(ledger_look(path, &f->why), -EUCLEAN);
	opens_anew(f, path, 2, "not a database");
	/* Another program's is none of ours to rename. */
	exec_new(path, "CREATE TABLE bookmarks (url)");
	assert_int_equal(ledger_look(path, &f->why), -EEXIST);
	assert_int_equal(ledger_open(&l, path, true, &f->why), 0);
	assert_true(ledger_behind(l, text));
	assert_non_null(strstr(text, "another program"));
	ledger_close(l);
	assert_int_equal(ledger_look(path, &f->why), -EEXIST);
}

static void a_ledger_that_cannot_be_opened_yet(void **state)
{
	struct fixture *f = *state;
	struct ledger_entry e = entry(1, 1000, 2000, 50);
	char path[128], dir[128], text[LEDGER_ERROR_BYTES];
	struct ledger_ack ack;
	struct ledger *l;

	snprintf(dir, sizeof(dir), "%s/later", f->scratch.dir);
	snprintf(path, sizeof(path), "%s/later/ledger.db", f->scratch.dir);
	assert_int_equal(ledger_open(&l, path, false, &f->why), 0);
	assert_true(ledger_behind(l, text));
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(ledger_post(l, &e), 0);
	ledger_kick(l);
	assert_false(ledger_behind(l, text));
	assert_int_equal(ledger_acks(l, &ack, 1), 1);
	ledger_close(l);
}

static void closing_writes_what_is_posted(void **state)
{
	struct fixture *f = *state;
	struct ledger_entry e = entry(1, 1000, 2000, 50);

	post(f, &e);
	ledger_close(f->l);
	f->l = NULL;
	assert_int_equal(query(f, "SELECT count(*) FROM usage"), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(rows_are_written_and_rewritten), T(the_newest_of_a_row_wins_in_the_queue),
		T(the_queue_is_bounded), T(a_locked_ledger_is_behind_and_recovers),
		T(a_full_disk), T(what_is_no_ledger_of_this_version_is_set_aside), T(a_ledger_that_cannot_be_opened_yet),
		T(closing_writes_what_is_posted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
