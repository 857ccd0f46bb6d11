// SPDX-License-Identifier: GPL-2.0-or-later
/* The slots of one region; see slots.h. */
#include "slots.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/log.h"
#include "../base/step.h"

static const bool legal[SLOT_STATES][SLOT_STATES] = {
	[SLOT_VACANT] = { [SLOT_COMMITTED] = true },
	[SLOT_COMMITTED] = { [SLOT_VACANT] = true, [SLOT_RESIDENT] = true },
	[SLOT_RESIDENT] = { [SLOT_VACANT] = true, [SLOT_COMMITTED] = true },
};

bool slot_move_legal(enum slot_state from, enum slot_state to, bool boot)
{
	return from < SLOT_STATES && to < SLOT_STATES && legal[from][to] &&
	       !(boot && to == SLOT_VACANT);
}

void slots_set(struct slots *s, uint64_t slot, enum slot_state to, uint32_t block)
{
	enum slot_state from = slot < s->count ? slots_state(s, slot) : SLOT_STATES;

	if (!slot_move_legal(from, to, s->boot)) {
		ml_err("slot %llu of %llu: illegal move from %d to %d", (unsigned long long)slot,
		       (unsigned long long)s->count, (int)from, (int)to);
		abort();
	}
	ml_step("slot");
	__atomic_store_n(&s->words[slot],
			 (uint32_t)to << 30 | (to == SLOT_RESIDENT ? block & 0x3fffffffU : 0),
			 __ATOMIC_RELEASE);
	s->committed += (to != SLOT_VACANT);
	s->committed -= (from != SLOT_VACANT);
	s->resident += (to == SLOT_RESIDENT);
	s->resident -= (from == SLOT_RESIDENT);
}

void slots_moved(struct slots *s, uint64_t slot, uint32_t block)
{
	if (slot >= s->count || slots_state(s, slot) != SLOT_RESIDENT) {
		ml_err("slot %llu of %llu: moved, and not resident", (unsigned long long)slot,
		       (unsigned long long)s->count);
		abort();
	}
	ml_step("slot");
	__atomic_store_n(&s->words[slot], (uint32_t)SLOT_RESIDENT << 30 | (block & 0x3fffffffU),
			 __ATOMIC_RELEASE);
}

static int count_words(const struct slots *s, uint64_t *committed, uint64_t *resident)
{
	*committed = 0;
	*resident = 0;
	for (uint64_t i = 0; i < s->count; i++) {
		enum slot_state state = slots_state(s, i);

		if (state >= SLOT_STATES || (s->boot && state == SLOT_VACANT))
			return -EUCLEAN;
		*committed += (state != SLOT_VACANT);
		*resident += (state == SLOT_RESIDENT);
	}
	return 0;
}

int slots_load(struct slots *s, uint32_t *words, uint64_t count, bool boot)
{
	s->words = words;
	s->count = count;
	s->boot = boot;
	return count_words(s, &s->committed, &s->resident);
}

uint64_t slots_run(const struct slots *s, uint64_t first, uint64_t end, enum slot_state state)
{
	uint64_t i = first;

	while (i < end && slots_state(s, i) == state)
		i++;
	return i - first;
}
