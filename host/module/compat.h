/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differences between kernels; nothing else in host/module/ asks for a version. */
#ifndef MEMLEASE_POOL_COMPAT_H
#define MEMLEASE_POOL_COMPAT_H

#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "memlease_pool needs Linux 6.12 or later: older kernels have no huge PFN maps"
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
static inline vm_fault_t mlp_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), write);
}
#else
static inline vm_fault_t mlp_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return vmf_insert_pfn_pmd(vmf, pfn, write);
}
#endif

#endif /* MEMLEASE_POOL_COMPAT_H */
