/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of `memlease`, each described in a file of its name; verbs.c lists them.
 */
#ifndef ML_CLI_VERB_H
#define ML_CLI_VERB_H

#include "args.h"

extern const struct verb verb_run, verb_list, verb_status, verb_top, verb_set, verb_report_now;
extern const struct verb verb_stop, verb_compact, verb_bill, verb_events, verb_plans;
extern const struct verb verb_version;

/* The word of a verb that takes a VM's name; least: 0 or 1 of them. */
#define ARG_WORDS_VM(at_, least) \
	{ .at = (at_), .min = (least), .max = 1, .name = "a VM's name", \
	  .listed_by = "list --names" }

#endif /* ML_CLI_VERB_H */
