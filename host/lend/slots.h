/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of one region, one 32-bit word each, in the VM's record: the state,
 * and for a resident slot its block. slots_set() and slots_moved() are
 * the only writers; the former allows the moves below and keeps the counts.
 *
 *   VACANT <--> COMMITTED <--> RESIDENT --> VACANT
 *
 * Called by lend/ only.
 */
#ifndef ML_LEND_SLOTS_H
#define ML_LEND_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

enum slot_state {
	SLOT_VACANT = 0,
	SLOT_COMMITTED,
	SLOT_RESIDENT,
	SLOT_STATES,
};

struct slots {
	uint32_t *words;	/* in the record */
	uint64_t count;
	uint64_t committed;	/* COMMITTED and RESIDENT */
	uint64_t resident;
	bool boot;		/* never VACANT */
};

static inline enum slot_state slots_state(const struct slots *s, uint64_t slot)
{
	return (enum slot_state)(s->words[slot] >> 30);
}

/* The block behind a RESIDENT slot. */
static inline uint32_t slots_block(const struct slots *s, uint64_t slot)
{
	return s->words[slot] & 0x3fffffffU;
}

bool slot_move_legal(enum slot_state from, enum slot_state to, bool boot);

/* block: for RESIDENT only. An illegal move is our own mistake and ends the process. */
void slots_set(struct slots *s, uint64_t slot, enum slot_state to, uint32_t block);

/* The block behind a RESIDENT slot is another now, with the same contents. */
void slots_moved(struct slots *s, uint64_t slot, uint32_t block);

/* Take over words found in a record and count them. -EUCLEAN: a state unknown or not allowed. */
int slots_load(struct slots *s, uint32_t *words, uint64_t count, bool boot);

/* How many slots from first on, before end, are in this state? */
uint64_t slots_run(const struct slots *s, uint64_t first, uint64_t end, enum slot_state state);

#endif /* ML_LEND_SLOTS_H */
