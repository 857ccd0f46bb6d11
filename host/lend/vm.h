/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs as objects: made of a record, with their regions opened in the source, on the lists
 * of the lender. Moves no block.
 */
#ifndef ML_LEND_VM_H
#define ML_LEND_VM_H

#include "lender.h"

/* The name of a VM's region in the source, of the VM's UUID; fewer than BACKEND_NAME_BYTES. */
void vm_region_name(const char *uuid, enum memlease_region region, char name[BACKEND_NAME_BYTES]);
/* Of which UUID a region of this name is, if of any; uuid gets it. */
bool vm_region_uuid(const char *name, char uuid[LEND_UUID_LEN + 1]);

/* Of a record, which is taken over, also on failure. -EUCLEAN: its slots are damaged. */
int vm_new(struct lend_vm **out, struct lender *l, struct ml_map *map);
/* Off all lists. Its files stay as they are. */
void vm_free(struct lend_vm *vm);

/* Open both regions, making what is missing: the record comes before them. 0 or -errno. */
int vm_open_regions(struct lend_vm *vm);
void vm_close_regions(struct lend_vm *vm);
/* Delete them in the source. */
void vm_remove_regions(struct lend_vm *vm);

/* On the list of VMs, by name; or NULL. */
struct lend_vm *vm_find(const struct lender *l, const char *name);
/* On to the list of VMs, and into the sums; and off the list. */
void vm_link(struct lend_vm *vm);
void vm_unlink(struct lend_vm *vm);
/* Its state is ENDED from here on: it is kept until the ledger has all of its usage. */
void vm_to_ended(struct lend_vm *vm);
/* The ledger has all of it: forget an ENDED one, its record too. */
void vm_forget(struct lend_vm *vm);

#endif /* ML_LEND_VM_H */
