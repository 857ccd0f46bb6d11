// SPDX-License-Identifier: GPL-2.0-or-later
/* Loading and unloading memlease_pool.ko; see pool_module.h. */
#include <linux/module.h>

#include "pool_module.h"

static int __init mlp_init(void)
{
	int rc = mlp_rings_init();

	if (rc)
		return rc;
	rc = mlp_windows_init();
	if (rc)
		goto rings;
	rc = mlp_poison_init();
	if (rc)
		goto windows;
	rc = mlp_control_init();
	if (rc)
		goto poison;
	return 0;
poison:
	mlp_poison_exit();
windows:
	mlp_windows_exit();
rings:
	mlp_rings_exit();
	return rc;
}

static void __exit mlp_exit(void)
{
	mlp_control_exit();
	mlp_poison_exit();
	mlp_ranges_release();
	mlp_windows_exit();
	mlp_rings_exit();
}

module_init(mlp_init);
module_exit(mlp_exit);

MODULE_DESCRIPTION("memlease: lends memory without struct page to virtual machines");
MODULE_LICENSE("GPL");
