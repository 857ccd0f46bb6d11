// SPDX-License-Identifier: GPL-2.0-or-later
/* The window in a kernel that dumps another; see dump.h. */
#include <linux/crash_dump.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "dump.h"

#ifdef CONFIG_PROC_VMCORE
struct ml_dump {
	struct vmcore_cb cb;
	struct ml_layout layout;
};

static struct ml_dump ml_dump;

static bool ml_dump_pfn_is_ram(struct vmcore_cb *cb, unsigned long pfn)
{
	struct ml_dump *dump = container_of(cb, struct ml_dump, cb);
	u64 addr = PFN_PHYS(pfn);

	return addr < dump->layout.window_addr ||
	       addr - dump->layout.window_addr >= dump->layout.window_bytes;
}

void ml_dump_register(const struct ml_fixed *fixed)
{
	if (ml_dump.cb.pfn_is_ram)
		return;
	ml_dump.layout = fixed->layout;
	ml_dump.cb.pfn_is_ram = ml_dump_pfn_is_ram;
	register_vmcore_cb(&ml_dump.cb);
	/* The kernel has no way to take a callback back once the dump is open. */
	__module_get(THIS_MODULE);
}
#else
void ml_dump_register(const struct ml_fixed *fixed)
{
}
#endif
