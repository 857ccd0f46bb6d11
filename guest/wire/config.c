// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the config space; see config.h. Copies fields once and never looks
 * again at what it has checked.
 */
#include <linux/virtio_config.h>

#include "../../proto/memlease_abi.h"
#include "config.h"

#define ML_READ_TRIES	8	/* a host that changes it all the time is not waited for */

static u32 ml_config_generation(struct virtio_device *vdev)
{
	return vdev->config->generation ? vdev->config->generation(vdev) : 0;
}

void ml_config_read(struct virtio_device *vdev, struct ml_host *host)
{
	u32 flags, generation, tries = 0;

	do {
		generation = ml_config_generation(vdev);
		virtio_cread_le(vdev, struct memlease_config, flags, &flags);
		virtio_cread_le(vdev, struct memlease_config, limit_blocks, &host->limit_blocks);
		virtio_cread_le(vdev, struct memlease_config, target_blocks, &host->target_blocks);
		virtio_cread_le(vdev, struct memlease_config, target_seq, &host->target_seq);
		virtio_cread_le(vdev, struct memlease_config, target_deadline_ms,
				&host->target_deadline_ms);
		virtio_cread_le(vdev, struct memlease_config, broken_reason,
				&host->broken_reason);
	} while (ml_config_generation(vdev) != generation && ++tries < ML_READ_TRIES);
	host->broken = (flags & MEMLEASE_CFG_BROKEN) ||
		       (vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

bool ml_config_broken(struct virtio_device *vdev)
{
	u32 flags;

	virtio_cread_le(vdev, struct memlease_config, flags, &flags);
	return flags & MEMLEASE_CFG_BROKEN;
}

int ml_config_fixed(struct virtio_device *vdev, struct ml_fixed *fixed)
{
	u32 version;
	u64 block_bytes;
	u16 max_extents;

	virtio_cread_le(vdev, struct memlease_config, version, &version);
	virtio_cread_le(vdev, struct memlease_config, block_bytes, &block_bytes);
	virtio_cread_le(vdev, struct memlease_config, max_extents, &max_extents);
	virtio_cread_le(vdev, struct memlease_config, window_addr, &fixed->layout.window_addr);
	virtio_cread_le(vdev, struct memlease_config, window_bytes, &fixed->layout.window_bytes);

	if (version != MEMLEASE_ABI_VERSION) {
		dev_err(&vdev->dev, "the host speaks version %u of memlease, this driver %u: update the older one\n",
			version, MEMLEASE_ABI_VERSION);
		return -EPROTO;
	}
	if (block_bytes != MEMLEASE_BLOCK_BYTES) {
		dev_err(&vdev->dev, "the host lends blocks of %llu bytes, this driver takes %llu\n",
			block_bytes, MEMLEASE_BLOCK_BYTES);
		return -EPROTO;
	}
	if (!max_extents || max_extents > MEMLEASE_MAX_EXTENTS) {
		dev_err(&vdev->dev, "the host takes %u extents at a time, not 1 to %u\n",
			max_extents, MEMLEASE_MAX_EXTENTS);
		return -EPROTO;
	}
	if ((fixed->layout.window_addr | fixed->layout.window_bytes) & (MEMLEASE_BLOCK_BYTES - 1) ||
	    fixed->layout.window_addr + fixed->layout.window_bytes < fixed->layout.window_addr) {
		dev_err(&vdev->dev, "the window [%#llx, +%#llx) is not made of whole blocks\n",
			fixed->layout.window_addr, fixed->layout.window_bytes);
		return -EPROTO;
	}
	fixed->max_extents = max_extents;
	return 0;
}
