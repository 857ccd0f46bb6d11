/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU and KVM touch: the faults of a mapping of a window. */
#ifndef MEMLEASE_POOL_FAULT_H
#define MEMLEASE_POOL_FAULT_H

#include <linux/mm_types.h>

/* vm_private_data is the struct mlp_window. */
extern const struct vm_operations_struct mlp_window_vm_ops;

#endif /* MEMLEASE_POOL_FAULT_H */
