/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differences between kernels and processors; nothing else here asks for either. */
#ifndef MEMLEASE_POOL_COMPAT_H
#define MEMLEASE_POOL_COMPAT_H

#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "memlease_pool needs Linux 6.12 or later: older kernels have no huge PFN maps"
#endif

#if !defined(CONFIG_64BIT) || !defined(CONFIG_TRANSPARENT_HUGEPAGE)
#error "memlease_pool needs a 64-bit kernel with CONFIG_TRANSPARENT_HUGEPAGE"
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

/* 7.2 and later tell modules of memory errors in PFN maps. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0) && defined(CONFIG_MEMORY_FAILURE)
#define MLP_HAVE_PFN_WATCH
#include <linux/memory-failure.h>
struct mlp_pfn_watch {
	struct pfn_address_space space;
	bool on;
};
#else
struct mlp_pfn_watch {
};
#endif

/* A module can register for machine checks of x86, in all kernels. */
#ifdef CONFIG_X86_MCE
#define MLP_HAVE_MCE
#include <asm/mce.h>
#endif

/* Does somebody have it for writing? If that is not known, no. What he did not yet let go of comes after. */
static inline bool mlp_is_written(const struct rw_semaphore *sem)
{
#ifdef CONFIG_PREEMPT_RT
	return false;
#else
	bool written = atomic_long_read(&sem->count) & RWSEM_WRITER_LOCKED;

	smp_mb();
	return written;
#endif
}

/* Where a kprobe can send a call elsewhere. */
#ifdef CONFIG_KPROBES
#define MLP_HAVE_KPROBES
#include <linux/kprobes.h>
#endif

/* The first physical address that the processor cannot reach. */
static inline u64 mlp_physical_end(void)
{
#ifdef CONFIG_X86
	return 1ULL << boot_cpu_data.x86_phys_bits;
#else
	return 1ULL << MAX_PHYSMEM_BITS;
#endif
}

#endif /* MEMLEASE_POOL_COMPAT_H */
