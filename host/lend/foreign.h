/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Foreign blocks: what QEMU, which can write its own files, put there past its leases. They
 * are metered at once, as a number; blocks of the pool are taken for them, as far as there
 * are any. Only where the daemon serves touches.
 */
#ifndef ML_LEND_FOREIGN_H
#define ML_LEND_FOREIGN_H

#include "lender.h"

/* Count them anew, by the source's count of the VM: struct loan_ops. */
void foreign_count(struct lend_vm *vm, uint64_t now_ns);
/* None is counted, and no block taken for one. */
bool foreign_none(const struct lend_vm *vm);
/* One of them was found, and is lent as any other block from here on. */
void foreign_found(struct lend_vm *vm);
/* Unmap what is behind these slots past the table. To be counted anew afterwards. */
void foreign_out(struct lend_region *r, uint64_t first, uint64_t count);
/* As the last step of a VM's end: all of them go, and are no longer counted. */
void foreign_end(struct lend_vm *vm);
/*
 * At start: a block was LENT for a foreign one, and stays so until they are counted, for
 * what a crash in between leaves is billed by that. False: out of memory.
 */
bool foreign_keep(struct lend_vm *vm, uint32_t block);

#endif /* ML_LEND_FOREIGN_H */
