/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_LIB_LEND_VALIDATE_H
#define TESTS_LIB_LEND_VALIDATE_H

struct lender;

/*
 * Check every invariant of a lender, its pool and its VMs: sums and counts, that each
 * block has one owner, that guarantees are covered. Aborts with a message if one is broken.
 */
void lender_validate(const struct lender *l);

#endif /* TESTS_LIB_LEND_VALIDATE_H */
