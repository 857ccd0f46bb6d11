/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SQLite side of the ledger: open, check, write a batch. Called by ledger.c only. */
#ifndef ML_METER_LEDGER_DB_H
#define ML_METER_LEDGER_DB_H

#include <stddef.h>

#include "../base/why.h"
#include "ledger_entry.h"

struct ledger_db;

/* As ledger_open(); other errors leave *out NULL and are worth another try. */
int ledger_db_open(struct ledger_db **out, const char *path, struct ml_why *why);
/* As ledger_look(). */
int ledger_db_look(const char *path, struct ml_why *why);
void ledger_db_close(struct ledger_db *db);
/* All or nothing, in one transaction. */
int ledger_db_write(struct ledger_db *db, const struct ledger_entry *entries, size_t count,
		    struct ml_why *why);

/* This ledger begins in place of another, which is in that file. */
int ledger_db_gap(struct ledger_db *db, int64_t at_ms, const char *file, const char *reason,
		  struct ml_why *why);

#endif /* ML_METER_LEDGER_DB_H */
