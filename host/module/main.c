// SPDX-License-Identifier: GPL-2.0-or-later
/* Loading and unloading memlease_pool.ko. How its parts lock is told in locks.h. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cc_platform.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/suspend.h>

#include "control.h"
#include "daemon_view.h"
#include "mappers.h"
#include "poison.h"
#include "ranges.h"
#include "rings.h"
#include "walks.h"
#include "window.h"
#include "window_device.h"

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

/*
 * With memory encrypted by page (SME), or in a confidential guest, a block that Linux does not
 * count as memory may be mapped encrypted here and plain there.
 */
static int mlp_check_encryption(void)
{
	if (!cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		return 0;
	pr_err("no pool where Linux encrypts memory itself (SME, SEV, TDX): boot without mem_encrypt=on\n");
	return -EOPNOTSUPP;
}

static int __init mlp_init(void)
{
	int rc = mlp_check_encryption();

	if (rc)
		return rc;
	rc = mlp_rings_init();
	if (rc)
		return rc;
	rc = mlp_mappers_init();
	if (rc)
		goto rings;
	rc = mlp_walks_init();
	if (rc)
		goto mappers;
	rc = mlp_mapping_init();
	if (rc)
		goto walks;
	rc = mlp_devices_init();
	if (rc)
		goto mapping;
	rc = mlp_poison_init();
	if (rc)
		goto devices;
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
devices:
	mlp_devices_exit();
mapping:
	mlp_mapping_exit();
walks:
	mlp_walks_exit();
mappers:
	mlp_mappers_exit();
rings:
	mlp_rings_exit();
	return rc;
}

static void __exit mlp_exit(void)
{
	mlp_control_exit();
	mlp_view_exit();
	unregister_pm_notifier(&mlp_power_nb);
	mlp_poison_exit();
	mlp_ranges_release();
	mlp_devices_exit();
	mlp_mapping_exit();
	mlp_walks_exit();
	mlp_mappers_exit();
	mlp_rings_exit();
}

module_init(mlp_init);
module_exit(mlp_exit);

MODULE_DESCRIPTION("memlease: lends memory without struct page to virtual machines");
MODULE_LICENSE("GPL");
