/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Can KVM run an ordinary guest here? The node /dev/kvm does not tell: some
 * hosts offer one that runs paravirtual guests only.
 */
#ifndef ML_CLI_KVM_PROBE_H
#define ML_CLI_KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#define KVM_PROBE_TIMEOUT_MS 3000

/*
 * Run a few instructions of a 64-bit kernel under KVM, in a process of its own:
 * with ring 0, page tables, an interrupt and a port. false: *why says in a few
 * words what did not work.
 */
bool kvm_probe(char *why, size_t why_size);

#endif /* ML_CLI_KVM_PROBE_H */
