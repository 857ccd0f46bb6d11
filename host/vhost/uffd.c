// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeping and serving a userfaultfd; see uffd.h. */
#include "uffd.h"

#include <stdio.h>

#include "device.h"

#define STORE_NAME_SIZE (sizeof(VHOST_STORE_PREFIX) + LEND_NAME_MAX)

static void store_name(const struct lend_vm *vm, char name[STORE_NAME_SIZE])
{
	snprintf(name, STORE_NAME_SIZE, VHOST_STORE_PREFIX "%s", lend_vm_name(vm));
}

void uffd_drop(struct vhost_device *d)
{
	char name[STORE_NAME_SIZE];

	store_name(d->vm, name);
	if (d->store->drop_fd)
		d->store->drop_fd(d->store->ctx, name);
}

/* What cannot be served is not to come up again with the next daemon. */
int uffd_adopt(struct vhost_device *d, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT])
{
	int r = touch_serve(&d->touch, fd, hva);

	if (r < 0)
		uffd_drop(d);
	return r;
}

int uffd_take(struct vhost_device *d, int fd, const uint64_t hva[MEMLEASE_REGION_COUNT])
{
	char name[STORE_NAME_SIZE];

	/* Each goes through the service manager; a QEMU that sends ever new ones harms itself only. */
	if (d->store->store_fd && quiet_allows(&d->stores, d->event)) {
		store_name(d->vm, name);
		d->store->store_fd(d->store->ctx, name, fd);
	}
	return uffd_adopt(d, fd, hva);
}
