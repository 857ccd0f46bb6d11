/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In a kernel that was started to dump a crashed one. Binding has reset the
 * device, which returned every window slot: reading one would end this VM. So the
 * kernel is told to leave the window out of the dump.
 */
#ifndef MEMLEASE_DUMP_H
#define MEMLEASE_DUMP_H

#include "../wire/config.h"

/* From now on, for as long as this kernel runs. */
void ml_dump_register(const struct ml_fixed *fixed);

#endif /* MEMLEASE_DUMP_H */
