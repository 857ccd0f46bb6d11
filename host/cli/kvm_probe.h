/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Can KVM run an ordinary guest here? The node /dev/kvm does not tell: some
 * hosts offer one that runs paravirtual guests only.
 */
#ifndef ML_CLI_KVM_PROBE_H
#define ML_CLI_KVM_PROBE_H

#include "../base/why.h"

#define KVM_PROBE_TIMEOUT_MS 3000

/*
 * Run a few instructions of a 64-bit kernel under KVM, in a process of its own:
 * with ring 0, page tables, an interrupt and a port. 0, or -errno, and then
 * why says in a few words what did not work.
 */
int kvm_probe(struct ml_why *why);

#endif /* ML_CLI_KVM_PROBE_H */
