/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest or its QEMU pays for breaking the rules: its device, or its VM. */
#ifndef ML_LEND_OFFENCE_H
#define ML_LEND_OFFENCE_H

#include "lender.h"

/*
 * The device broke: remembered in the record, logged and evented, once, with text. A guest that
 * resets its device and breaks it again and again causes no more lines and events than
 * base/quiet.h allows.
 */
void offence_break(struct lend_vm *vm, enum memlease_broken reason, const char *text);
/*
 * A touch that cannot be answered stops a VM for good: its device breaks, its QEMU is
 * killed, and both are told of. The text says what it did; that QEMU was killed is added.
 */
void offence_stop(struct lend_vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif /* ML_LEND_OFFENCE_H */
