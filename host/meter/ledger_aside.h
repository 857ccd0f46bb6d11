/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ledger that is damaged, or of another version: it gets another name, and a new one begins
 * in its place, in which it stands from when on, and what came before. Nothing is deleted or
 * written over. Called by ledger.c only, on the thread that has no connection open.
 */
#ifndef ML_METER_LEDGER_ASIDE_H
#define ML_METER_LEDGER_ASIDE_H

#include "ledger_db.h"

/*
 * As ledger_db_open(), of the new one. reason: what is wrong with the old. *why tells both what
 * was done and, on failure, what could not be.
 */
int ledger_aside(struct ledger_db **out, const char *path, const char *reason, struct ml_why *why);

#endif /* ML_METER_LEDGER_ASIDE_H */
