// SPDX-License-Identifier: GPL-2.0-or-later
/* Slots lost to memory errors; see lost.h. */
#include "lost.h"

#include "bits.h"

bool lost_has(const struct lost *l, enum memlease_region region, uint64_t slot)
{
	return bits_has(l->slots[region], slot);
}

bool lost_add(struct lost *l, enum memlease_region region, uint64_t slots, uint64_t slot)
{
	struct lost_slot *s;

	if (!l->slots[region])
		l->slots[region] = bits_new(slots);
	if (!l->slots[region] || bits_has(l->slots[region], slot))
		return false;
	s = calloc(1, sizeof(*s));
	if (!s)
		return false;
	bits_add(l->slots[region], slot);
	s->region = region;
	s->slot = slot;
	s->next = l->untold;
	l->untold = s;
	return true;
}

void lost_mend(struct lost *l, enum memlease_region region, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; l->slots[region] && i < first + count; i++)
		bits_remove(l->slots[region], i);
}

const struct lost_slot *lost_first(const struct lost *l)
{
	return l->untold;
}

const struct lost_slot *lost_next(const struct lost_slot *s)
{
	return s->next;
}

bool lost_tell(struct lost *l, struct lost_slot *out)
{
	struct lost_slot *s = l->untold;

	if (!s)
		return false;
	l->untold = s->next;
	*out = *s;
	out->next = NULL;
	free(s);
	return true;
}

void lost_free(struct lost *l)
{
	struct lost_slot s;

	while (lost_tell(l, &s))
		;
	for (int r = 0; r < MEMLEASE_REGION_COUNT; r++) {
		free(l->slots[r]);
		l->slots[r] = NULL;
	}
}
