/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bills and plans as JSON. Used by ctl/.
 */
#ifndef ML_BILL_REPORT_H
#define ML_BILL_REPORT_H

#include <jansson.h>

#include "bill.h"

/* "vm", "tenant" or "period" to *by; -EINVAL. */
int bill_by_parse(const char *text, enum bill_by *by);

/* What query-bill returns; a new reference, or NULL when out of memory. */
json_t *bill_to_json(const struct bill *bill);

/* What query-plans returns; a new reference, or NULL when out of memory. */
json_t *plans_to_json(const struct plans *plans);

#endif /* ML_BILL_REPORT_H */
