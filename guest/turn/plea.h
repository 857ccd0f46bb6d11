/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pleas, made by any number and answered by one, who looks from time to time: each is
 * answered by a look that began after it, and by no earlier one. Some are special, in
 * whatever way the two agree on: of these a look that answers them knows.
 */
#ifndef MEMLEASE_PLEA_H
#define MEMLEASE_PLEA_H

#include <linux/atomic.h>
#include <linux/types.h>

struct ml_pleas {
	atomic_t made;
	atomic_t special;	/* made, of that kind */
	int answered;
	int special_answered;
};

/* What a look began with. */
struct ml_plea_look {
	int made;
	int special;
	bool any_special;	/* among those that are not answered */
};

/* Any context. Returns its number, for ml_plea_answered(). */
static inline int ml_plea_make(struct ml_pleas *p, bool special)
{
	/* First: who sees the plea sees of what kind it is. */
	if (special)
		atomic_inc_return(&p->special);
	return atomic_inc_return(&p->made);
}

/* Any context. The number of the last one. */
static inline int ml_plea_last(struct ml_pleas *p)
{
	return atomic_read_acquire(&p->made);
}

static inline bool ml_plea_answered(const struct ml_pleas *p, int number)
{
	return smp_load_acquire(&p->answered) - number >= 0;
}

/* By who answers, as a look begins. Returns whether there is anything to answer. */
static inline bool ml_plea_look(struct ml_pleas *p, struct ml_plea_look *look)
{
	look->made = atomic_read_acquire(&p->made);
	look->special = atomic_read_acquire(&p->special);
	look->any_special = look->special != p->special_answered;
	return look->made != p->answered || look->any_special;
}

/* And when it has ended. */
static inline void ml_plea_answer(struct ml_pleas *p, const struct ml_plea_look *look)
{
	p->special_answered = look->special;
	smp_store_release(&p->answered, look->made);
}

#endif /* MEMLEASE_PLEA_H */
