/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The meter of one VM: exact integrals of blocks over time, in block-nanoseconds.
 * It lies in the VM's record, which survives the daemon, as two copies and an
 * index: a new state is written to the copy not in use, then the index changes.
 * So at every instant one copy is whole, and a crash neither loses nor doubles.
 *
 * Counts hold from the time of one call to the time of the next. Time is the
 * clock's boot time; the wall clock only says to which metering period of the
 * ledger usage belongs. A period ends at a multiple of its length in UTC: usage
 * is integrated up to that instant, and the row closed. Closed rows wait here
 * until the ledger has them; if it takes none for so long that there is no room,
 * the open row simply goes on, and covers several periods: nothing is lost.
 *
 * A meter that was stopped has the last word: time adds nothing any more, to it or to its rows.
 *
 * Called by lend/ only, from one thread.
 */
#ifndef ML_METER_METER_H
#define ML_METER_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/wide.h"

#define METER_CLOSED_MAX 48	/* closed rows kept for the ledger */

struct meter_counts {
	uint64_t resident, committed, guarantee;	/* blocks */
};

struct meter_sums {
	ml_u128 resident_ns, committed_ns, guarantee_ns;	/* block-nanoseconds */
	uint64_t touches, waits, wait_ns;
};

struct meter_state {
	struct meter_sums total;	/* since the VM began */
	struct meter_sums base;		/* total when the open period began */
	struct meter_counts counts;
	uint64_t at_ns;			/* boot time up to which total counts */
	int64_t start_ms, until_ms;	/* of the open row, UTC */
	uint64_t peak_resident, period_peak_resident;
	uint64_t closed;		/* rows closed since the VM began */
	uint64_t waiting;		/* touches that wait; wait_ns goes up by so much a nanosecond */
};

/* A row of the ledger; values count from start_ms. */
struct meter_row {
	int64_t start_ms, until_ms;
	uint64_t resident_block_ns, committed_block_ns, guarantee_block_ns;
	uint64_t peak_resident_blocks, touches, waits, wait_ns;
};

struct meter {
	uint32_t index;			/* which copy holds */
	uint32_t stopped;		/* 1: see meter_stop(); what was here before was 0 */
	uint64_t taken;			/* closed rows that the ledger has */
	struct meter_state copy[2];
	struct meter_row closed[METER_CLOSED_MAX];	/* row i at i % METER_CLOSED_MAX */
};

/* Things that happen to be counted along with a change. */
struct meter_events {
	uint64_t touches;
	uint64_t waits, served;		/* touches that begin to wait, and that do so no more */
};

void meter_init(struct meter *m, uint64_t now_ns, int64_t wall_ms);
const struct meter_state *meter_now(const struct meter *m);

/* Integrate up to now with the counts as they were, then take the new ones and add events (or NULL). */
void meter_change(struct meter *m, uint64_t now_ns, const struct meter_counts *counts,
		  const struct meter_events *events);
/* Integrate up to now; no touch waits any more that is known of: those that do tell a new daemon so. */
void meter_waits_anew(struct meter *m, uint64_t now_ns);
/* Integrate up to now; counts stay. */
void meter_advance(struct meter *m, uint64_t now_ns);
/*
 * What the blocks have been since the last call turned out to be otherwise (a
 * daemon died between two steps): take these counts from then on.
 */
void meter_correct(struct meter *m, const struct meter_counts *counts);

/*
 * What it counts has ended, nobody can say when; but that it was there until the last
 * integration is known. From here on time adds nothing, for later daemons neither.
 */
void meter_stop(struct meter *m);

/*
 * Integrate up to now, closing on the way each period that has ended. period_s
 * divides 86400.
 */
void meter_tick(struct meter *m, uint64_t now_ns, int64_t wall_ms, uint32_t period_s);
/* The open row as of the last integration. */
void meter_open_row(const struct meter *m, struct meter_row *row);
/* Closed row i, taken <= i < closed. */
const struct meter_row *meter_closed_row(const struct meter *m, uint64_t i);
/* The ledger has closed rows up to and without i. */
void meter_taken(struct meter *m, uint64_t i);

/* The end of the period that wall_ms lies in. */
int64_t meter_period_end(int64_t wall_ms, uint32_t period_s);

/* Internal order of a meter: aborts with a message if broken. */
void meter_validate(const struct meter *m);
/* Could this be a meter? For records read from files. */
bool meter_plausible(const struct meter *m);

#endif /* ML_METER_METER_H */
