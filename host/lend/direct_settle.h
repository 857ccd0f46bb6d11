/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start-up where the daemon serves touches: finish what the last daemon was doing, and
 * account for the time in between.
 *
 * While no daemon runs nothing is lent and nothing is given back. So the source's
 * own count of a VM's blocks, taken before any repair, is billed from the record's
 * last update up to now; but no more than the last daemon had lent or metered.
 * Beyond that are the few blocks of boot memory without which QEMU's main loop could
 * not have gone on, and which it put into its file itself (qemu-patches, the last
 * one), nobody knows when. They are adopted and billed from now on; only as many as
 * the crash cut off moves half-way, a run at most, can be mistaken for those.
 * A VM whose QEMU has ended meanwhile, or whose end had begun, is not billed for any of that
 * time: the record's last update is the last at which anybody knows that it was there.
 * Then, as of now, half-done moves are finished: what is LENT and not RESIDENT
 * is mapped (again, keeping what is there); a run on its way out is unmapped
 * (again). A crash in here finds the meter at now, and starts over from it.
 */
#ifndef ML_LEND_DIRECT_SETTLE_H
#define ML_LEND_DIRECT_SETTLE_H

#include "lender.h"

/* As struct loan_ops has it. -EUCLEAN: a record is damaged. */
int direct_settle(struct lender *l);

#endif /* ML_LEND_DIRECT_SETTLE_H */
