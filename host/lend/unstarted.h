/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs that were created and that no QEMU has come for. From its creation on a VM has a claim to
 * its boot memory and its guarantee, so that who creates it and then starts its QEMU is not
 * refused in between; and is billed for both. After config.start_timeout_ms the claim lapses:
 * the VM stays, is committed to nothing, has nothing guaranteed, and is not billed. The first
 * connection of its QEMU claims both anew, and is refused if the pool has no room for them by then.
 *
 * That a claim has lapsed is said by the meter in the record, see account_lapsed(), and so it
 * survives the daemon. How long a VM has held it is what the meter has counted.
 */
#ifndef ML_LEND_UNSTARTED_H
#define ML_LEND_UNSTARTED_H

#include "lender.h"

/* Once a second: claims that have been held for too long lapse. */
void unstarted_tick(struct lender *l);
/* At start, before the meter is brought through the time without a daemon: some lapse in it. */
void unstarted_settle(struct lend_vm *vm);
/* When the claim will lapse, by the wall clock as it was at the creation, ms; 0: it will not, or has. */
int64_t unstarted_lapses_ms(const struct lend_vm *vm);

/*
 * Its QEMU is there. May it have what it once claimed? -ENOSPC: vm->refused says why, and so does an
 * event. unstarted_begin() is called once the record has the QEMU, and takes it.
 */
int unstarted_claim(struct lend_vm *vm);
void unstarted_begin(struct lend_vm *vm);

#endif /* ML_LEND_UNSTARTED_H */
