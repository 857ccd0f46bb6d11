// SPDX-License-Identifier: GPL-2.0-or-later
/* The compaction plan under way; see compact_plan.h. */
#include "compact_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct compact_plan {
	struct pool_shift *shifts;	/* or NULL: none is under way; those of one area stand together */
	uint32_t count, at;
};

int compact_plan_init(struct lender *l)
{
	if (!l->backend->ops->move)
		return 0;
	l->plan = calloc(1, sizeof(*l->plan));
	return l->plan ? 0 : -ENOMEM;
}

void compact_plan_free(struct lender *l)
{
	compact_plan_end(l);
	free(l->plan);
	l->plan = NULL;
}

bool compact_plan_under_way(const struct lender *l)
{
	return l->plan && l->plan->shifts;
}

/* From the shift at `i` on, the first of the next area. */
static uint32_t area_end(const struct compact_plan *p, uint32_t i)
{
	uint32_t area = p->shifts[i].from;

	while (i < p->count && p->shifts[i].from == area)
		i++;
	return i;
}

static void close_areas(struct lender *l)
{
	struct compact_plan *p = l->plan;
	uint32_t kept = 0, next;

	for (uint32_t i = 0; i < p->count; i = next) {
		next = area_end(p, i);
		if (pool_area_close(&l->pool, p->shifts[i].from) < 0)
			continue;
		memmove(&p->shifts[kept], &p->shifts[i], (next - i) * sizeof(*p->shifts));
		kept += next - i;
	}
	p->count = kept;
}

bool compact_plan_begin(struct lender *l, struct pool_shift *shifts, uint32_t count)
{
	struct compact_plan *p = l->plan;

	*p = (struct compact_plan){ .shifts = shifts, .count = count };
	close_areas(l);
	if (!p->count)
		compact_plan_end(l);
	return compact_plan_under_way(l);
}

const struct pool_shift *compact_plan_shift(const struct lender *l)
{
	return &l->plan->shifts[l->plan->at];
}

bool compact_plan_next(struct lender *l, uint32_t *area)
{
	struct compact_plan *p = l->plan;
	uint32_t from = p->shifts[p->at].from;

	*area = COMPACT_PLAN_NO_AREA;
	p->at++;
	if (p->at < p->count && p->shifts[p->at].from == from)
		return true;
	*area = from;
	pool_area_open(&l->pool, from);
	if (p->at < p->count)
		return true;
	compact_plan_end(l);
	return false;
}

bool compact_plan_end(struct lender *l)
{
	struct compact_plan *p = l->plan;

	if (!compact_plan_under_way(l))
		return false;
	for (uint32_t i = p->at; i < p->count; i = area_end(p, i))
		pool_area_open(&l->pool, p->shifts[i].from);
	free(p->shifts);
	*p = (struct compact_plan){ 0 };
	return true;
}
