/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM as query-vm returns it. Used by cmd_vm.c.
 */
#ifndef ML_CTL_VM_JSON_H
#define ML_CTL_VM_JSON_H

#include <jansson.h>

#include "subjects.h"

/* A new reference, or NULL when out of memory. */
json_t *vm_json(const struct ctl_config *config, struct lend_vm *vm);

#endif /* ML_CTL_VM_JSON_H */
