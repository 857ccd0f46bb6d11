/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: writes usage into the SQLite file of ledger.sql, on a thread of its
 * own, so that a slow disk delays nobody. What is posted is absolute (see
 * meter.h): of several entries for one row the newest wins, and an entry may
 * be written any number of times.
 *
 * The ledger keeps nothing: a batch that cannot be written is dropped, and the
 * caller, who has seen no acknowledgement, posts it again from the VM's record.
 * Hence a full or locked disk loses nothing. Called by lend/, from one thread.
 */
#ifndef ML_METER_LEDGER_H
#define ML_METER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/why.h"
#include "ledger_entry.h"

#define LEDGER_QUEUE_MAX 16384	/* entries waiting for the writer */
#define LEDGER_ERROR_BYTES 160

struct ledger;

struct ledger_ack {
	uint32_t vm_key;
	uint64_t tag;
};

/*
 * Open or create the file. Not threaded: ledger_kick() writes before it returns
 * (for tests and the simulation). A file that cannot be opened now, for want of space, because
 * it is locked, or another program's, is no error: the ledger is behind until it can. One that
 * is damaged, now or later, or of a newer version is set aside (ledger_aside.h). -ENOMEM.
 */
int ledger_open(struct ledger **out, const char *path, bool threaded, struct ml_why *why);
/*
 * Would ledger_open() use this file as it is? Changes nothing. -ENOENT: there is none yet;
 * -EUCLEAN: it would be set aside; or another error, with which it would be behind.
 */
int ledger_look(const char *path, struct ml_why *why);
/* Let the writer finish what is posted (once), and stop it. */
void ledger_close(struct ledger *l);

/* Queue an entry. -EAGAIN: the queue is full; post again later. */
int ledger_post(struct ledger *l, const struct ledger_entry *entry);
/* Everything of this round is posted: write. */
void ledger_kick(struct ledger *l);
/* Collect up to max acknowledgements of what is on disk, in order of writing. */
size_t ledger_acks(struct ledger *l, struct ledger_ack *acks, size_t max);
/* Did the last batch fail? text then says why. */
bool ledger_behind(struct ledger *l, char text[LEDGER_ERROR_BYTES]);
/* Was a ledger set aside since the last call? text then says which, why, and to where. */
bool ledger_was_aside(struct ledger *l, char text[ML_WHY_BYTES]);
/* Wait until nothing is queued or in work, or the last batch failed. */
void ledger_drain(struct ledger *l);

#endif /* ML_METER_LEDGER_H */
