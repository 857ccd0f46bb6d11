// SPDX-License-Identifier: GPL-2.0-or-later
/* The wire to the host; see wire.h. */
#include <linux/device.h>

#include "../../proto/memlease_abi.h"
#include "wire.h"

void ml_wire_init(struct ml_wire *w, struct virtio_device *vdev, const struct ml_fixed *fixed,
		  struct workqueue_struct *wq, work_func_t look)
{
	w->vdev = vdev;
	w->fixed = *fixed;
	w->wq = wq;
	spin_lock_init(&w->lock);
	w->host.target_blocks = MEMLEASE_NO_TARGET;
	INIT_WORK(&w->look, look);
	ml_queue_init(&w->queue, vdev);
}

struct ml_host ml_wire_read(struct ml_wire *w)
{
	struct ml_host host;
	unsigned long flags;

	ml_config_read(w->vdev, &host);
	spin_lock_irqsave(&w->lock, flags);
	w->host = host;
	spin_unlock_irqrestore(&w->lock, flags);
	return host;
}

struct ml_host ml_wire_host(struct ml_wire *w)
{
	struct ml_host host;
	unsigned long flags;

	spin_lock_irqsave(&w->lock, flags);
	host = w->host;
	spin_unlock_irqrestore(&w->lock, flags);
	return host;
}

void ml_wire_nudge(struct ml_wire *w)
{
	queue_work(w->wq, &w->look);
}

void ml_wire_note(struct ml_wire *w, int rc)
{
	WRITE_ONCE(w->last_error, rc);
}

void ml_wire_failed(struct ml_wire *w, const char *what, int rc)
{
	if (rc == -ENODEV)
		return;
	ml_wire_note(w, rc);
	if (rc == -EPROTO)
		dev_err_ratelimited(ml_wire_dev(w), "the host's answer to %s makes no sense\n",
				    what);
	ml_wire_nudge(w);
}

int ml_wire_last_error(const struct ml_wire *w)
{
	return READ_ONCE(w->last_error);
}
