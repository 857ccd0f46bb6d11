/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of VMs, tenants and plans: what may stand in a file name, a bill and a
 * JSON string without quoting. Used by lend/, bill/, ctl/ and cli/.
 */
#ifndef ML_BASE_NAME_H
#define ML_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* [A-Za-z0-9][A-Za-z0-9_.-]*, at most max bytes. */
bool ml_name_ok(const char *name, size_t max);

#endif /* ML_BASE_NAME_H */
