// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver: binds to a device and lets go of it, when it is loaded and unloaded.
 */
#include <linux/crash_dump.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>

#include "../work/report.h"
#include "../work/shrink.h"
#include "../work/watch.h"
#include "device.h"
#include "dump.h"
#include "power.h"
#include "shutdown.h"
#include "sysfs.h"

#define ML_UNLOAD_MS	10000	/* for giving all back when the device goes */

/* Indirect descriptors are allocated for each request, wherever there is memory. */
static int ml_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "the device lacks VIRTIO_F_VERSION_1\n");
		return -EINVAL;
	}
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	return 0;
}

static void ml_config_changed(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;

	if (ml)
		ml_wire_nudge(&ml->wire);
}

/* Start, and hear of what the machine does. */
static int ml_probe_start(struct ml_device *ml)
{
	int rc = ml_device_start(ml);

	if (rc)
		return rc;
	rc = ml_power_init(ml);
	if (rc)
		goto out_stop;
	rc = ml_shutdown_init(ml);
	if (rc)
		goto out_power;
	return 0;
out_power:
	ml_power_exit(ml);
out_stop:
	ml_power_no_restart(ml);
	ml_device_stop(ml);
	return rc;
}

static int ml_probe(struct virtio_device *vdev)
{
	struct ml_fixed fixed;
	struct ml_device *ml;
	int rc;

	rc = ml_config_fixed(vdev, &fixed);
	if (rc)
		return rc;
	if (is_kdump_kernel()) {
		ml_dump_register(&fixed);
		return 0;
	}
	ml = kzalloc(sizeof(*ml), GFP_KERNEL);
	if (!ml)
		return -ENOMEM;
	ml_power_prepare(ml);
	rc = ml_device_make(ml, vdev, &fixed);
	if (rc)
		goto out_free;
	vdev->priv = ml;
	rc = ml_probe_start(ml);
	if (rc)
		goto out_unmake;
	dev_info(&vdev->dev, "window of %llu MiB at %#llx: %u memory blocks of %llu MiB; reporting %s\n",
		 fixed.layout.window_bytes >> 20, fixed.layout.window_addr, ml->blocks.count,
		 ml->blocks.mb_bytes >> 20, ml_board_reports(&ml->board) ? "on" : "off");
	return 0;

out_unmake:
	vdev->priv = NULL;
	ml_device_unmake(ml);
out_free:
	kfree(ml);
	return rc;
}

static void ml_remove(struct virtio_device *vdev)
{
	struct ml_device *ml = vdev->priv;
	u64 borrowed;

	if (!ml) {
		virtio_reset_device(vdev);
		return;
	}
	ml_shutdown_exit(ml);
	ml_power_exit(ml);
	ml_turn_give_no_more(&ml->turn);
	borrowed = READ_ONCE(ml->broken) ? ml_blocks_borrowed(&ml->blocks) :
					   ml_shrink_everything(ml->shrink, ML_UNLOAD_MS);
	if (borrowed) {
		dev_crit(&vdev->dev, "removed while %llu blocks are borrowed and in use: they stay, and the host goes on counting them; restart this machine soon\n",
			 borrowed);
		ml_device_abandon(ml);
		return;
	}
	ml_device_stop(ml);
	ml_power_no_restart(ml);
	ml_device_unmake(ml);
	vdev->priv = NULL;
	kfree(ml);
}

static const struct virtio_device_id ml_ids[] = {
	{ VIRTIO_ID_MEMLEASE, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, ml_ids);

static const unsigned int ml_features[] = {
	MEMLEASE_F_EAGER,
	MEMLEASE_F_REPORTING,
	MEMLEASE_F_STATS,
	MEMLEASE_F_QUERY,
	MEMLEASE_F_WITHDRAW,
};

static struct virtio_driver ml_driver = {
	.feature_table = ml_features,
	.feature_table_size = ARRAY_SIZE(ml_features),
	.driver = {
		.name = KBUILD_MODNAME,
		.owner = THIS_MODULE,
		.dev_groups = ml_sysfs_groups,
		/* Nobody should take the driver away by hand while memory is borrowed. */
		.suppress_bind_attrs = true,
	},
	.id_table = ml_ids,
	.validate = ml_validate,
	.probe = ml_probe,
	.remove = ml_remove,
	.config_changed = ml_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = ml_power_freeze,
	.restore = ml_power_restore,
#endif
};

static int __init ml_module_init(void)
{
	int rc;

	rc = ml_watch_module_init();
	if (rc)
		return rc;
	rc = register_virtio_driver(&ml_driver);
	if (rc)
		ml_watch_module_exit();
	return rc;
}
module_init(ml_module_init);

static void __exit ml_module_exit(void)
{
	unregister_virtio_driver(&ml_driver);
	ml_watch_module_exit();
}
module_exit(ml_module_exit);

MODULE_DESCRIPTION("memlease: memory that is borrowed from the host block by block");
MODULE_AUTHOR("The memlease authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
