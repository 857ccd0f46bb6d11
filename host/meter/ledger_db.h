/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SQLite side of the ledger: open, check, write a batch. Called by ledger.c only. */
#ifndef ML_METER_LEDGER_DB_H
#define ML_METER_LEDGER_DB_H

#include <stddef.h>

#include "ledger.h"

struct ledger_db;

/* As ledger_open(); other errors leave *out NULL and are worth another try. */
int ledger_db_open(struct ledger_db **out, const char *path, char *why, size_t why_size);
void ledger_db_close(struct ledger_db *db);
/* All or nothing, in one transaction. */
int ledger_db_write(struct ledger_db *db, const struct ledger_entry *entries, size_t count,
		    char *why, size_t why_size);

#endif /* ML_METER_LEDGER_DB_H */
