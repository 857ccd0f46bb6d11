// SPDX-License-Identifier: GPL-2.0-or-later
/* Loading and unloading memlease_pool.ko; see pool_module.h. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/suspend.h>

#include "pool_module.h"

/*
 * An image of the machine leaves out memory without page array: after it is read back,
 * blocks would hold what was there by chance, and VMs and daemon would not know.
 */
static int mlp_power(struct notifier_block *nb, unsigned long action, void *data)
{
	if ((action != PM_HIBERNATION_PREPARE && action != PM_RESTORE_PREPARE) || !mlp_range_number())
		return NOTIFY_DONE;
	pr_warn("no hibernation: what is in the pool would be lost; unload this module first\n");
	return NOTIFY_BAD;
}

static struct notifier_block mlp_power_nb = { .notifier_call = mlp_power };

static int __init mlp_init(void)
{
	int rc = mlp_rings_init();

	if (rc)
		return rc;
	rc = mlp_mappers_init();
	if (rc)
		goto rings;
	rc = mlp_windows_init();
	if (rc)
		goto mappers;
	rc = mlp_poison_init();
	if (rc)
		goto windows;
	rc = register_pm_notifier(&mlp_power_nb);
	if (rc)
		goto poison;
	rc = mlp_control_init();
	if (rc)
		goto power;
	return 0;
power:
	unregister_pm_notifier(&mlp_power_nb);
poison:
	mlp_poison_exit();
windows:
	mlp_windows_exit();
mappers:
	mlp_mappers_exit();
rings:
	mlp_rings_exit();
	return rc;
}

static void __exit mlp_exit(void)
{
	mlp_control_exit();
	unregister_pm_notifier(&mlp_power_nb);
	mlp_poison_exit();
	mlp_ranges_release();
	mlp_windows_exit();
	mlp_mappers_exit();
	mlp_rings_exit();
}

module_init(mlp_init);
module_exit(mlp_exit);

MODULE_DESCRIPTION("memlease: lends memory without struct page to virtual machines");
MODULE_LICENSE("GPL");
