/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether this host's kernel is set up so that memory without page structures is safe to lend.
 */
#ifndef ML_POOL_RESERVED_HOST_H
#define ML_POOL_RESERVED_HOST_H

/*
 * May blocks be lent on this host? sys, proc: where sysfs and procfs are; release: uname -r.
 * -EPERM, with the reason logged: its KVM would use blocks that were taken from a VM, now or
 * for a guest of a guest, or it encrypts memory. What is only slow is warned of.
 */
int reserved_host_check(const char *sys, const char *proc, const char *release);

#endif /* ML_POOL_RESERVED_HOST_H */
